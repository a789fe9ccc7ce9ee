import type { Duplex } from 'node:stream'
import { type EpochMs, Fault } from './model.ts'
import type {
  Connection,
  Conversation,
  Decoder,
  FrameProtocol,
  Gateway,
  GoAwayReason,
  Link,
  Peer,
  Protocol,
  ProtocolServer,
} from './protocol.ts'

/** How long a peer may take to close after our last word. */
const LINGER_MS = 2_000
/** Above it a tick's buffers leave by writev instead of being copied together. */
const COPY_BYTES = 64 * 1024

/**
 * A Protocol of a codec and a conversation: sockets, the in-flight bound, corked writes, slow readers, deadlines of
 * frames, last words. A plugin that throws costs one connection.
 */
export function frameProtocol<Frame>(spec: FrameProtocol<Frame>): Protocol {
  return {
    api: 1,
    name: spec.name,
    ...(spec.detect && { detect: spec.detect.bind(spec) }),
    start: (gateway) => new FrameServer(spec, gateway),
  }
}

class FrameServer<Frame> implements ProtocolServer {
  readonly #spec: FrameProtocol<Frame>
  readonly #gateway: Gateway
  readonly #connections = new Set<FrameConnection<Frame>>()
  readonly #dirty: FrameConnection<Frame>[] = []
  readonly #stopTicking: () => void
  #counter = 0

  constructor(spec: FrameProtocol<Frame>, gateway: Gateway) {
    this.#spec = spec
    this.#gateway = gateway
    this.#stopTicking = gateway.clock.every(1_000, () => {
      const now = gateway.clock.now()
      for (const connection of this.#connections) connection.tick(now)
    })
  }

  accept(socket: Duplex, peer: Peer): void {
    const id = `${this.#spec.name}/${++this.#counter}`
    const connection = new FrameConnection(this.#spec, this.#gateway, socket, peer, id, {
      closed: () => this.#connections.delete(connection),
      flushLater: () => {
        // One immediate for all connections that have something to say this tick.
        if (this.#dirty.push(connection) === 1) setImmediate(() => this.#flush())
      },
    })
    this.#connections.add(connection)
    connection.start()
  }

  connections(): Iterable<Connection> {
    return this.#connections
  }

  async close(): Promise<void> {
    this.#stopTicking()
    const closing = [...this.#connections].map((connection) => {
      connection.end(true)
      return connection.gone
    })
    await Promise.all(closing)
  }

  #flush(): void {
    const dirty = this.#dirty.splice(0)
    for (const connection of dirty) connection.flush()
  }
}

interface Owner {
  closed(): void
  flushLater(): void
}

class FrameConnection<Frame> implements Connection {
  readonly id: string
  readonly peer: Peer
  readonly since: EpochMs
  readonly gone: Promise<void>
  state: Connection['state'] = 'serving'

  readonly #spec: FrameProtocol<Frame>
  readonly #gateway: Gateway
  readonly #socket: Duplex
  readonly #owner: Owner
  readonly #decoder: Decoder<Frame>
  readonly #encode: (frame: Frame) => Buffer | readonly Buffer[]
  readonly #conversation: Conversation<Frame> | undefined
  /** Frames of a chunk that came while too much was in flight. */
  #waiting: Frame[] = []
  #inflight = 0
  #out: Buffer[] = []
  #outBytes = 0
  /** Nothing more is received: the last word has been said, or the peer broke the protocol. */
  #deaf = false
  #finished = false
  #halfClosed = false
  #heard: EpochMs
  /** Since when the frame that is not complete is on its way; undefined: between two frames. */
  #partialSince: EpochMs | undefined
  /** Since when the peer takes nothing although bytes wait. */
  #stalledSince: EpochMs | undefined
  #established = false
  #drained: (() => void)[] = []
  #resolveGone!: () => void

