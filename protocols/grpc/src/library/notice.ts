import { Duplex } from 'node:stream'
import { encode } from '../http2/encode.ts'
import { END_HEADERS, errors, HEAD_BYTES, LAST_STREAM, types } from '../http2/frames.ts'

const NOTICE = encode({ kind: 'goAway', last: LAST_STREAM, error: errors.NO_ERROR }) as Buffer

const NOTHING = Buffer.alloc(0)

/**
 * Between a socket and Node's session on it: says "no new streams, please" without the session knowing. Node ignores
 * every stream that comes after a GOAWAY of its own; this one lets those that race with it be served.
 */
export class NoticeDuplex extends Duplex {
  readonly #socket: Duplex
  /** Of the frame that is on its way: its head as far as it has come, and what is left of its payload. */
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #filled = 0
  #left = 0
  /** Whether a header block goes on, which nothing may part. */
  #block = true
  #wanted = false

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    // A peer of HTTP/2 that ends its half is gone, whatever it waits for: Node would fail when an answer is written.
    socket.on('end', () => this.#ended())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.destroy())
  }

  /** Bytes that the peer has not taken. */
  get backlog(): number {
    return this.writableLength + this.#socket.writableLength
  }

  /** Resolves when the peer's system has what was written, or the connection is gone. */
  taken(): Promise<void> {
    return new Promise((resolve) => this.write(NOTHING, () => resolve()))
  }

  /** It leaves at the next edge between two frames, never before the first, which is SETTINGS. */
  notice(): void {
    this.#wanted = true
    this.#say()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#pass(chunk)
    this.#socket.write(chunk, done)
    this.#say()
  }

  override _final(done: () => void): void {
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  /** What came before is still read. */
  #ended(): void {
    if (this.readableLength > 0) setImmediate(() => this.#ended())
    else setImmediate(() => this.destroy())
  }

  #pass(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const wanted = this.#left > 0 ? this.#left : HEAD_BYTES - this.#filled
      const take = Math.min(wanted, chunk.length - at)
      if (this.#left > 0) this.#left -= take
      else {
        chunk.copy(this.#head, this.#filled, at, at + take)
        this.#filled += take
      }
      at += take
      if (this.#filled < HEAD_BYTES) continue
      this.#filled = 0
      this.#left = this.#head.readUIntBE(0, 3)
      const type = this.#head[3]
      const part = type === types.headers || type === types.more
      this.#block = part && (this.#head[4]! & END_HEADERS) === 0
    }
  }

  #say(): void {
    if (!this.#wanted || this.#filled > 0 || this.#left > 0 || this.#block) return
    this.#wanted = false
    this.#socket.write(NOTICE)
  }
}
