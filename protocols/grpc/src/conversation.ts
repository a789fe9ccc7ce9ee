import type { Conversation, EpochMs, Fault, Link, Peer } from '@sluice/core'
import type { Hall } from './calls.ts'
import { Exchange } from './exchange.ts'
import { Farewell, type Leaving } from './farewell.ts'
import { Gate } from './gate.ts'
import { Credit } from './http2/credit.ts'
import { CutShort } from './http2/cutShort.ts'
import { Ends } from './http2/ends.ts'
import {
  checkSetting,
  type ErrorName,
  errors,
  FIRST_WINDOW,
  type Frame,
  setting,
  violation,
  WINDOW_MAX,
} from './http2/frames.ts'
import { type Fields, LIST_BYTES, type Unfit } from './http2/hpack.ts'
import { Outflow } from './http2/outflow.ts'
import { type Asked, mayTrail, requestOf } from './http2/request.ts'
import { Strain } from './http2/strain.ts'
import { type Carrier, Http2Stream, STREAM_WINDOW } from './http2/stream.ts'
import { KeepAlive } from './keepAlive.ts'
import { grpcStatus, type Methods, type Place } from './method.ts'
import { Owed } from './owed.ts'

/** So many times a frame: bytes that a connection may have in requests that are not complete. */
const PARTIAL_FRAMES = 16
/** Telemetry streams of the clients on one connection, beside their calls and polls. */
const TELEMETRY_STREAMS = 64
/** What all streams of a connection may send before they are told to go on. */
const CONNECTION_WINDOW = 16 * 1024 * 1024
/** Settings change the windows of all streams. */
const SETTINGS_STRAIN = 16
/** Python opens its telemetry again without a word, and says its settings with the next five minutes. */
const QUIET_MS = 10 * 60_000

const ALIVE = Buffer.from('alive???')

/** HTTP/2 and its calls on one connection, and how it ends. */
export class Http2Conversation implements Conversation<Frame>, Carrier, Place, Leaving {
  readonly peer: Peer
  readonly gate: Gate
  readonly gone: Promise<void>
  state: Place['state'] = 'serving'
  readonly outflow: Outflow
  readonly owed: Owed
  guest: Place['guest']
  readonly #link: Link<Frame>
  readonly #hall: Hall
  readonly #methods: Methods
  readonly streams = new Map<number, Http2Stream>()
  readonly #streamsMax: number
  /** Of the peer's streams. */
  #streamWindow = FIRST_WINDOW
  highest = 0
  working = 0
  /** How many it opened. */
  #streamsOpened = 0
  readonly #cutShort = new CutShort()
  readonly #ends = new Ends()
  readonly #credit = new Credit(CONNECTION_WINDOW)
  readonly #strain = new Strain()
  #held = 0
  readonly #farewell: Farewell
  readonly #alive: KeepAlive
  #resolveGone!: () => void

