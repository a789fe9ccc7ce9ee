import type { Exchange } from '../exchange.ts'
import { PREFIX_BYTES, prefixed } from '../messages.ts'
import type { Channel, Ending } from '../method.ts'
import { Credit } from './credit.ts'
import { dataOf, done, reply, responding } from './encode.ts'
import { type ErrorName, errors, type Frame, PAYLOAD_BYTES } from './frames.ts'
import type { Fields } from './hpack.ts'
import type { Outflow } from './outflow.ts'

/** What a stream needs of its connection. */
export interface Carrier {
  readonly outflow: Outflow
  send(frame: Frame): void
  /** The peer broke the rules of this stream alone. */
  fail(stream: Http2Stream, error: ErrorName): void
  /** Nothing more is said or heard on it. */
  left(stream: Http2Stream): void
  /** Whom to tell when the peer did not see its end. */
  recalled(stream: Http2Stream, undo: () => void): void
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

/** The end of an answer that went well. */
const DONE: Fields = ['grpc-status', '0']

const NOTHING = Buffer.alloc(0)

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
  /** What ends our half; none: it ends with the data. */
  #trailers: Fields | undefined
  /** Said when all is heard, and not in the middle of what the peer says. */
  #page = false
  /** Bytes of the body that its headers announced and that have not come. */
  #announced: number
  /** Whether the peer ended its half. */
  heardAll = false
  #closed = false
  #undo: (() => void) | undefined
  readonly #credit = new Credit(STREAM_WINDOW)
  #open = true

  /** `length`: bytes of the body, if it was announced. */
  constructor(id: number, window: number, length: number | undefined, carrier: Carrier) {
    this.id = id
    this.window = window
    this.#announced = length ?? Number.NaN
    this.#carrier = carrier
  }

  /** Bytes that wait for the peer's windows. */
  get backlog(): number {
    return this.#parts.reduce((sum, { bytes }) => sum + bytes.length, -this.#said)
  }

  // ── Heard ───────────────────────────────────────────────────────────────────────────────────

  data(bytes: Buffer, counted: number, last: boolean): void {
    if (this.heardAll) return this.#carrier.fail(this, 'STREAM_CLOSED')
    if (!this.#credit.take(counted)) return this.#carrier.fail(this, 'FLOW_CONTROL_ERROR')
    this.#announced -= bytes.length
    if (this.#announced < 0) return this.#carrier.fail(this, 'PROTOCOL_ERROR')
    if (bytes.length > 0) this.exchange.data(bytes)
    if (last) this.half()
    else this.#give()
  }

  /** The peer ended its half. */
  half(): void {
    this.heardAll = true
    if (this.#announced > 0) return this.#carrier.fail(this, 'PROTOCOL_ERROR')
    this.exchange.half()
    if (this.#page && !this.#closed) this.pump()
  }

  flow(open: boolean): void {
    this.#open = open
    this.#give()
  }

  #give(): void {
    const bytes = this.#open && !this.heardAll && !this.#closed ? this.#credit.give() : 0
    if (bytes > 0) this.#carrier.send({ kind: 'window', stream: this.id, bytes })
  }

  /** The peer gave it up, or the connection is gone. */
  broken(): void {
    this.heardAll = true
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
    this.#spent(message.length + PREFIX_BYTES)
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
    this.#spent(message.length + PREFIX_BYTES)
    this.#ended()
  }

  /** In one frame, now. */
  #fits({ length }: Buffer): boolean {
    const bytes = length + PREFIX_BYTES
    return bytes <= PAYLOAD_BYTES && bytes <= this.#carrier.outflow.room && bytes <= this.window
  }

  finish(status: number, text: string): void {
    if (this.#closed || this.#trailers) return
    if (this.#responded && status === 0) this.#trailers = DONE
    else
      this.#trailers = [
        ...(this.#responded ? [] : ALONE),
        ...['grpc-status', String(status)],
        ...(text === '' ? [] : ['grpc-message', encodeURI(text)]),
      ]
    this.pump()
  }

  /** An answer of HTTP to what is no call. */
  page(status: string, text: string): void {
    this.#page = true
    const fields = [':status', status, 'content-type', 'text/plain']
    this.#carrier.send({ kind: 'headers', stream: this.id, fields, last: false })
    this.#parts.push({ bytes: Buffer.from(text), written: undefined })
    this.#trailers = []
    this.pump()
  }

  reset(error: number = errors.CANCEL): void {
    if (this.#closed) return
    this.#carrier.send({ kind: 'reset', stream: this.id, error })
    this.#close('broken')
  }

  recalled(undo: () => void): void {
    this.#undo = undo
  }

  /** Says as much as the peer takes. */
  pump(): void {
    if (this.#page && !this.heardAll) return
    for (let part = this.#parts[0]; part; part = this.#parts[0]) {
      while (this.#said < part.bytes.length) {
        if (this.window <= 0) return
        const { outflow } = this.#carrier
        if (outflow.room <= 0) return outflow.wait(this)
        const room = Math.min(this.window, outflow.room, PAYLOAD_BYTES)
        this.#say(part.bytes.subarray(this.#said, this.#said + room))
      }
      this.#parts.shift()
      this.#said = 0
      part.written?.()
      if (this.#closed) return
    }
    if (!this.#trailers) return
    this.#carrier.send(this.#lastFrame(this.#trailers))
    this.#ended()
  }

  #lastFrame(fields: Fields): Frame {
    if (fields === DONE) return { kind: 'raw', bytes: done(this.id) }
    return fields.length > 0
      ? { kind: 'headers', stream: this.id, fields, last: true }
      : { kind: 'data', stream: this.id, bytes: NOTHING, last: true, counted: 0 }
  }

  #say(bytes: Buffer): void {
    this.#said += bytes.length
    this.#carrier.send({ kind: 'data', stream: this.id, bytes, last: false, counted: 0 })
    this.#spent(bytes.length)
  }

  #spent(bytes: number): void {
    this.window -= bytes
    this.#carrier.outflow.said(bytes)
  }

  /** We said all. A peer that still talks is told that nobody listens. [§8.1] */
  #ended(): void {
    if (!this.heardAll) this.#carrier.send({ kind: 'reset', stream: this.id, error: errors.NO_ERROR })
    this.#close('whole')
  }

  #close(ending: Ending): void {
    if (this.#closed) return
    this.#closed = true
    this.#parts = []
    if (this.#undo && ending === 'whole') this.#carrier.recalled(this, this.#undo)
    this.#carrier.left(this)
    this.exchange.closed(ending)
  }
}
