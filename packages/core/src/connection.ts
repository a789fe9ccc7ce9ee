import type { Duplex } from 'node:stream'
import { type EpochMs, Fault } from './model.ts'
import { Outbox, type Taker } from './outbox.ts'
import type {
  Codec,
  Connection,
  Conversation,
  Decoder,
  FrameProtocol,
  Gateway,
  GoAwayReason,
  Peer,
} from './protocol.ts'
import { destroyOnError } from './transports/resets.ts'
import { type Speaker, Voice } from './voice.ts'

/** How long a peer may take to close after our last word; with `force` also to take what waits for it. */
const LINGER_MS = 2_000

/** What a client had on its way when it began to wait for its answers has come by then. */
const QUIET_MS = 100
/** Longest that answers are held back for it: a client that does not wait for them talks on. */
const HOLD_MS = 500

/** What the connection asks of the server that keeps it. */
export interface Owner<Frame> {
  closed(connection: FrameConnection<Frame>): void
  /** Calls `flush` at the end of this tick. */
  flushLater(connection: FrameConnection<Frame>): void
}

/** Frames that one promise answers: a conversation may make one request of what came in one read. */
interface Work {
  readonly done: Promise<void>
  frames: number
}

/** Of most connections; nothing is ever put into it. */
const none: never[] = []

const connectionOf = Symbol('connection')
/** Sockets share their listeners: of a hundred thousand most say nothing, and a closure for each event is a KiB together. */
type Wired = Duplex & { [connectionOf]?: FrameConnection<never> }

/** One socket, its decoder and its conversation. */
export class FrameConnection<Frame> implements Connection, Speaker<Frame>, Taker {
  readonly peer: Peer
  readonly since: EpochMs
  state: Connection['state'] = 'serving'

  readonly #spec: FrameProtocol<Frame>
  readonly #codec: Codec<Frame>
  readonly #gateway: Gateway
  readonly #socket: Duplex
  readonly #owner: Owner<Frame>
  readonly #number: number
  readonly #outbox: Outbox
  #decoder: Decoder<Frame> | undefined
  #conversation: Conversation<Frame> | undefined
  /** Frames of a chunk that came while too much was in flight; `#next` is the first that was not handled. */
  #waiting: Frame[] = none
  #next = 0
  #inflight = 0
  /** The last of them that is not answered. */
  #work: Work | undefined
  #paused = false
  /** The last word has been said, or the peer is gone: nothing more is received or sent. */
  #ended = false
  #halfClosed = false
  #established = false
  #heard: EpochMs
  #toldAt: EpochMs | undefined
  /** Since when it is to end as soon as it may. */
  #leavingSince: EpochMs | undefined
  /** It may end, and what has come by then is being read. */
  #looksOnce = false
  /** Since when the frame that is not complete is on its way; undefined: between two frames. */
  #partialSince: EpochMs | undefined
  /** After the conversation's `closed`. */
  #isGone = false
  #leaves: PromiseWithResolvers<void> | undefined

  constructor(
    spec: FrameProtocol<Frame>,
    codec: Codec<Frame>,
    gateway: Gateway,
    socket: Duplex,
    peer: Peer,
    number: number,
    owner: Owner<Frame>,
  ) {
    this.#spec = spec
    this.#codec = codec
    this.#gateway = gateway
    this.#socket = socket
    this.#owner = owner
    this.#number = number
    this.peer = peer
    this.since = gateway.clock.now()
    this.#heard = this.since
    this.#partialSince = this.since
    this.#outbox = new Outbox(socket, gateway.clock, this)
  }

  start(): void {
    const socket = this.#socket as Wired
    socket[connectionOf] = this as unknown as FrameConnection<never>
    destroyOnError(socket) // a reset is an end like another
    socket.on('close', FrameConnection.#onSocketClose)
    if (socket.closed) return queueMicrotask(() => this.#onClose())
    this.#guard(() => {
      this.#decoder = this.#codec.decoder()
      this.#conversation = this.#spec.converse(new Voice(this), this.#gateway)
    })
    if (!this.#conversation) return
    socket.on('end', FrameConnection.#onSocketEnd)
    socket.on('data', FrameConnection.#onSocketData)
  }

  static readonly #onSocketClose = function (this: Wired): void {
    this[connectionOf]!.#onClose()
  }
  static readonly #onSocketEnd = function (this: Wired): void {
    this[connectionOf]!.#onEnd()
  }
  static readonly #onSocketData = function (this: Wired, chunk: Buffer): void {
    this[connectionOf]!.#receive(chunk)
  }

  get id(): string {
    return `${this.#spec.name}/${this.#number}`
  }

