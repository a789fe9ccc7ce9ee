import type { Conversation, EpochMs, Fault, GoAwayReason, Link, Ms, Peer } from '@sluice/core'
import type { Hall } from './calls.ts'
import { type ErrorName, errors, type Frame, LAST_STREAM, setting, violation } from './codec.ts'
import { Exchange, grpcStatus, type Method, type Place } from './exchange.ts'
import { Gate } from './gate.ts'
import { type Fields, LIST_BYTES } from './http2/hpack.ts'
import { type Carrier, Http2Stream, STREAM_WINDOW } from './stream.ts'

/** From the notice's PING coming back to the GOAWAY with the true last stream: what raced with the notice is here by then. */
const RACE_MS: Ms = 100
/** How long that PING is waited for. */
const PING_MS: Ms = 5_000
/** How long telemetry that was ended may take to be heard. */
const LINGER_MS: Ms = 2_000
/** A silent connection is asked whether it is still there, and closed when it does not say so. */
const KEEP_ALIVE_MS: Ms = 60_000
const ANSWER_MS: Ms = 20_000
/** So many times a frame: bytes that a connection may have in requests that are not complete. */
const PARTIAL_FRAMES = 16
/** Telemetry streams of the clients on one connection, beside their calls and polls. */
const TELEMETRY_STREAMS = 64
/** Where the windows of peers begin, and the most that they are. [RFC 9113 §6.9] */
const FIRST_WINDOW = 65_535
const WINDOW_MAX = 2 ** 31 - 1
/** What all streams of a connection may send before they are told to go on. */
const CONNECTION_WINDOW = 16 * 1024 * 1024
/** Bytes that are given to the socket before it has taken any. */
const SOCKET_BYTES = 256 * 1024
/** Streams that a peer may give up at once, and each second. */
const RESETS = 4_096
const RESETS_A_SECOND = 512

const OURS = Buffer.from('farewell')
const ALIVE = Buffer.from('alive???')

/** HTTP/2 and its calls on one connection, and how it ends. */
export class Http2Conversation implements Conversation<Frame>, Carrier, Place {
  readonly peer: Peer
  readonly gate: Gate
  readonly gone: Promise<void>
  state: Place['state'] = 'serving'
  window = FIRST_WINDOW
  corked = false
  readonly #link: Link<Frame>
  readonly #hall: Hall
  readonly #methods: ReadonlyMap<string, Method>
  readonly #streams = new Map<number, Http2Stream>()
  readonly #streamsMax: number
  #blocked: Http2Stream[] = []
  /** Of the peer's streams. */
  #streamWindow = FIRST_WINDOW
  #highest = 0
  /** Streams beyond it are not served: we said so. */
  #last = LAST_STREAM
  #room = CONNECTION_WINDOW
  #owed = 0
  #unsent = 0
  #resets = 0
  #working = 0
  #held = 0
  #heardAt: EpochMs
  #askedAt: EpochMs | undefined
  /** Between the two words of a graceful end: what to do when its PING comes back. */
  #announced: (() => void) | undefined
  #lingering = false
  #resolveGone!: () => void

  constructor(link: Link<Frame>, hall: Hall, methods: ReadonlyMap<string, Method>) {
    const { limits, clock } = hall.gateway
    this.#link = link
    this.#hall = hall
    this.#methods = methods
    this.peer = link.peer
    this.gate = new Gate(limits.inflight)
    this.#streamsMax = limits.inflight + limits.parked + TELEMETRY_STREAMS
    this.#heardAt = clock.now()
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
    return this.#working + (this.#announced ? 1 : 0)
  }

  // ── Heard ───────────────────────────────────────────────────────────────────────────────────

