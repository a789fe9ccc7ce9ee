import type { Codec, Decoder } from '@sluice/core'
import { encode } from './http2/encode.ts'
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  type Frame,
  HEAD_BYTES,
  LAST_STREAM,
  PADDED,
  PAYLOAD_BYTES,
  PREFACE,
  PRIORITY,
  types,
  violation,
} from './http2/frames.ts'
import { HeaderDecoder } from './http2/hpack.ts'

/** Bytes of a header block over all its frames. */
const BLOCK_BYTES = 32 * 1024
const BLOCK_FRAMES = 16

/**
 * frame = length u24 · type u8 · flags u8 · stream u32 (31 bits) · payload. Source: RFC 9113, sections 4 and 6.
 * Header blocks are decoded here, where they come in order; priorities and unknown frames are dropped.
 */
export const http2Codec = (): Codec<Frame> => ({ decoder: () => new FrameDecoder(), encode })

class FrameDecoder implements Decoder<Frame> {
  readonly #headers = new HeaderDecoder()
  #parts: Buffer[] = []
  #held = 0
  #wanted = PREFACE.length
  #greeted = false
  #begun = false
  /** The header block that is not complete. */
  #block: { readonly stream: number; readonly last: boolean; readonly parts: Buffer[]; bytes: number } | undefined

  get buffered(): number {
    return this.#held + (this.#block ? this.#block.bytes + HEAD_BYTES : 0)
  }

  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    let bytes = chunk
    if (this.#held > 0) {
      this.#parts.push(chunk)
      this.#held += chunk.length
      if (this.#held < this.#wanted) return
      bytes = Buffer.concat(this.#parts, this.#held)
    }
    let at = 0
    if (!this.#greeted) {
      if (!PREFACE.subarray(0, bytes.length).equals(bytes.subarray(0, PREFACE.length))) {
        throw violation('PROTOCOL_ERROR', 'no preface of HTTP/2')
      }
      if (bytes.length < PREFACE.length) return this.#keep(bytes, PREFACE.length)
      this.#greeted = true
      at = PREFACE.length
    }
    for (;;) {
      const left = bytes.length - at
      if (left < HEAD_BYTES) return this.#keep(bytes.subarray(at), HEAD_BYTES)
      const length = bytes.readUIntBE(at, 3)
      this.#check(bytes[at + 3]!, length)
      if (left < HEAD_BYTES + length) return this.#keep(bytes.subarray(at), HEAD_BYTES + length)
      const from = at + HEAD_BYTES
      this.#frame(
        bytes[at + 3]!,
        bytes[at + 4]!,
        bytes.readUInt32BE(at + 5) & LAST_STREAM,
        bytes.subarray(from, from + length),
        emit,
      )
      at = from + length
    }
  }

