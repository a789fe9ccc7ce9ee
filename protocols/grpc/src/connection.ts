import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Connection, EpochMs, Gateway, GoAwayReason, Ms, Peer } from '@sluice/core'
import { Exchange } from './exchange.ts'
import { Gate } from './gate.ts'
import type { NoticeDuplex } from './notice.ts'

/** From the notice's PING coming back to the GOAWAY with the true last stream: what raced with the notice is here by then. */
const RACE_MS: Ms = 100
/** How long that PING is waited for. */
const PING_MS: Ms = 5_000
/** How long a peer may take to close after our last word. */
const LINGER_MS: Ms = 2_000
/** What a forced end leaves an idle peer to hear the last word. */
const FAREWELL_MS: Ms = 50
/** So many times a frame: bytes that a connection may have in requests that are not complete. */
const PARTIAL_FRAMES = 16

/** An HTTP/2 connection as the drain sees it. */
export class GrpcConnection implements Connection {
  readonly id: string
  readonly peer: Peer
  readonly since: EpochMs
  readonly socket: NoticeDuplex
  readonly gone: Promise<void>
  state: Connection['state'] = 'serving'
  /** Calls that are worked on: `limits.inflight`. */
  readonly gate: Gate
  readonly #gateway: Gateway
  readonly #exchanges = new Map<number, Exchange>()
  #session: ServerHttp2Session | undefined
  /** We said the last word: what the session reports from now on is our own doing. */
  #ending = false
  /** Between the two words of a graceful end. */
  #announcing = false
  #lingering = false
  #working = 0
  #held = 0
  #stalledSince: EpochMs | undefined
  #taken = 0

  constructor(id: string, socket: NoticeDuplex, peer: Peer, gateway: Gateway) {
    this.id = id
    this.peer = peer
    this.socket = socket
    this.#gateway = gateway
    this.gate = new Gate(gateway.limits.inflight)
    this.since = gateway.clock.now()
    this.gone = new Promise((resolve) => {
      socket.once('close', () => {
        this.state = 'closed'
        resolve()
      })
    })
    socket.once('finish', () => {
      const stop = gateway.clock.after(LINGER_MS, () => socket.destroy())
      socket.once('close', stop)
    })
  }

  /** An answer that the peer has not taken is no answer yet. */
  get busy(): number {
    return this.#working + (this.socket.backlog > 0 ? 1 : 0)
  }

  attach(session: ServerHttp2Session): void {
    this.#session = session
    const left = this.since + this.#gateway.limits.handshakeMs - this.#gateway.clock.now()
    const stop = this.#gateway.clock.after(Math.max(0, left), () => {
      this.#refused('handshake took too long')
      this.end(true)
    })
    session.once('remoteSettings', stop)
    session.once('close', stop)
    if (this.state === 'told') this.#announce(session)
  }

  open(stream: ServerHttp2Stream, lasting: boolean): Exchange {
    const exchange = new Exchange(stream, lasting, this.#gateway.clock.now(), {
      worked: (change) => {
        this.#working += change
      },
      held: (change) => {
        this.#held += change
        if (change > 0 && this.#held > PARTIAL_FRAMES * this.#gateway.limits.frameBytes) {
          exchange.cancel(constants.NGHTTP2_ENHANCE_YOUR_CALM)
        }
      },
    })
    const id = stream.id as number
    this.#exchanges.set(id, exchange)
    void exchange.ended.then(() => {
      this.#exchanges.delete(id)
      if (this.#session?.closed) this.#lastWords()
    })
    return exchange
  }

  exchange(stream: number): Exchange | undefined {
    return this.#exchanges.get(stream)
  }

  goAway(_reason: GoAwayReason): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    if (this.#session) this.#announce(this.#session)
  }

  end(force: boolean): void {
    const idle = this.#working === 0 && this.socket.backlog === 0
    if (!force && (!idle || this.#announcing)) return
    this.#ending = true
    if (!idle || !this.#session) return this.#cut()
    this.#close(this.#session)
    // Telemetry and polls are told, even so: Node's client takes a stream that breaks after its shutdown for a crash.
    if (force) this.#gateway.clock.after(FAREWELL_MS, () => this.#cut())
  }

  /** The session failed: HTTP/2 was broken, or the peer is gone. */
  failed(error: Error & { code?: string }): void {
    if (!this.#ending && error.code !== 'ECONNRESET' && error.code !== 'EPIPE') this.#refused(error.message)
    this.socket.destroy()
  }

  tick(now: EpochMs): void {
    const { frameMs, stallMs } = this.#gateway.limits
    const moved = this.socket.backlog === 0 || this.socket.taken !== this.#taken
    this.#taken = this.socket.taken
    this.#stalledSince = moved ? undefined : (this.#stalledSince ?? now)
    if (this.#stalledSince !== undefined && now - this.#stalledSince > stallMs) {
      this.#gateway.log.warn('connection.stalled', { protocol: 'grpc', remote: this.peer.address })
      this.socket.destroy()
      return
    }
    for (const exchange of this.#exchanges.values()) {
      const slow = exchange.asking && !exchange.lasting && now - exchange.since > frameMs
      const stalled = exchange.stalledSince !== undefined && now - exchange.stalledSince > stallMs
      if (slow || stalled) exchange.cancel()
    }
  }

  /**
   * First of two: new streams are served, but the peer is asked for none. Then polls come back, in that order,
   * and clients that know how are asked to reconnect. The
   * second follows by itself.
   */
  #announce(session: ServerHttp2Session): void {
    const { clock } = this.#gateway
    if (session.destroyed) return
    this.#announcing = true
    this.socket.notice()
    const giveUp = clock.after(PING_MS, () => this.#close(session))
    const heard = () => {
      giveUp()
      clock.after(RACE_MS, () => this.#close(session))
    }
    if (!session.ping(heard)) heard()
    for (const exchange of this.#exchanges.values()) {
      exchange.wake()
      exchange.leave?.()
    }
  }

  /** Second: the true last stream. The session ends by itself with the last of its streams. */
  #close(session: ServerHttp2Session): void {
    this.#announcing = false
    if (session.destroyed) return
    if (!session.closed) session.close()
    this.#lastWords()
  }

  /**
   * Telemetry and watches end last of all: clients open a new stream within a second, some only after minutes. Streams that the peer
   * leaves half-open after that do not keep us.
   */
  #lastWords(): void {
    if (this.#lingering || this.#working > 0) return
    for (const exchange of this.#exchanges.values()) exchange.wake()
    for (const { lasting } of this.#exchanges.values()) if (!lasting) return
    this.#lingering = true
    for (const exchange of this.#exchanges.values()) exchange.finish?.()
    this.#gateway.clock.after(LINGER_MS, () => this.socket.destroy())
  }

  #cut(): void {
    if (this.#session && !this.#session.destroyed) this.#session.destroy(undefined, constants.NGHTTP2_CANCEL)
    if (this.socket.backlog > 0) this.socket.destroy()
    else this.socket.end(() => this.socket.destroy())
  }

  #refused(reason: string): void {
    this.#gateway.log.info('connection.refused', {
      protocol: 'grpc',
      code: 'malformed',
      reason,
      remote: this.peer.address,
    })
  }
}
