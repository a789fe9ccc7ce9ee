import { constants, type ServerHttp2Session } from 'node:http2'
import type { Connection, EpochMs, Gateway, Peer } from '@sluice/core'
import type { Exchange } from '../exchange.ts'
import { Farewell, type Leaving } from '../farewell.ts'
import { Gate } from '../gate.ts'
import { type Frame, LAST_STREAM } from '../http2/frames.ts'
import { grpcStatus, type Place } from '../method.ts'
import { Owed } from '../owed.ts'
import type { NoticeDuplex } from './notice.ts'

/** So many times a frame: bytes that a connection may have in requests that are not complete. */
const PARTIAL_FRAMES = 16
/** How long a peer may take to close after our last word. */
const LINGER_MS = 2_000

interface Open {
  readonly exchange: Exchange
  reset(): void
}

/** A session of Node's as the drain and its calls see it. */
export class LibraryConnection implements Connection, Place, Leaving {
  readonly id: string
  readonly peer: Peer
  readonly since: EpochMs
  readonly socket: NoticeDuplex
  readonly gone: Promise<void>
  readonly gate: Gate
  readonly owed: Owed
  state: Connection['state'] = 'serving'
  readonly streams = new Map<number, Open>()
  working = 0
  readonly highest = 0
  readonly #gateway: Gateway
  readonly #report: (error: unknown) => void
  readonly #farewell: Farewell
  #session: ServerHttp2Session | undefined
  #held = 0
  #backlog = 0
  #stalledSince: EpochMs = 0

  constructor(id: string, socket: NoticeDuplex, peer: Peer, gateway: Gateway, report: (error: unknown) => void) {
    this.id = id
    this.peer = peer
    this.socket = socket
    this.#gateway = gateway
    this.#report = report
    this.gate = new Gate(gateway.limits.inflight)
    this.owed = new Owed(gateway.limits.outboundBytes)
    this.since = gateway.clock.now()
    this.#farewell = new Farewell(this, gateway.clock)
    this.gone = new Promise((resolve) => {
      socket.once('close', () => {
        this.state = 'closed'
        resolve()
      })
    })
  }

  /** An answer that the peer has not taken is no answer yet. */
  get busy(): number {
    return this.working + (this.#farewell.racing ? 1 : 0) + (this.socket.backlog > 0 ? 1 : 0)
  }

  attach(session: ServerHttp2Session): void {
    this.#session = session
    const left = this.since + this.#gateway.limits.handshakeMs - this.#gateway.clock.now()
    const stop = this.#gateway.clock.after(Math.max(0, left), () => this.failed('handshake took too long'))
    session.once('remoteSettings', stop)
    session.once('close', stop)
    session.on('error', () => undefined)
    if (this.state === 'told') this.#farewell.announce()
  }

  open(stream: number, open: Open): void {
    this.streams.set(stream, open)
    open.exchange.whenEnded(() => {
      this.streams.delete(stream)
      this.#farewell.left()
    })
  }

  failed(reason: string): void {
    const fields = { protocol: 'grpc', code: 'malformed', reason, remote: this.peer.address }
    if (this.state === 'serving') this.#gateway.log.info('connection.refused', fields)
    this.socket.destroy()
  }

  goAway(): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    if (this.#session) this.#farewell.announce()
  }

  /** Of the farewell: what it says is said by the session, but for the first word. */
  send(frame: Frame): void {
    const session = this.#session
    if (!session || session.destroyed) return
    if (frame.kind === 'ping') session.ping(frame.opaque, (error) => error ?? this.#farewell.heard(frame.opaque))
    else if (frame.kind === 'goAway' && frame.last === LAST_STREAM) this.socket.notice()
    else session.close()
  }

  /** `force` undefined: the farewell is over. */
  end(force?: boolean): void {
    if (force === false && this.busy > 0) return
    const session = this.#session
    if (session && !session.destroyed) {
      this.state = this.state === 'closed' ? 'closed' : 'told'
      for (const { exchange } of [...this.streams.values()]) exchange.finish?.()
      session.close()
      if (force) for (const { reset } of [...this.streams.values()]) reset()
    }
    const cut = () => {
      if (session && !session.destroyed) session.destroy(undefined, constants.NGHTTP2_CANCEL)
      this.socket.destroy()
    }
    const stop = this.#gateway.clock.after(session ? LINGER_MS : 0, cut)
    this.socket.once('close', stop)
  }

  worked(change: 1 | -1): void {
    this.working += change
  }

  held(change: number, exchange: Exchange): void {
    this.#held += change
    if (change > 0 && this.#held > PARTIAL_FRAMES * this.#gateway.limits.frameBytes) exchange.cancel()
  }

  async taken(): Promise<boolean> {
    if (this.socket.backlog > 0) await this.socket.taken()
    return this.state !== 'closed'
  }

  report(error: unknown): void {
    this.#report(error)
  }

  tick(now: EpochMs): void {
    const { frameMs, stallMs } = this.#gateway.limits
    const { backlog } = this.socket
    if (backlog === 0 || backlog !== this.#backlog) this.#stalledSince = now
    this.#backlog = backlog
    if (now - this.#stalledSince > stallMs) {
      this.#gateway.log.warn('connection.stalled', { protocol: 'grpc', remote: this.peer.address })
      return void this.socket.destroy()
    }
    for (const { exchange } of [...this.streams.values()]) {
      if (exchange.deadline <= now) exchange.refuse(grpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
      const quiet = exchange.method.lasting ? !exchange.heard : exchange.asking
      const stalled = exchange.stalledSince !== undefined && now - exchange.stalledSince > stallMs
      if ((quiet && now - exchange.since > frameMs) || stalled) exchange.cancel()
    }
  }
}
