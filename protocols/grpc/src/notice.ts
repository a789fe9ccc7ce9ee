import { Duplex } from 'node:stream'

const HEADER_BYTES = 9
const HEADERS = 1
const CONTINUATION = 9
const END_HEADERS = 4
/** GOAWAY on stream 0: last stream 2^31 - 1, NO_ERROR (RFC 9113 §6.8: the first of two in a graceful shutdown). */
const NOTICE = Buffer.from('0000080700000000007fffffff00000000', 'hex')

/**
 * Finds where a frame may be put between the frames of a byte stream.
 *   frame = length u24 · type u8 · flags u8 · stream u32 · payload; HEADERS and its CONTINUATIONs are not parted
 */
export class FrameEdges {
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #filled = 0
  #left = 0
  #open = false
  /** Frames that have begun. */
  count = 0

  /** Whether another frame may come now. */
  get atEdge(): boolean {
    return this.#filled === 0 && this.#left === 0 && !this.#open
  }

  pass(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const take = Math.min(this.#left, chunk.length - at)
        this.#left -= take
        at += take
        continue
      }
      const take = Math.min(HEADER_BYTES - this.#filled, chunk.length - at)
      chunk.copy(this.#header, this.#filled, at, at + take)
      this.#filled += take
      at += take
      if (this.#filled === HEADER_BYTES) this.#begin()
    }
  }

  #begin(): void {
    this.#filled = 0
    this.count++
    this.#left = this.#header.readUIntBE(0, 3)
    const type = this.#header[3]
    if (type === HEADERS || type === CONTINUATION) this.#open = (this.#header[4]! & END_HEADERS) === 0
  }
}

/**
 * Stands between a socket and the HTTP/2 session on it, and can say "no new streams, please" without the session
 * knowing: Node ignores every stream that comes after a GOAWAY of its own, this one lets those that race with it be
 * served. The session's own `close()` names the true last stream later.
 */
export class NoticeDuplex extends Duplex {
  readonly #socket: Duplex
  readonly #edges = new FrameEdges()
  /** Grows whenever the peer has taken something. */
  taken = 0
  #wanted = false

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.#ended())
    socket.on('error', () => socket.destroy()) // a reset is an end like another
    socket.on('close', () => this.destroy())
  }

  /** Bytes that the peer has not taken. */
  get backlog(): number {
    return this.writableLength + this.#socket.writableLength
  }

  /** The notice leaves at the next edge between two frames, never before the first, which is SETTINGS. */
  notice(): void {
    this.#wanted = true
    this.#say()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#edges.pass(chunk)
    this.#socket.write(chunk, this.#counted(done))
    this.#say()
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const last = chunks.length - 1
    this.#socket.cork()
    chunks.forEach(({ chunk }, index) => {
      this.#edges.pass(chunk)
      this.#socket.write(chunk, index === last ? this.#counted(done) : undefined)
      this.#say()
    })
    this.#socket.uncork()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  /**
   * A peer of HTTP/2 that ends its half is gone, whatever it waits for. The session is not told of half an end: Node would
   * end the other half as well, and then fail when an answer is written. What came before is still read.
   */
  #ended(): void {
    if (this.readableLength > 0) setImmediate(() => this.#ended())
    else setImmediate(() => this.destroy())
  }

  #counted(done: (error?: Error | null) => void): (error?: Error | null) => void {
    return (error) => {
      this.taken++
      done(error)
    }
  }

  #say(): void {
    if (!this.#wanted || this.#edges.count === 0 || !this.#edges.atEdge) return
    this.#wanted = false
    this.#socket.write(NOTICE)
  }
}
