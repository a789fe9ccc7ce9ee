import { dataOf, errors, type Frame, PAYLOAD_BYTES, reply, responding } from './codec.ts'
import type { Channel, Ending, Exchange } from './exchange.ts'
import type { Fields } from './http2/hpack.ts'
import { PREFIX_BYTES, prefixed } from './messages.ts'

/** What a stream needs of its connection. */
export interface Carrier {
  /** Bytes of all streams that the peer still takes. */
  window: number
  /** Whether it takes none for now, whatever the windows say. */
  readonly corked: boolean
  send(frame: Frame): void
  /** `data` bytes have been said. */
  sent(stream: Http2Stream, data: number): void
  /** Wants to go on when the connection's window opens. */
  blocked(stream: Http2Stream): void
  /** Nothing more is said or heard on it. */
  left(stream: Http2Stream): void
}

interface Part {
  readonly bytes: Buffer
  readonly written: (() => void) | undefined
}

/** What a peer may send on a stream before it is told to go on. */
export const STREAM_WINDOW = 1024 * 1024

/** Headers of an answer that is nothing but a status. */
const ALONE: Fields = [
  ...[':status', '200', 'content-type', 'application/grpc', 'grpc-accept-encoding', 'identity,deflate,gzip'],
]

/** One stream: what is said on it, under flow control, and how much is heard. Source: RFC 9113, section 5. */
export class Http2Stream implements Channel {
  readonly id: number
  exchange!: Exchange
  /** Bytes that the peer still takes. */
  window: number
  readonly #carrier: Carrier
  #parts: Part[] = []
  /** Bytes of the first part that are said. */
  #said = 0
  #responded = false
  #trailers: Fields | undefined
  #heardAll: boolean
  #closed = false
  /** Bytes that the peer may still send, and that it was not told to send anew. */
  #room = STREAM_WINDOW
  #owed = 0
  #open = true

  constructor(id: number, window: number, heardAll: boolean, carrier: Carrier) {
    this.id = id
    this.window = window
    this.#heardAll = heardAll
    this.#carrier = carrier
  }

  /** Bytes that wait for the peer's windows. */
  get backlog(): number {
    return this.#parts.reduce((sum, { bytes }) => sum + bytes.length, -this.#said)
  }

  // ── Heard ───────────────────────────────────────────────────────────────────────────────────

  /** False: the peer sent more than it may. */
  data(bytes: Buffer, counted: number, last: boolean): boolean {
    this.#room -= counted
    if (this.#room < 0 || this.#heardAll) return false
    this.#owed += counted
    if (bytes.length > 0) this.exchange.data(bytes)
    if (last) this.half()
    else this.#give()
    return true
  }

  half(): void {
    this.#heardAll = true
    this.exchange.half()
  }

  flow(open: boolean): void {
    this.#open = open
    this.#give()
  }

  #give(): void {
    if (!this.#open || this.#heardAll || this.#closed || this.#owed < STREAM_WINDOW / 2) return
    this.#carrier.send({ kind: 'window', stream: this.id, bytes: this.#owed })
    this.#room += this.#owed
    this.#owed = 0
  }

  /** The peer gave it up, or the connection is gone. */
  broken(): void {
    this.#close('broken')
  }

  // ── Said ────────────────────────────────────────────────────────────────────────────────────

  respond(): void {
    if (this.#closed || this.#responded) return
    this.#responded = true
    this.#carrier.send({ kind: 'raw', bytes: responding(this.id) })
  }

  write(message: Buffer, written?: () => void): void {
    if (this.#closed) return
    if (this.#parts.length > 0 || !this.#fits(message)) {
      this.#parts.push({ bytes: prefixed(message), written })
      return this.pump()
    }
    this.#carrier.send({ kind: 'raw', bytes: dataOf(this.id, message) })
    this.#carrier.sent(this, message.length + PREFIX_BYTES)
    written?.()
  }

  reply(message: Buffer): void {
    if (this.#closed) return
    if (this.#responded || !this.#fits(message)) {
      this.respond()
      this.write(message)
      return this.finish(0, '')
    }
    this.#carrier.send({ kind: 'raw', bytes: reply(this.id, message) })
    this.#carrier.sent(this, message.length + PREFIX_BYTES)
    this.#ended()
  }

  /** In one frame, now. */
  #fits({ length }: Buffer): boolean {
    const bytes = length + PREFIX_BYTES
    const { window, corked } = this.#carrier
    return !corked && bytes <= PAYLOAD_BYTES && bytes <= window && bytes <= this.window
  }

  finish(status: number, text: string): void {
    if (this.#closed || this.#trailers) return
    this.#trailers = [
      ...(this.#responded ? [] : ALONE),
      ...['grpc-status', String(status)],
      ...(text === '' ? [] : ['grpc-message', encodeURI(text)]),
    ]
    this.pump()
  }

  reset(error: number = errors.CANCEL): void {
    if (this.#closed) return
    this.#carrier.send({ kind: 'reset', stream: this.id, error })
    this.#close('broken')
  }

  /** Says as much as the peer takes. */
  pump(): void {
    for (let part = this.#parts[0]; part; part = this.#parts[0]) {
      while (this.#said < part.bytes.length) {
        const room = Math.min(this.window, this.#carrier.window, PAYLOAD_BYTES)
        if (room <= 0 || this.#carrier.corked) return this.#carrier.blocked(this)
        this.#say(part.bytes.subarray(this.#said, this.#said + room))
      }
      this.#parts.shift()
      this.#said = 0
      part.written?.()
      if (this.#closed) return
    }
    if (!this.#trailers) return
    this.#carrier.send({ kind: 'headers', stream: this.id, fields: this.#trailers, last: true })
    this.#ended()
  }

  #say(bytes: Buffer): void {
    this.#said += bytes.length
    this.#carrier.send({ kind: 'data', stream: this.id, bytes, last: false, counted: 0 })
    this.#carrier.sent(this, bytes.length)
  }

  /** We said all. A peer that still talks is told that nobody listens. [§8.1] */
  #ended(): void {
    if (!this.#heardAll) this.#carrier.send({ kind: 'reset', stream: this.id, error: errors.NO_ERROR })
    this.#close('whole')
  }

  #close(ending: Ending): void {
    if (this.#closed) return
    this.#closed = true
    this.#parts = []
    this.#carrier.left(this)
    this.exchange.closed(ending)
  }
}