  constructor(link: Link<Frame>, hall: Hall, methods: Methods) {
    const { limits, clock } = hall.gateway
    this.#link = link
    this.#hall = hall
    this.#methods = methods
    this.peer = link.peer
    this.gate = new Gate(limits.inflight)
    this.outflow = new Outflow(() => link.writable(), limits.outboundBytes)
    this.owed = new Owed(limits.outboundBytes)
    this.#streamsMax = limits.inflight + limits.parked + TELEMETRY_STREAMS
    this.#alive = new KeepAlive(clock.now())
    this.#farewell = new Farewell(this, clock)
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
    link.send({
      kind: 'settings',
      values: [
        [setting.streams, this.#streamsMax],
        [setting.window, STREAM_WINDOW],
        [setting.listSize, LIST_BYTES],
      ],
    })
    link.send({ kind: 'window', stream: 0, bytes: CONNECTION_WINDOW - FIRST_WINDOW })
  }

  get unsettled(): number {
    return this.working + (this.#farewell.racing ? 1 : 0)
  }

  // ── Heard ───────────────────────────────────────────────────────────────────────────────────

  receive(frame: Frame): void {
    this.#alive.heard(this.#hall.gateway.clock.now())
    switch (frame.kind) {
      case 'data':
        return this.#data(frame.stream, frame.bytes, frame.counted, frame.last)
      case 'headers':
        return this.#headers(frame.stream, frame.fields, frame.last)
      case 'reset':
        return this.#reset(frame.stream, frame.error)
      case 'settings':
        return this.#settings(frame.values)
      case 'ping':
        if (!frame.ack) this.#link.send({ kind: 'ping', ack: true, opaque: frame.opaque })
        else this.#farewell.heard(frame.opaque)
        return
      case 'window':
        return this.#opened(frame.stream, frame.bytes)
      case 'goAway':
        // It opens no more streams, and closes when it has its answers.
        if (this.streams.size === 0) this.end()
        return
      default:
    }
  }

  #data(id: number, bytes: Buffer, counted: number, last: boolean): void {
    if (!this.#credit.take(counted)) throw violation('FLOW_CONTROL_ERROR', 'more data than the connection may send')
    const given = this.#credit.give()
    if (given > 0) this.send({ kind: 'window', stream: 0, bytes: given })
    if (bytes.length === 0 && !last) this.#strain.add(1)
    const stream = this.#known(id)
    if (stream) stream.data(bytes, counted, last)
    else if (!this.#forgiven(id, last)) throw violation('STREAM_CLOSED', `data on stream ${id}, which is closed`)
  }

  #headers(id: number, fields: Fields | Unfit, last: boolean): void {
    const open = this.streams.get(id)
    if (open) return this.#trailers(open, fields, last)
    if (id % 2 === 0) throw violation('PROTOCOL_ERROR', `a client opens no stream ${id}`)
    if (id <= this.highest && !this.#forgiven(id, last)) throw this.#again(id)
    if (id <= this.highest || id > this.#farewell.last) return
    this.highest = id
    this.#streamsOpened++
    if (this.streams.size >= this.#streamsMax) return this.#refuse(id, 'REFUSED_STREAM', last)
    if (typeof fields === 'string') return this.#refuse(id, fields, last)
    const asked = requestOf(fields)
    if (!asked) return this.#refuse(id, 'PROTOCOL_ERROR', last)
    this.#open(id, fields, asked, last)
  }

  /** [§8.1] */
  #trailers(stream: Http2Stream, fields: Fields | Unfit, last: boolean): void {
    if (stream.heardAll) return this.fail(stream, 'STREAM_CLOSED')
    if (typeof fields === 'string') return this.fail(stream, fields)
    if (!last || !mayTrail(fields)) return this.fail(stream, 'PROTOCOL_ERROR')
    stream.half()
  }

  #open(id: number, fields: Fields, { method: verb, path, type, length }: Asked, last: boolean): void {
    const { limits, clock } = this.#hall.gateway
    const stream = new Http2Stream(id, this.#streamWindow, length, this)
    // Twice the frame, so that a body that is too large is refused in the protocol's words and not by gRPC's.
    const max = 2 * limits.frameBytes
    const method = this.#methods(path)
    const exchange = new Exchange({ method, fields, channel: stream, place: this, now: clock.now(), max })
    stream.exchange = exchange
    this.streams.set(id, stream)
    if (last) stream.heardAll = true
    if (type.startsWith('application/grpc')) exchange.begin()
    else {
      stream.page('415', verb === 'HEAD' ? '' : 'gRPC is spoken here: content-type is application/grpc')
      exchange.stalledSince = clock.now()
      exchange.end()
    }
    if (last) stream.half()
  }

  fail(stream: Http2Stream, error: ErrorName): void {
    this.#strain.add(1)
    stream.reset(errors[error])
  }

  #refuse(stream: number, error: ErrorName, last: boolean): void {
    this.#strain.add(1)
    if (!last) this.#cutShort.add(stream)
    this.send({ kind: 'reset', stream, error: errors[error] })
  }

  /** Whether the peer cannot have known, when it said this, that the stream is closed. */
  #forgiven(id: number, last: boolean): boolean {
    if (id > this.#farewell.last) return true
    return this.#cutShort.forgives(id, last)
  }

  /** It has been closed, or a later one was opened before it. [§5.1, §5.1.1] */
  #again(id: number): Fault {
    const all = 2 * this.#streamsOpened > this.highest
    return violation(all ? 'STREAM_CLOSED' : 'PROTOCOL_ERROR', `headers on stream ${id}, which is closed`)
  }

  #reset(id: number, error: number): void {
    const stream = this.#known(id)
    this.#cutShort.delete(id)
    if (!stream) {
      if (error !== errors.NO_ERROR) this.#ends.unseen(id)
      return
    }
    // Opening streams only to give them up is work for us and none for the peer.
    this.#strain.add(1)
    stream.broken()
  }

  #settings(values: readonly (readonly [number, number])[]): void {
    this.#strain.add(SETTINGS_STRAIN)
    let window = this.#streamWindow
    for (const [id, value] of values) {
      checkSetting(id, value)
      if (id === setting.window) window = value
    }
    this.send({ kind: 'settingsAck' })
    this.#resize(window - this.#streamWindow)
    this.#streamWindow = window
  }