  constructor(spec: FrameProtocol<Frame>, gateway: Gateway, socket: Duplex, peer: Peer, id: string, owner: Owner) {
    this.#spec = spec
    this.#gateway = gateway
    this.#socket = socket
    this.#owner = owner
    this.id = id
    this.peer = peer
    this.since = gateway.clock.now()
    this.#heard = this.since
    this.#partialSince = this.since
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
    const codec = spec.codec(gateway.limits)
    this.#decoder = codec.decoder()
    this.#encode = codec.encode.bind(codec)
    const link: Link<Frame> = {
      id,
      peer,
      send: (frame) => this.#send(frame),
      writable: () => this.#writable(),
      end: (last) => this.#end(last),
    }
    this.#conversation = this.#guard(() => spec.converse(link, gateway))
  }

  start(): void {
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    this.#socket.on('error', () => this.#socket.destroy()) // a reset is an end like another
    this.#socket.on('end', () => this.#onEnd())
    this.#socket.on('close', () => this.#onClose())
    if (!this.#conversation) this.#socket.destroy()
  }

  /** An answer that the peer has not taken is no answer yet. */
  get busy(): number {
    const unread = this.#backlog() > 0 ? 1 : 0
    return this.#inflight + this.#waiting.length + (this.#conversation?.unsettled ?? 0) + unread
  }

  // ── Link ────────────────────────────────────────────────────────────────────────────────────

  #send(frame: Frame): boolean {
    if (this.#finished) return false
    const encoded = this.#encode(frame)
    if (this.#out.length === 0) this.#owner.flushLater()
    if (Buffer.isBuffer(encoded)) this.#queue(encoded)
    else for (const part of encoded) this.#queue(part)
    return this.#backlog() <= this.#gateway.limits.outboundBytes
  }

  #writable(): Promise<void> {
    if (this.#finished || this.#backlog() === 0) return Promise.resolve()
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  #end(last?: Frame): void {
    if (this.#finished) return
    if (last !== undefined) this.#guard(() => this.#send(last))
    this.#deaf = true
    this.flush()
    this.#finished = true
    this.#socket.end()
    // Reading on keeps the kernel from answering late bytes with a reset, which would erase the last word.
    this.#socket.resume()
    const stop = this.#gateway.clock.after(LINGER_MS, () => this.#socket.destroy())
    this.#socket.once('close', stop)
  }

  // ── Connection ──────────────────────────────────────────────────────────────────────────────

  goAway(reason: GoAwayReason, elsewhere?: string): void {
    if (this.state !== 'serving') return
    this.state = 'told'
    this.#guard(() => this.#conversation?.goAway(reason, elsewhere))
  }

  end(force: boolean): void {
    if (!force && this.busy > 0) return
    this.#end(this.#guard(() => this.#conversation?.farewell()))
    if (force && this.#backlog() > 0) this.#socket.destroy()
  }

  tick(now: EpochMs): void {
    const { handshakeMs, frameMs, stallMs } = this.#gateway.limits
    if (this.#finished) return
    const partial = this.#partialSince
    if (partial !== undefined && now - partial > (this.#established ? frameMs : handshakeMs)) {
      return this.#refuse(new Fault('malformed', this.#established ? 'frame took too long' : 'handshake took too long'))
    }
    if (this.#stalledSince !== undefined && now - this.#stalledSince > stallMs) {
      this.#gateway.log.warn('connection.stalled', { protocol: this.#spec.name, remote: this.peer.address })
      this.#socket.destroy()
      return
    }
    if (this.#spec.idleMs !== undefined && now - this.#heard > this.#spec.idleMs && this.busy === 0) return this.#end()
    this.#guard(() => this.#conversation?.tick?.(now))
  }

  // ── In ──────────────────────────────────────────────────────────────────────────────────────

  #receive(chunk: Buffer): void {
    if (this.#deaf) return
    this.#heard = this.#gateway.clock.now()
    try {
      this.#decoder.decode(chunk, this.#onFrame)
    } catch (error) {
      if (!Fault.is(error)) this.#report(error)
      return this.#refuse(Fault.from(error))
    }
    this.#partialSince =
      this.#decoder.buffered === 0 && this.#established ? undefined : (this.#partialSince ?? this.#heard)
    this.#throttle()
  }

  readonly #onFrame = (frame: Frame): void => {
    this.#established = true
    this.#partialSince = undefined
    if (this.#deaf) return
    if (this.#waiting.length > 0 || this.#inflight >= this.#gateway.limits.inflight) this.#waiting.push(frame)
    else this.#handle(frame)
  }

  #handle(frame: Frame): void {
    try {
      const done = this.#conversation?.receive(frame)
      if (!done) return
      this.#inflight++
      done.then(this.#answered, (error: unknown) => {
        this.#answered()
        this.#broken(error)
      })
    } catch (error) {
      this.#broken(error)
    }
  }

  readonly #answered = (): void => {
    this.#inflight--
    while (this.#waiting.length > 0 && this.#inflight < this.#gateway.limits.inflight && !this.#deaf) {
      this.#handle(this.#waiting.shift() as Frame)
    }
    if (this.#halfClosed) this.#onEnd()
    this.#throttle()
  }

  /** Reads only what can be worked on and answered: a full house or a slow reader pauses the socket. */
  #throttle(): void {
    const full = this.#waiting.length > 0 || this.#inflight >= this.#gateway.limits.inflight
    const slow = this.#backlog() > this.#gateway.limits.outboundBytes
    if (this.#deaf || !(full || slow)) this.#socket.resume()
    else this.#socket.pause()
  }

  #broken(error: unknown): void {
    if (!Fault.is(error)) this.#report(error)
    this.#refuse(Fault.from(error))
  }

  #refuse(fault: Fault): void {
    if (this.#deaf) return
    this.#gateway.log.info('connection.refused', {
      protocol: this.#spec.name,
      code: fault.code,
      reason: fault.message,
      remote: this.peer.address,
    })
    this.#end(this.#guard(() => this.#conversation?.refuse(fault)))
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────

  #queue(part: Buffer): void {
    this.#out.push(part)
    this.#outBytes += part.length
  }

  /** Bytes that the peer has not taken yet. */
  #backlog(): number {
    return this.#outBytes + this.#socket.writableLength
  }

  flush(): void {
    if (this.#out.length === 0 || this.#finished) return
    const out = this.#out
    const bytes = this.#outBytes
    this.#out = []
    this.#outBytes = 0
    if (out.length === 1) this.#socket.write(out[0], this.#written)
    else if (bytes <= COPY_BYTES) this.#socket.write(Buffer.concat(out, bytes), this.#written)
    else {
      this.#socket.cork()
      for (const part of out) this.#socket.write(part, this.#written)
      this.#socket.uncork()
    }
    this.#stalledSince ??= this.#gateway.clock.now()
    this.#throttle()
  }

  readonly #written = (): void => {
    this.#stalledSince = this.#socket.writableLength === 0 ? undefined : this.#gateway.clock.now()
    if (this.#backlog() > 0) return
    this.#throttle()
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────

  /** The peer half-closed: requests in flight are still answered, then we close too. */
  #onEnd(): void {
    this.#halfClosed = true
    if (this.#inflight + this.#waiting.length === 0) this.#end()
  }

  #onClose(): void {
    this.#deaf = true
    this.#finished = true
    this.state = 'closed'
    this.#waiting = []
    this.#out = []
    this.#outBytes = 0
    for (const resolve of this.#drained.splice(0)) resolve()
    this.#owner.closed()
    const closed = this.#guard(() => this.#conversation?.closed())
    if (closed) {
      closed.then(this.#resolveGone, (error: unknown) => {
        this.#report(error)
        this.#resolveGone()
      })
    } else this.#resolveGone()
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
