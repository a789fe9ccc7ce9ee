import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  type Connection,
  type Credentials,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Notice,
  type Peer,
  type Principal,
  type Session,
} from '@sluice/core'
import { Requests } from './requests.ts'

/** How long a peer may take to close after our last word. */
const LINGER_MS = 2_000

/** A request that waits without being work: a parked poll or a stream. */
export interface Waiting {
  /** The drain, or a client that goes away, ends it. */
  wake(): void
  tick?(now: EpochMs): void
  /** Deliveries that are on their way to the client. */
  readonly unsettled: number
}

/** Who asks. */
export interface Who {
  readonly session: Session
  readonly principal: Principal
}

/** One socket: its requests, what waits on it, its session and its end. */
export class HttpConnection implements Connection {
  readonly id: string
  /** What a client is called that does not name itself. */
  readonly client: string
  readonly peer: Peer
  readonly since: EpochMs
  readonly closed: Promise<void>
  /** Closed, its polls over, its session released. */
  readonly gone: Promise<void>
  state: Connection['state'] = 'serving'

  readonly #gateway: Gateway
  readonly #socket: Duplex
  readonly #forget: () => void
  readonly #told: () => void
  readonly #requests: Requests
  readonly #waiting = new Set<Waiting>()
  /** How much must be over before the session is released. */
  #held = 0
  #nothingHeld: (() => void) | undefined
  #session: Session | Promise<Session> | undefined
  /** Nothing more is served: the last answer has been, or is being, given. */
  #closing = false
  #heardAll = false
  /** Ends with its last answer. */
  #unwanted = false
  #left = 0
  #stalledSince: EpochMs | undefined
  #resolveClosed!: () => void
  #resolveGone!: () => void