  #keep(rest: Buffer, wanted: number): void {
    this.#parts = rest.length > 0 ? [rest] : []
    this.#held = rest.length
    this.#wanted = wanted
  }

  /** As soon as a frame is announced. */
  #check(type: number, length: number): void {
    if (length > PAYLOAD_BYTES) throw violation('FRAME_SIZE_ERROR', `a frame of ${length} bytes`)
    if (!this.#begun && type !== types.settings) throw violation('PROTOCOL_ERROR', 'settings come first')
    this.#begun = true
    if (this.#block && type !== types.more) throw violation('PROTOCOL_ERROR', 'a frame within a header block')
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer, emit: (frame: Frame) => void): void {
    switch (type) {
      case types.data: {
        if (stream === 0) throw violation('PROTOCOL_ERROR', 'data without a stream')
        const bytes = flags & PADDED ? unpadded(payload) : payload
        return emit({ kind: 'data', stream, bytes, counted: payload.length, last: (flags & END_STREAM) !== 0 })
      }
      case types.headers:
        return this.#opened(flags, stream, payload, emit)
      case types.more:
        return this.#continued(flags, stream, payload, emit)
      case types.priority:
        sized(payload, 5)
        return independent(stream, payload)
      case types.reset:
        sized(payload, 4)
        if (stream === 0) throw violation('PROTOCOL_ERROR', 'a reset without a stream')
        return emit({ kind: 'reset', stream, error: payload.readUInt32BE(0) })
      case types.settings:
        return emit(settingsOf(flags, stream, payload))
      case types.push:
        throw violation('PROTOCOL_ERROR', 'a client does not push')
      case types.ping:
        sized(payload, 8)
        if (stream !== 0) throw violation('PROTOCOL_ERROR', 'a PING on a stream')
        return emit({ kind: 'ping', ack: (flags & ACK) !== 0, opaque: payload })
      case types.goAway:
        if (payload.length < 8) throw violation('FRAME_SIZE_ERROR', 'a GOAWAY that is too short')
        return emit({ kind: 'goAway', last: payload.readUInt32BE(0) & LAST_STREAM, error: payload.readUInt32BE(4) })
      case types.window:
        sized(payload, 4)
        return emit({ kind: 'window', stream, bytes: payload.readUInt32BE(0) & LAST_STREAM })
      default:
    }
  }

  #opened(flags: number, stream: number, payload: Buffer, emit: (frame: Frame) => void): void {
    if (stream === 0) throw violation('PROTOCOL_ERROR', 'headers without a stream')
    const plain = flags & PADDED ? unpadded(payload) : payload
    if (flags & PRIORITY && plain.length < 5) throw violation('FRAME_SIZE_ERROR', 'headers without their priority')
    if (flags & PRIORITY) independent(stream, plain)
    const part = flags & PRIORITY ? plain.subarray(5) : plain
    const last = (flags & END_STREAM) !== 0
    if (flags & END_HEADERS) return emit({ kind: 'headers', stream, fields: this.#headers.decode(part), last })
    this.#block = { stream, last, parts: [part], bytes: part.length }
  }

  #continued(flags: number, stream: number, part: Buffer, emit: (frame: Frame) => void): void {
    const block = this.#block
    if (!block || block.stream !== stream) throw violation('PROTOCOL_ERROR', 'a continuation of nothing')
    block.bytes += part.length
    if (block.parts.push(part) > BLOCK_FRAMES || block.bytes > BLOCK_BYTES) {
      throw violation('ENHANCE_YOUR_CALM', 'a header block that is too large')
    }
    if (!(flags & END_HEADERS)) return
    this.#block = undefined
    const fields = this.#headers.decode(Buffer.concat(block.parts, block.bytes))
    emit({ kind: 'headers', stream, fields, last: block.last })
  }
}

const sized = (payload: Buffer, bytes: number): void => {
  if (payload.length !== bytes) throw violation('FRAME_SIZE_ERROR', `${payload.length} bytes instead of ${bytes}`)
}

/** What is said about priorities has no effect, and is refused where it makes no sense. [RFC 7540 §5.3.1, §6.3] */
const independent = (stream: number, payload: Buffer): void => {
  if (stream === 0) throw violation('PROTOCOL_ERROR', 'a priority without a stream')
  if ((payload.readUInt32BE(0) & LAST_STREAM) === stream) {
    throw violation('PROTOCOL_ERROR', 'a stream that depends on itself')
  }
}

const unpadded = (payload: Buffer): Buffer => {
  const padding = payload[0]
  if (padding === undefined || padding >= payload.length) throw violation('PROTOCOL_ERROR', 'more padding than payload')
  return payload.subarray(1, payload.length - padding)
}

const settingsOf = (flags: number, stream: number, payload: Buffer): Frame => {
  if (stream !== 0) throw violation('PROTOCOL_ERROR', 'settings of a stream')
  if (flags & ACK) {
    sized(payload, 0)
    return { kind: 'settingsAck' }
  }
  if (payload.length % 6 !== 0) throw violation('FRAME_SIZE_ERROR', 'half a setting')
  const values = Array.from(
    { length: payload.length / 6 },
    (_, at) => [payload.readUInt16BE(6 * at), payload.readUInt32BE(6 * at + 2)] as const,
  )
  return { kind: 'settings', values }
}