  receive(frame: Frame): void {
    this.#heardAt = this.#hall.gateway.clock.now()
    switch (frame.kind) {
      case 'data':
        return this.#data(frame.stream, frame.bytes, frame.counted, frame.last)
      case 'headers':
        return this.#headers(frame.stream, frame.fields, frame.last)
      case 'reset':
        return this.#reset(frame.stream)
      case 'settings':
        return this.#settings(frame.values)
      case 'ping':
        if (!frame.ack) this.#link.send({ kind: 'ping', ack: true, opaque: frame.opaque })
        else if (frame.opaque.equals(OURS)) this.#announced?.()
        return
      case 'window':
        return this.#opened(frame.stream, frame.bytes)
      case 'goAway':
        // It opens no more streams, and closes when it has its answers.
        if (this.#streams.size === 0) this.#link.end()
        return
      default:
    }
  }

  #data(id: number, bytes: Buffer, counted: number, last: boolean): void {
    this.#room -= counted
    if (this.#room < 0) throw violation('FLOW_CONTROL_ERROR', 'more data than the connection may send')
    this.#owed += counted
    if (this.#owed >= CONNECTION_WINDOW / 2) {
      this.send({ kind: 'window', stream: 0, bytes: this.#owed })
      this.#room += this.#owed
      this.#owed = 0
    }
    const stream = this.#known(id)
    if (stream && !stream.data(bytes, counted, last)) stream.reset(errors.FLOW_CONTROL_ERROR)
  }

  #headers(id: number, fields: Fields | undefined, last: boolean): void {
    const open = this.#streams.get(id)
    if (open) {
      if (!last) throw violation('PROTOCOL_ERROR', 'headers in the middle of a request')
      return open.half()
    }
    if (id % 2 === 0) throw violation('PROTOCOL_ERROR', `a client opens no stream ${id}`)
    if (id <= this.#highest || id > this.#last) return
    this.#highest = id
    if (this.#streams.size >= this.#streamsMax) return this.#refuse(id, 'REFUSED_STREAM')
    if (!fields) return this.#refuse(id, 'ENHANCE_YOUR_CALM')
    this.#open(id, fields, last)
  }

  #open(id: number, fields: Fields, last: boolean): void {
    const header = (name: string) => {
      const at = fields.indexOf(name)
      return at % 2 === 0 ? fields[at + 1] : undefined
    }
    if (!header('content-type')?.startsWith('application/grpc')) return this.#answer(id, [':status', '415'], last)
    const method = this.#methods.get(header(':path') ?? '')
    if (!method) {
      const text = encodeURI(`no method ${header(':path')?.slice(0, 128)}`)
      const status = ['grpc-status', String(grpcStatus.UNIMPLEMENTED), 'grpc-message', text]
      return this.#answer(id, [':status', '200', 'content-type', 'application/grpc', ...status], last)
    }
    const { limits, clock } = this.#hall.gateway
    const stream = new Http2Stream(id, this.#streamWindow, last, this)
    // Twice the frame, so that a body that is too large is refused in the protocol's words and not by gRPC's.
    const max = 2 * limits.frameBytes
    stream.exchange = new Exchange({ method, fields, channel: stream, place: this, now: clock.now(), max })
    this.#streams.set(id, stream)
    stream.exchange.begin()
    if (last) stream.half()
  }

  /** Headers are all that is said. */
  #answer(stream: number, fields: Fields, last: boolean): void {
    this.send({ kind: 'headers', stream, fields, last: true })
    if (!last) this.#refuse(stream, 'NO_ERROR')
  }

  #refuse(stream: number, error: ErrorName): void {
    this.send({ kind: 'reset', stream, error: errors[error] })
  }

  #reset(id: number): void {
    const stream = this.#known(id)
    if (!stream) return
    // Opening streams only to give them up is work for us and none for the peer.
    if (++this.#resets > RESETS) throw violation('ENHANCE_YOUR_CALM', 'streams are given up too fast')
    stream.broken()
  }

  #settings(values: readonly (readonly [number, number])[]): void {
    for (const [id, value] of values) {
      if (id !== setting.window) continue
      if (value > WINDOW_MAX) throw violation('FLOW_CONTROL_ERROR', 'a window beyond 2^31')
      for (const stream of this.#streams.values()) stream.window += value - this.#streamWindow
      this.#streamWindow = value
    }
    this.send({ kind: 'settingsAck' })
    this.#unblock()
  }

  #opened(id: number, bytes: number): void {
    if (bytes === 0) throw violation('PROTOCOL_ERROR', 'a window that does not open')
    if (id === 0) {
      this.window += bytes
      if (this.window > WINDOW_MAX) throw violation('FLOW_CONTROL_ERROR', 'a window beyond 2^31')
      return this.#unblock()
    }
    const stream = this.#known(id)
    if (!stream) return
    stream.window += bytes
    if (stream.window > WINDOW_MAX) return stream.reset(errors.FLOW_CONTROL_ERROR)
    stream.pump()
  }

  /** Undefined: it is closed. @throws Fault 'malformed': it was never opened */
  #known(id: number): Http2Stream | undefined {
    if (id > this.#highest && id <= this.#last) throw violation('PROTOCOL_ERROR', `stream ${id} was never opened`)
    return this.#streams.get(id)
  }

  // ── Said ────────────────────────────────────────────────────────────────────────────────────

  send(frame: Frame): void {
    this.#link.send(frame)
  }

  sent(stream: Http2Stream, data: number): void {
    this.window -= data
    stream.window -= data
    this.#unsent += data
    if (this.#unsent < SOCKET_BYTES || this.corked) return
    this.corked = true
    void this.#link.writable().then(() => {
      this.#unsent = 0
      this.corked = false
      this.#unblock()
    })
  }