  #resize(change: number): void {
    if (change === 0) return
    for (const stream of [...this.streams.values()]) {
      stream.window += change
      if (stream.window > WINDOW_MAX) throw violation('FLOW_CONTROL_ERROR', 'a window beyond 2^31')
      if (change > 0) stream.pump()
    }
  }

  #opened(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) throw violation('PROTOCOL_ERROR', 'a window that does not open')
      if (!this.outflow.open(bytes)) throw violation('FLOW_CONTROL_ERROR', 'a window beyond 2^31')
      return
    }
    const stream = this.#known(id)
    if (!stream) return
    if (bytes === 0) return this.fail(stream, 'PROTOCOL_ERROR')
    stream.window += bytes
    if (stream.window > WINDOW_MAX) return this.fail(stream, 'FLOW_CONTROL_ERROR')
    stream.pump()
  }

  /** Undefined: it is closed. @throws Fault 'malformed': it was never opened */
  #known(id: number): Http2Stream | undefined {
    if (id > this.highest && id <= this.#farewell.last)
      throw violation('PROTOCOL_ERROR', `stream ${id} was never opened`)
    return this.streams.get(id)
  }

  // ── Said ────────────────────────────────────────────────────────────────────────────────────

  send(frame: Frame): void {
    this.#link.send(frame)
  }

  left(stream: Http2Stream): void {
    this.streams.delete(stream.id)
    this.outflow.leave(stream)
    if (!stream.heardAll) this.#cutShort.add(stream.id)
    this.#farewell.left()
  }

  recalled(stream: Http2Stream, undo: () => void): void {
    this.#ends.said(stream.id, this.#hall.gateway.clock.now(), undo)
  }

  closed(): void {
    this.state = 'closed'
    for (const stream of this.streams.values()) stream.broken()
    this.#resolveGone()
  }

  worked(change: 1 | -1): void {
    this.working += change
  }

  held(change: number, exchange: Exchange): void {
    this.#held += change
    if (change > 0 && this.#held > PARTIAL_FRAMES * this.#hall.gateway.limits.frameBytes) exchange.cancel()
  }

  async taken(): Promise<boolean> {
    await this.#link.writable()
    return this.state !== 'closed'
  }

  report(error: unknown): void {
    this.#hall.refuse(error)
  }

  // ── Time ────────────────────────────────────────────────────────────────────────────────────

  tick(now: EpochMs): void {
    this.#strain.tick()
    this.#ends.tick(now)
    const due = this.#alive.due(now)
    if (due === 'ask') this.send({ kind: 'ping', ack: false, opaque: ALIVE })
    else if (due === 'close') this.end()
    const { frameMs, stallMs } = this.#hall.gateway.limits
    for (const { exchange } of this.streams.values()) {
      if (exchange.deadline <= now) exchange.refuse(grpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
      const { lasting, reads } = exchange.method
      const quiet = lasting ? !exchange.heard : exchange.asking
      const slow = quiet && now - exchange.since > (reads ? QUIET_MS : frameMs)
      const stalled = exchange.stalledSince !== undefined && now - exchange.stalledSince > stallMs
      if (slow || stalled) exchange.cancel()
    }
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────

  goAway(): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    this.#farewell.announce()
  }

  end(): void {
    if (this.state !== 'closed') this.#link.end()
  }

  refuse({ about }: Fault): Frame {
    const error = errors[about as ErrorName] ?? errors.INTERNAL_ERROR
    return { kind: 'goAway', last: this.highest, error }
  }

  farewell(): Frame {
    return this.#farewell.now()
  }
}
