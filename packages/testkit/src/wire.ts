import { type Duplex, duplexPair } from 'node:stream'
import { type Codec, Fault, type Gateway, type Ms, type Peer, type Protocol, type ProtocolServer } from '@sluice/core'

/** How long a test waits for bytes in real time before it says what it saw instead. */
const PATIENCE: Ms = 5_000

/** Two ends of one connection in memory. As with sockets, destroying one end is noticed at the other. */
export const socketPair = (highWaterMark?: number): readonly [Duplex, Duplex] => {
  const [one, other] = duplexPair(highWaterMark === undefined ? {} : { highWaterMark })
  const follow = (from: Duplex, to: Duplex) =>
    from.once('close', () =>
      setImmediate(() => {
        // What has arrived is still read, as it would be from a socket.
        if (to.readableLength > 0) to.once('end', () => to.destroy())
        else to.destroy()
      }),
    )
  follow(one, other)
  follow(other, one)
  return [one, other]
}

let ports = 40_000

export const fakePeer = (more: Partial<Peer> = {}): Peer => ({
  address: '127.0.0.1',
  port: ++ports,
  secure: false,
  local: { address: '127.0.0.1', port: 8081 },
  ...more,
})

/** The client's end of a byte stream. Ends its own half when the other side does, as most clients do. */
export class Wire {
  readonly socket: Duplex
  readonly peer: Peer
  /** Everything that came, whether taken or not. */
  total = 0
  /** The other side has said that nothing more comes. */
  ended = false
  /** Both halves are over. */
  readonly closed: Promise<void>
  #unread: Buffer = Buffer.alloc(0)
  #look: (() => void) | undefined

  constructor(socket: Duplex, peer: Peer = fakePeer()) {
    this.socket = socket
    this.peer = peer
    socket.on('data', (chunk: Buffer) => {
      this.total += chunk.length
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
      this.#look?.()
    })
    socket.on('error', () => socket.destroy())
    const over = () => {
      this.ended = true
      this.#look?.()
    }
    socket.on('end', () => {
      over()
      socket.end()
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        over()
        resolve()
      })
    })
  }

  /** Bytes that came and were not taken. */
  get unread(): Buffer {
    return this.#unread
  }

  /** A string is hex; blanks are allowed. False: the other side does not keep up. */
  write(bytes: Buffer | string): boolean {
    return this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes.replace(/\s/g, ''), 'hex') : bytes)
  }

  /**
   * What `look` found in the unread bytes, as soon as it finds something; nothing is taken.
   * @throws when the stream ended or five seconds passed without it; the message has the bytes that came instead
   */
  until<T>(look: (unread: Buffer, ended: boolean) => T | undefined | false, what = 'bytes'): Promise<T> {
    if (this.#look) return Promise.reject(new Error('one wait at a time on a wire'))
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#look = undefined
        settle()
      }
      const fail = (why: string) => finish(() => reject(new Error(`${why} while waiting for ${what}; ${this.#seen()}`)))
      const timer = setTimeout(() => fail('nothing more came'), PATIENCE)
      this.#look = () => {
        try {
          const found = look(this.#unread, this.ended)
          if (found !== undefined && found !== false) finish(() => resolve(found))
          else if (this.ended) fail('the stream ended')
        } catch (error) {
          finish(() => reject(error as Error))
        }
      }
      this.#look()
    })
  }

  /** The next `count` bytes. */
  async take(count: number): Promise<Buffer> {
    await this.until((unread) => unread.length >= count, `${count} bytes`)
    return this.taken(count)
  }

  /** Removes up to `count` unread bytes that are already there. */
  taken(count: number = this.#unread.length): Buffer {
    const bytes = this.#unread.subarray(0, count)
    this.#unread = this.#unread.subarray(count)
    return bytes
  }

  /** Everything unread once the other side has ended. */
  async rest(): Promise<Buffer> {
    await this.until((_, ended) => ended, 'the end')
    return this.taken()
  }

  /** Frames by this codec from here on; the bytes are taken from the wire. */
  frames<Frame>(codec: Codec<Frame>): Frames<Frame> {
    return new Frames(this, codec)
  }

  /** Vanishes without a word. */
  destroy(): void {
    this.socket.destroy()
  }

  #seen(): string {
    const hex = this.#unread.toString('hex', 0, 200)
    return this.#unread.length === 0 ? 'nothing is unread' : `${this.#unread.length} bytes are unread: ${hex}`
  }
}

/** A client that speaks frames. */
export class Frames<Frame> {
  readonly wire: Wire
  readonly #codec: Codec<Frame>
  readonly #decode: (chunk: Buffer) => void
  readonly #ready: Frame[] = []

  constructor(wire: Wire, codec: Codec<Frame>) {
    this.wire = wire
    this.#codec = codec
    const decoder = codec.decoder()
    this.#decode = (chunk) => decoder.decode(chunk, (frame) => this.#ready.push(frame))
  }

  send(...frames: Frame[]): void {
    for (const frame of frames) {
      const encoded = this.#codec.encode(frame)
      for (const part of Buffer.isBuffer(encoded) ? [encoded] : encoded) this.wire.socket.write(part)
    }
  }

  /** The next frame. @throws as {@link Wire.until} */
  async next(): Promise<Frame> {
    await this.wire.until(() => this.#pull(), 'a frame')
    return this.#ready.shift() as Frame
  }

  /** Frames that have come and were not taken. */
  here(): readonly Frame[] {
    this.#pull()
    return this.#ready.splice(0)
  }

  #pull(): boolean {
    const bytes = this.wire.taken()
    if (bytes.length > 0) this.#decode(bytes)
    return this.#ready.length > 0
  }
}

const servers = new WeakMap<Gateway, Map<Protocol, ProtocolServer | Promise<ProtocolServer>>>()

/** The server of this protocol at this gateway, started at first use. */
export const serverOf = (protocol: Protocol, gateway: Gateway): ProtocolServer | Promise<ProtocolServer> => {
  let running = servers.get(gateway)
  if (!running) servers.set(gateway, (running = new Map()))
  let server = running.get(protocol)
  if (!server) running.set(protocol, (server = protocol.start(gateway)))
  return server
}

/** A client on a connection that the protocol has just accepted. The protocol is started at first use. */
export const connect = async (protocol: Protocol, gateway: Gateway, peer: Peer = fakePeer()): Promise<Wire> => {
  const server = await serverOf(protocol, gateway)
  const [near, far] = socketPair()
  const wire = new Wire(near, peer)
  server.accept(far, peer)
  return wire
}

/** What `call` was refused with; anything but a Fault is thrown on. @throws when it was not refused at all */
export const faultOf = async (call: () => unknown): Promise<Fault> => {
  try {
    await call()
  } catch (error) {
    if (Fault.is(error)) return error
    throw error
  }
  throw new Error('not refused')
}