  blocked(stream: Http2Stream): void {
    if (!this.#blocked.includes(stream)) this.#blocked.push(stream)
  }

  /** Each has its turn, those that wait longest first. */
  #unblock(): void {
    const blocked = this.#blocked
    this.#blocked = []
    for (const stream of blocked) stream.pump()
  }

  left({ id }: Http2Stream): void {
    this.#streams.delete(id)
    if (this.#last !== LAST_STREAM) queueMicrotask(() => this.#lastWords())
  }

  closed(): void {
    this.state = 'closed'
    this.#announced = undefined
    for (const stream of this.#streams.values()) stream.broken()
    this.#resolveGone()
  }

  worked(change: 1 | -1): void {
    this.#working += change
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
    this.#resets = Math.max(0, this.#resets - RESETS_A_SECOND)
    this.#keepAlive(now)
    const { frameMs, stallMs } = this.#hall.gateway.limits
    for (const { exchange } of this.#streams.values()) {
      if (exchange.deadline <= now) exchange.refuse(grpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
      const slow = exchange.asking && !exchange.method.lasting && now - exchange.since > frameMs
      const stalled = exchange.stalledSince !== undefined && now - exchange.stalledSince > stallMs
      if (slow || stalled) exchange.cancel()
    }
  }

  #keepAlive(now: EpochMs): void {
    if (now - this.#heardAt < KEEP_ALIVE_MS) this.#askedAt = undefined
    else if (this.#askedAt === undefined) {
      this.#askedAt = now
      this.send({ kind: 'ping', ack: false, opaque: ALIVE })
    } else if (now - this.#askedAt > ANSWER_MS) this.#link.end()
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * First of two: new streams are served, but the peer is asked for none. Then polls come back, in that order, and
   * clients that know how are asked to reconnect. The second follows by itself. [RFC 9113 §6.8]
   */
  goAway(_reason: GoAwayReason): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    const { clock } = this.#hall.gateway
    this.send({ kind: 'goAway', last: LAST_STREAM, error: errors.NO_ERROR })
    this.send({ kind: 'ping', ack: false, opaque: OURS })
    const giveUp = clock.after(PING_MS, () => this.#finalWord())
    this.#announced = () => {
      giveUp()
      this.#announced = () => undefined
      clock.after(RACE_MS, () => this.#finalWord())
    }
    for (const { exchange } of this.#streams.values()) {
      exchange.wake()
      exchange.leave?.()
    }
  }

  /** Second: the true last stream. The connection ends with the last of its streams. */
  #finalWord(): void {
    if (this.#last !== LAST_STREAM || this.state === 'closed') return
    this.#announced = undefined
    this.#last = this.#highest
    this.send({ kind: 'goAway', last: this.#last, error: errors.NO_ERROR })
    this.#lastWords()
  }

  /**
   * Telemetry and watches end last of all: clients open a new stream within a second, some only after minutes. A peer that does
   * not hear them end does not keep us.
   */
  #lastWords(): void {
    if (this.state === 'closed') return
    if (this.#streams.size === 0) return this.#link.end()
    if (this.#lingering || this.#working > 0) return
    for (const { exchange } of this.#streams.values()) exchange.wake()
    for (const { exchange } of this.#streams.values()) if (!exchange.method.lasting) return
    this.#lingering = true
    for (const { exchange } of this.#streams.values()) exchange.finish?.()
    this.#hall.gateway.clock.after(LINGER_MS, () => this.#link.end())
  }

  refuse({ about }: Fault): Frame {
    const error = errors[about as ErrorName] ?? errors.INTERNAL_ERROR
    return { kind: 'goAway', last: this.#highest, error }
  }

  /** Telemetry and polls are told; what else is in flight is cut off. */
  farewell(): Frame {
    const last = this.#last === LAST_STREAM ? this.#highest : this.#last
    for (const stream of [...this.#streams.values()]) {
      stream.exchange.finish?.()
      stream.reset()
    }
    return { kind: 'goAway', last, error: errors.NO_ERROR }
  }
}
