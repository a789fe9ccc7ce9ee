import { once } from 'node:events'
import net from 'node:net'

/**
 * gRPC calls over HTTP/2 by hand: as little as a server accepts, so that the load costs less than what it measures.
 * Header blocks of answers are not decoded; an answer without a message is a failure. Sources: RFC 9113, RFC 7541.
 */
const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const
const END_STREAM = 1
const END_HEADERS = 4
const ACK = 1
const PADDED = 8
const WINDOW = 0x3fff_ffff
const FIRST_WINDOW = 65_535

const frame = (kind: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const out = Buffer.allocUnsafe(9 + payload.length)
  out.writeUIntBE(payload.length, 0, 3)
  out[3] = kind
  out[4] = flags
  out.writeUInt32BE(stream, 5)
  payload.copy(out, 9)
  return out
}

const u32 = (value: number): Buffer => {
  const out = Buffer.allocUnsafe(4)
  out.writeUInt32BE(value)
  return out
}

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  if (bytes.length > 126) throw new RangeError('one length byte only')
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

/** Names and values of each request; a block's first use enters them into the dynamic table, as clients do. */
class HeaderBlocks {
  readonly #fields: readonly (readonly [string, string])[]
  readonly #known = new Map<string, number>()

  constructor(fields: Readonly<Record<string, string>>) {
    this.#fields = Object.entries(fields)
  }

  /** Entries of the dynamic table. */
  get known(): number {
    return this.#known.size
  }

  /** Index 3 is `:method: POST`, 6 is `:scheme: http`. */
  block(path: string): Buffer {
    const parts: Buffer[] = [Buffer.from([0x83, 0x86])]
    for (const [name, value] of [[':path', path] as const, ...this.#fields]) {
      const key = `${name}\n${value}`
      const place = this.#known.get(key)
      if (place === undefined) {
        this.#known.set(key, this.#known.size)
        parts.push(Buffer.from([0x40]), text(name), text(value))
      } else {
        parts.push(Buffer.from([0x80 | (62 + this.#known.size - 1 - place)]))
      }
    }
    return Buffer.concat(parts)
  }
}

interface Call {
  readonly messages: Buffer[]
  held: Buffer | undefined
  readonly done: (messages: readonly Buffer[]) => void
  /** Of a stream that stays open: at the first message. */
  readonly first?: () => void
}

/** The request as length-prefixed message. */
export const prefixed = (message: Buffer): Buffer => Buffer.concat([Buffer.from([0]), u32(message.length), message])

export class GrpcClient {
  readonly #socket: net.Socket
  readonly #blocks: HeaderBlocks
  readonly #cache = new Map<string, Buffer>()
  readonly #calls = new Map<number, Call>()
  #waiting: (() => void)[] = []
  #held: Buffer | undefined
  #next = 1
  #window = FIRST_WINDOW
  #taken = 0

  private constructor(socket: net.Socket, fields: Readonly<Record<string, string>>) {
    this.#socket = socket
    this.#blocks = new HeaderBlocks(fields)
    socket.on('data', (chunk: Buffer) => {
      socket.cork()
      this.#read(chunk)
      socket.uncork()
    })
  }

  static async connect(port: number, metadata: Readonly<Record<string, string>>): Promise<GrpcClient> {
    const socket = net.connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    await once(socket, 'connect')
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    socket.write(frame(type.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(WINDOW)])))
    socket.write(frame(type.windowUpdate, 0, 0, u32(WINDOW - FIRST_WINDOW)))
    return new GrpcClient(socket, {
      ':authority': `127.0.0.1:${port}`,
      te: 'trailers',
      'content-type': 'application/grpc',
      ...metadata,
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  /** `message` is {@link prefixed}. `done` is called with the messages of the answer. */
  call(path: string, message: Buffer, done: (messages: readonly Buffer[]) => void): void {
    if (this.#window < message.length) {
      this.#waiting.push(() => this.call(path, message, done))
      return
    }
    this.#window -= message.length
    const stream = this.#next
    this.#next += 2
    this.#calls.set(stream, { messages: [], held: undefined, done })
    this.#socket.write(frame(type.headers, END_HEADERS, stream, this.#block(path)))
    this.#socket.write(frame(type.data, END_STREAM, stream, message))
  }

  /** A stream that stays open. Resolves with its first answer. */
  open(path: string, message: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const stream = this.#next
      this.#next += 2
      this.#window -= message.length
      this.#calls.set(stream, { messages: [], held: undefined, done: () => undefined, first: resolve })
      this.#socket.write(frame(type.headers, END_HEADERS, stream, this.#block(path)))
      this.#socket.write(frame(type.data, 0, stream, message))
    })
  }

  #block(path: string): Buffer {
    const cached = this.#cache.get(path)
    if (cached) return cached
    const { known } = this.#blocks
    const block = this.#blocks.block(path)
    // What enters the table moves all that is in it.
    if (this.#blocks.known > known) this.#cache.clear()
    else this.#cache.set(path, block)
    return block
  }

  #read(chunk: Buffer): void {
    const bytes = this.#held ? Buffer.concat([this.#held, chunk]) : chunk
    let at = 0
    while (bytes.length - at >= 9) {
      const end = at + 9 + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      this.#frame(bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5) & 0x7fff_ffff, bytes.subarray(at + 9, end))
      at = end
    }
    this.#held = at < bytes.length ? bytes.subarray(at) : undefined
  }

  #frame(kind: number, flags: number, stream: number, payload: Buffer): void {
    if (kind === type.data) this.#data(flags, stream, payload)
    else if (kind === type.headers) {
      if (flags & END_STREAM) this.#ended(stream)
    } else if (kind === type.settings && !(flags & ACK)) {
      this.#socket.write(frame(type.settings, ACK, 0, Buffer.alloc(0)))
    } else if (kind === type.ping && !(flags & ACK)) {
      this.#socket.write(frame(type.ping, ACK, 0, payload))
    } else if (kind === type.windowUpdate && stream === 0) {
      this.#window += payload.readUInt32BE(0)
      for (const again of this.#waiting.splice(0)) again()
    } else if (kind === type.reset || kind === type.goAway) {
      throw new Error(`frame ${kind} on stream ${stream}: ${payload.toString('hex')}`)
    }
  }

  #data(flags: number, stream: number, payload: Buffer): void {
    const call = this.#calls.get(stream)
    if (!call) throw new Error(`data of stream ${stream}`)
    if (flags & PADDED) throw new Error('padded data')
    this.#taken += payload.length
    if (this.#taken > 1 << 20) {
      this.#socket.write(frame(type.windowUpdate, 0, 0, u32(this.#taken)))
      this.#taken = 0
    }
    let rest = call.held ? Buffer.concat([call.held, payload]) : payload
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1)
      call.messages.push(rest.subarray(5, end))
      rest = rest.subarray(end)
    }
    if (call.messages.length > 0) call.first?.()
    call.held = rest.length > 0 ? Buffer.from(rest) : undefined
    if (flags & END_STREAM) this.#ended(stream)
  }

  #ended(stream: number): void {
    const call = this.#calls.get(stream)
    if (!call) return
    this.#calls.delete(stream)
    if (call.messages.length === 0) throw new Error('an answer without a message')
    call.done(call.messages)
  }
}