  /** Resolves after the conversation's `closed`. */
  get gone(): Promise<void> {
    if (this.#isGone) return Promise.resolve()
    return (this.#leaves ??= Promise.withResolvers<void>()).promise
  }

  /** An answer that the peer has not taken is no answer yet, unless it is us who hold it back. */
  get busy(): number {
    const { backlog } = this.#outbox
    const unread = this.#leavingSince === undefined || this.#ended ? backlog : this.#socket.writableLength
    return this.#unfinished + (unread > 0 ? 1 : 0)
  }

  get #unfinished(): number {
    return this.#inflight + this.#waits + (this.#guard(() => this.#conversation?.unsettled) ?? 0)
  }

  get #waits(): number {
    return this.#waiting.length - this.#next
  }

  // ── Connection ──────────────────────────────────────────────────────────────────────────────

  goAway(reason: GoAwayReason, elsewhere?: string): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    this.#toldAt = this.#gateway.clock.now()
    this.#guard(() => this.#conversation?.goAway(reason, elsewhere))
  }

  end(force: boolean): void {
    if (!this.#ended) {
      if (this.#leavingSince === undefined) this.#guard(() => this.#conversation?.leave?.())
      this.#leavingSince ??= this.#gateway.clock.now()
      if (force) this.#farewell()
      else this.#leave()
    }
    if (force) this.#destroyLater()
  }

  /**
   * Ends it if it may. Between two requests of a client that talks on, the next one is on its way already, and nobody
   * would answer it, unless the last word tells the client so. So its answers are held back until it has none to wait for but these and is quiet, and leave
   * together with the farewell. What came while the loop was held up is read before that.
   */
  #leave(): void {
    if (!this.#mayEnd()) {
      if (!this.#talks()) this.#flush()
      return
    }
    if (this.#looksOnce) return
    this.#looksOnce = true
    setImmediate(() => setImmediate(() => this.#lookOnce()))
  }

  #lookOnce(): void {
    this.#looksOnce = false
    if (this.#ended) return
    if (this.#mayEnd()) this.#farewell()
    else if (!this.#talks()) this.#flush()
  }

  #talks(): boolean {
    if (this.#spec.lastWordCounts) return false
    return (
      this.#toldAt !== undefined &&
      this.#heard > this.#toldAt &&
      this.#gateway.clock.now() - this.#leavingSince! < HOLD_MS &&
      !this.#paused
    )
  }

  #mayEnd(): boolean {
    if (this.#unfinished > 0 || this.#decoder?.buffered !== 0 || this.#socket.writableLength > 0) return false
    return !this.#talks() || this.#gateway.clock.now() - this.#heard >= QUIET_MS
  }

  #farewell(): void {
    this.close(this.#guard(() => this.#conversation?.farewell()))
  }

  /** A few times a second. */
  checkDeadlines(now: EpochMs): void {
    const { handshakeMs, frameMs, stallMs } = this.#gateway.limits
    const stalled = this.#outbox.stalledSince
    if (stalled !== undefined && now - stalled > stallMs) {
      this.#gateway.log.warn('connection.stalled', { protocol: this.#spec.name, remote: this.peer.address })
      this.#socket.destroy()
      return
    }
    if (this.#ended) return
    if (this.#leavingSince !== undefined) this.#leave()
    const partial = this.#partialSince
    const allowed = this.#established ? frameMs : handshakeMs
    if (partial !== undefined && !this.#paused && now - partial > allowed) {
      return this.#refuse(new Fault('malformed', this.#established ? 'frame took too long' : 'handshake took too long'))
    }
    if (this.#spec.idleMs !== undefined && now - this.#heard > this.#spec.idleMs && this.busy === 0) this.close()
  }

  /** About once a second. */
  tick(now: EpochMs): void {
    if (!this.#ended) this.#guard(() => this.#conversation?.tick?.(now))
  }

  /** Writes what this tick has collected. */
  flush(): void {
    if (this.#socket.destroyed) return
    if (this.#leavingSince === undefined || this.#ended) this.#flush()
    else this.#leave()
  }

  #flush(): void {
    this.#guard(() => this.#outbox.flush())
    this.#throttle()
  }

  // ── In ──────────────────────────────────────────────────────────────────────────────────────

  #receive(chunk: Buffer): void {
    if (this.#ended) return
    this.#heard = this.#gateway.clock.now()
    let buffered: number
    try {
      this.#decoder!.decode(chunk, (frame) => this.#onFrame(frame))
      buffered = this.#decoder!.buffered
    } catch (error) {
      return this.#broken(error)
    }
    this.#partialSince = buffered === 0 && this.#established ? undefined : (this.#partialSince ?? this.#heard)
    this.#throttle()
  }

  #onFrame(frame: Frame): void {
    this.#established = true
    this.#partialSince = undefined
    if (this.#ended) return
    if (this.#waits > 0 || this.#inflight >= this.#gateway.limits.inflight) this.#keepWaiting(frame)
    else this.#handle(frame)
  }

  #keepWaiting(frame: Frame): void {
    if (this.#waiting === none) this.#waiting = []
    this.#waiting.push(frame)
  }

  #handle(frame: Frame): void {
    try {
      const done = this.#conversation!.receive(frame)
      if (!done) return
      this.#inflight++
      if (done === this.#work?.done) this.#work.frames++
      else this.#await((this.#work = { done, frames: 1 }))
    } catch (error) {
      this.#broken(error)
    }
  }

  #await(work: Work): void {
    work.done.then(
      () => this.#answered(work),
      (error: unknown) => {
        this.#broken(error)
        this.#answered(work)
      },
    )
  }

  #answered(work: Work): void {
    if (this.#work === work) this.#work = undefined
    this.#inflight -= work.frames
    while (this.#waits > 0 && this.#inflight < this.#gateway.limits.inflight && !this.#ended) {
      this.#handle(this.#waiting[this.#next++] as Frame)
    }
    if (this.#waits === 0 && this.#next > 0) this.#forget()
    if (this.#halfClosed) this.#onEnd()
    this.#throttle()
  }

  #forget(): void {
    this.#waiting = none
    this.#next = 0
  }

  /** Reads only what can be worked on and answered: a full house or a slow reader pauses the socket. */
  #throttle(): void {
    const { inflight, outboundBytes } = this.#gateway.limits
    const full = this.#waits > 0 || this.#inflight >= inflight
    const pause = !this.#ended && (full || this.#outbox.backlog > outboundBytes)
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) return void this.#socket.pause()
    // A frame that we kept waiting has its time from now.
    if (this.#partialSince !== undefined) this.#partialSince = this.#gateway.clock.now()
    this.#socket.resume()
  }

  #broken(error: unknown): void {
    if (!Fault.is(error)) this.#report(error)
    this.#refuse(Fault.from(error))
  }

  #refuse(fault: Fault): void {
    if (this.#ended) return
    this.#gateway.log.info('connection.refused', {
      protocol: this.#spec.name,
      code: fault.code,
      reason: fault.message,
      remote: this.peer.address,
    })
    this.close(this.#guard(() => this.#conversation?.refuse(fault)))
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────

  /** {@link Speaker.say} */
  say(frame: Frame): boolean {
    if (this.#ended) return false
    if (this.#outbox.add(this.#codec.encode(frame))) this.#owner.flushLater(this)
    return this.#outbox.backlog <= this.#gateway.limits.outboundBytes
  }

  /** {@link Taker.progressed} */
  progressed(): void {
    this.#throttle()
  }

  /** {@link Speaker.taken} */
  taken(): Promise<void> {
    return this.#outbox.taken()
  }

  /** {@link Speaker.close} */
  close(last?: Frame): void {
    if (this.#ended) return
    this.#ended = true
    this.#forget()
    this.#guard(() => {
      if (last !== undefined) this.#outbox.add(this.#codec.encode(last))
      this.#outbox.end()
    })
    void this.#outbox.taken().then(() => this.#destroyLater())
    // Reading on keeps the kernel from answering late bytes with a reset, which would erase the last word.
    this.#socket.resume()
  }

  #destroyLater(): void {
    if (this.#socket.destroyed) return
    const stop = this.#gateway.clock.after(LINGER_MS, () => this.#socket.destroy())
    this.#socket.once('close', stop)
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────

  /** The peer half-closed: requests in flight are still answered, then we close too. */
  #onEnd(): void {
    this.#halfClosed = true
    if (this.#inflight + this.#waits === 0) this.close()
  }

  #onClose(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#ended = true
    this.#forget()
    this.#outbox.closed()
    this.#owner.closed(this)
    const closed = this.#guard(() => this.#conversation?.closed())
    if (!closed) return this.#over()
    closed.then(
      () => this.#over(),
      (error: unknown) => {
        this.#report(error)
        this.#over()
      },
    )
  }

  #over(): void {
    this.#isGone = true
    this.#leaves?.resolve()
  }

  /** Calls into the plugin; a throw costs this connection, not the process. */
  #guard<T>(call: () => T): T | undefined {
    try {
      return call()
    } catch (error) {
      this.#report(error)
      this.#socket.destroy()
      return undefined
    }
  }

  #report(error: unknown): void {
    this.#gateway.log.error('plugin.failed', {
      plugin: this.#spec.name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }
}