  constructor(gateway: Gateway, socket: Duplex, peer: Peer, id: string, forget: () => void, told: () => void) {
    this.#gateway = gateway
    this.#socket = socket
    this.#forget = forget
    this.#told = told
    this.id = id
    this.client = id.replace('/', '-')
    this.peer = peer
    this.since = gateway.clock.now()
    this.#requests = new Requests(socket, gateway.limits.inflight, () => this.#endIfUnwanted())
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
    // Node ends a connection after its last answer with this; a plain destroy may reset the answer away.
    Object.assign(socket, { destroySoon: () => this.#linger() })
    socket.on('error', this.#onError)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
  }

  /** Polls are not work, and neither are streams but for what is on its way; an answer not taken yet is. */
  get busy(): number {
    let unsettled = 0
    for (const waiting of this.#waiting) unsettled += waiting.unsettled
    const unread = this.#socket.writableLength > 0 ? 1 : 0
    return Math.max(0, this.#requests.size - this.#waiting.size) + unsettled + unread
  }

  /** No request waits for its answer. */
  get idle(): boolean {
    return this.#requests.size === 0
  }

  /** Nobody reads any more. */
  get lost(): boolean {
    return this.state === 'closed'
  }

  /** Nothing is waited for any more. */
  get leaving(): boolean {
    return this.state !== 'serving' || this.#heardAll || this.#unwanted
  }

  // ── Requests ────────────────────────────────────────────────────────────────────────────────────────

  /** Not at all when the last answer has been given. */
  begin(response: ServerResponse, serve: () => void): void {
    if (this.#closing) response.req.resume()
    else this.#requests.add(response, serve)
  }

  /** Calls back if this answer does not reach the socket as a whole. */
  onLost(response: ServerResponse, lost: () => void): void {
    if (this.lost) lost()
    else this.#requests.onLost(response, lost)
  }

  #endIfUnwanted(): void {
    if (this.#unwanted && this.idle) this.#linger()
  }

  /**
   * Whether this answer is to say `Connection: close`, which it then must. Only the newest request's may: what came
   * after it would be lost. `incomplete`: the rest of its body is not worth reading.
   */
  last(response: ServerResponse, incomplete: boolean): boolean {
    if (this.#requests.newest !== response || !(incomplete || this.state === 'told')) return this.#closing
    this.#closing = true
    return true
  }

  /** Bytes that are no request. What was asked before them is answered if it can be, in its order. */
  broken(answer: string | undefined, fault: { readonly code: string; readonly message: string }): void {
    if (this.#closing) return
    this.#closing = true
    this.#requests.stop()
    this.refused(fault)
    const { oldest } = this.#requests
    const open = oldest === undefined || (!oldest.req.complete && !oldest.headersSent)
    if (open && answer !== undefined && this.#socket.writable) this.#socket.write(answer)
    if (open) return this.#linger()
    // The parser is dead; the answer that is being made ends the connection.
    oldest.once('close', () => this.#linger())
  }

  refused({ code, message }: { readonly code: string; readonly message: string }): void {
    this.#gateway.log.info('connection.refused', { protocol: 'http', code, reason: message, remote: this.peer.address })
  }

  // ── Session ─────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The session is the connection's and begins with its first request; who asks is told by each request.
   * @throws Fault 'unauthenticated', 'limit'
   */
  who(credentials: Credentials): Who | Promise<Who> {
    const session = this.#session
    if (session === undefined) return this.#admit(credentials)
    if (session instanceof Promise) return session.then((admitted) => this.#asks(admitted, credentials))
    return this.#asks(session, credentials)
  }

  #asks(session: Session, credentials: Credentials): Who | Promise<Who> {
    const principal = this.#gateway.authenticate(credentials)
    if (principal instanceof Promise) return principal.then((known) => ({ session, principal: known }))
    return { session, principal }
  }

  async #admit(credentials: Credentials): Promise<Who> {
    this.#session = this.#gateway.admit(credentials, (notice) => this.#notify(notice))
    try {
      const session = await this.#session
      this.#session = session
      return { session, principal: session.principal }
    } catch (error) {
      this.#session = undefined
      throw error
    }
  }

  async #notify(notice: Notice): Promise<unknown> {
    if (notice.kind === 'probe') throw new Fault('unsupported', 'an HTTP client cannot be asked')
    if (notice.kind === 'goAway') {
      this.goAway('aged')
      this.#unwanted = notice.reason === 'kicked' || notice.reason === 'takenOver'
      this.#endIfUnwanted()
    }
    return undefined
  }

  // ── What waits ──────────────────────────────────────────────────────────────────────────────────────

  /** @throws Fault 'limit' */
  park(waiting: Waiting): () => void {
    const { parked } = this.#gateway.limits
    if (this.#waiting.size >= parked) throw new Fault('limit', `over ${parked} polls and streams`, { about: 'polls' })
    this.#waiting.add(waiting)
    if (this.leaving) waiting.wake()
    return () => this.#waiting.delete(waiting)
  }

  /** The session lives until this is over. */
  hold<T>(task: Promise<T>): Promise<T> {
    this.#held++
    task.then(this.#over, this.#over)
    return task
  }

  readonly #over = (): void => {
    if (--this.#held === 0) this.#nothingHeld?.()
  }

  // ── Ways to the end ─────────────────────────────────────────────────────────────────────────────────

  goAway(reason: GoAwayReason): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    if (reason === 'draining') this.#told()
    this.#wake()
  }

  end(force: boolean): void {
    if (!force) {
      if (this.busy === 0 && this.idle) this.#linger()
      return
    }
    const busy = this.busy > 0
    this.#closing = true
    this.#requests.stop()
    this.#unwanted = true
    this.#wake()
    if (busy) this.#socket.destroy()
    else if (this.idle) this.#linger()
    else this.#destroyLater() // polls and streams that were woken say their last word
  }

  tick(now: EpochMs): void {
    for (const waiting of this.#waiting) this.#guard(() => waiting.tick?.(now))
    const left = this.#socket.writableLength
    if (left === 0 || left !== this.#left) this.#stalledSince = left === 0 ? undefined : now
    this.#left = left
    if (this.#stalledSince === undefined || now - this.#stalledSince <= this.#gateway.limits.stallMs) return
    this.#gateway.log.warn('connection.stalled', { protocol: 'http', remote: this.peer.address })
    this.#socket.destroy()
  }

  /** The last words on a socket that asked to become another protocol's. */
  answerUpgrade(answer: string): void {
    if (this.#socket.writable) this.#socket.write(answer)
    this.#linger()
  }

  /** The socket is another protocol's from here on. */
  handOver(): void {
    Reflect.deleteProperty(this.#socket, 'destroySoon')
    this.#socket.off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onError)
    this.#onClose()
  }

  #wake(): void {
    for (const waiting of [...this.#waiting]) this.#guard(() => waiting.wake())
  }

  /** A throw costs this connection and no other. */
  #guard(call: () => unknown): void {
    try {
      call()
    } catch (error) {
      this.#gateway.log.error('plugin.failed', { plugin: 'http', error: String(error) })
      this.#socket.destroy()
    }
  }

  #linger(): void {
    if (this.#socket.writableEnded) return
    this.#closing = true
    this.#requests.stop()
    this.#socket.end()
    // What still comes is no request any more.
    this.#socket.removeAllListeners('data').on('data', ignore)
    // Reading on keeps the kernel from answering late bytes with a reset, which would erase the last answer.
    this.#socket.resume()
    this.#destroyLater()
  }

  #destroyLater(): void {
    const stop = this.#gateway.clock.after(LINGER_MS, () => this.#socket.destroy())
    this.#socket.once('close', stop)
  }

  readonly #onError = (): void => void this.#socket.destroy()

  /** The peer says nothing more: what it asked is still answered, but it is not waited for. */
  readonly #onEnd = (): void => {
    this.#heardAll = true
    this.#wake()
    if (this.idle) this.#linger()
  }

  readonly #onClose = (): void => {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#closing = true
    this.#resolveClosed()
    this.#requests.lost()
    this.#forget()
    this.#wake()
    void this.#leave()
  }

  async #leave(): Promise<void> {
    await undefined // what else hears of this close may hold something still
    while (this.#held > 0) {
      await new Promise<void>((resolve) => {
        this.#nothingHeld = resolve
      })
    }
    const session = await Promise.resolve(this.#session).catch(ignore)
    this.#guard(() => session && this.#gateway.release(session))
    this.#resolveGone()
  }
}

const ignore = () => undefined
