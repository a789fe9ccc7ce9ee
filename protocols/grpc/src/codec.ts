import { type Codec, type Decoder, Fault } from '@sluice/core'
import { type Fields, HeaderDecoder, literal, type Unfit } from './http2/hpack.ts'
import { PREFIX_BYTES, prefixInto } from './messages.ts'

/** What a client says first. [RFC 9113 §3.4] */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEAD_BYTES = 9
/** Largest payload of a frame that we take, and that peers take unless they say otherwise. */
export const PAYLOAD_BYTES = 16_384
/** Bytes of a header block over all its frames. */
const BLOCK_BYTES = 32 * 1024
const BLOCK_FRAMES = 16
export const LAST_STREAM = 2 ** 31 - 1

const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  window: 8,
  more: 9,
}
const END_STREAM = 1
const ACK = 1
const END_HEADERS = 4
const PADDED = 8
const PRIORITY = 32

/** [§7] */
export const errors = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const
export type ErrorName = keyof typeof errors

/** The peer broke HTTP/2: `about` is the name of the error. */
export const violation = (about: ErrorName, why: string): Fault => new Fault('malformed', why, { about })

/** Identifiers of settings. [§6.5.2] */
export const setting = { tableSize: 1, push: 2, streams: 3, window: 4, frameSize: 5, listSize: 6 } as const

export type Frame =
  /** `counted`: bytes of flow control, padding with them. */
  | {
      readonly kind: 'data'
      readonly stream: number
      readonly bytes: Buffer
      readonly counted: number
      readonly last: boolean
    }
  | {
      readonly kind: 'headers'
      readonly stream: number
      readonly fields: Fields | Unfit
      readonly last: boolean
    }
  | { readonly kind: 'reset'; readonly stream: number; readonly error: number }
  /** Empty from us: theirs are heard. */
  | { readonly kind: 'settings'; readonly values: readonly (readonly [id: number, value: number])[] }
  | { readonly kind: 'settingsAck' }
  | { readonly kind: 'ping'; readonly ack: boolean; readonly opaque: Buffer }
  | { readonly kind: 'goAway'; readonly last: number; readonly error: number }
  | { readonly kind: 'window'; readonly stream: number; readonly bytes: number }
  /** Frames that were made elsewhere. */
  | { readonly kind: 'raw'; readonly bytes: Buffer }

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

// ── Out ──────────────────────────────────────────────────────────────────────────────────────────

const headInto = (out: Buffer, at: number, length: number, type: number, flags: number, stream: number): number => {
  out.writeUIntBE(length, at, 3)
  out[at + 3] = type
  out[at + 4] = flags
  return out.writeUInt32BE(stream, at + 5)
}

/** A frame whose payload is `bytes` long and to be written from the returned buffer's {@link HEAD_BYTES} on. */
const framed = (bytes: number, type: number, flags: number, stream: number): Buffer => {
  const out = Buffer.allocUnsafe(HEAD_BYTES + bytes)
  headInto(out, 0, bytes, type, flags, stream)
  return out
}

const encode = (frame: Frame): Buffer | readonly Buffer[] => {
  switch (frame.kind) {
    case 'raw':
      return frame.bytes
    case 'data':
      return [framed0(frame.bytes.length, types.data, frame.last ? END_STREAM : 0, frame.stream), frame.bytes]
    case 'headers': {
      const block = blockOf(typeof frame.fields === 'string' ? [] : frame.fields)
      return [framed0(block.length, types.headers, END_HEADERS | (frame.last ? END_STREAM : 0), frame.stream), block]
    }
    case 'settings': {
      const out = framed(6 * frame.values.length, types.settings, 0, 0)
      let at = HEAD_BYTES
      for (const [id, value] of frame.values) at = out.writeUInt32BE(value, out.writeUInt16BE(id, at))
      return out
    }
    case 'settingsAck':
      return framed(0, types.settings, ACK, 0)
    case 'ping': {
      const out = framed(8, types.ping, frame.ack ? ACK : 0, 0)
      frame.opaque.copy(out, HEAD_BYTES)
      return out
    }
    case 'goAway': {
      const out = framed(8, types.goAway, 0, 0)
      out.writeUInt32BE(frame.error, out.writeUInt32BE(frame.last, HEAD_BYTES))
      return out
    }
    case 'reset':
      return word(types.reset, frame.stream, frame.error)
    case 'window':
      return word(types.window, frame.stream, frame.bytes)
  }
}

/** The head alone. */
const framed0 = (bytes: number, type: number, flags: number, stream: number): Buffer => {
  const out = Buffer.allocUnsafe(HEAD_BYTES)
  headInto(out, 0, bytes, type, flags, stream)
  return out
}

const word = (type: number, stream: number, value: number): Buffer => {
  const out = framed(4, type, 0, stream)
  out.writeUInt32BE(value, HEAD_BYTES)
  return out
}

const blockOf = (fields: Fields): Buffer => {
  const parts: Buffer[] = []
  for (let at = 0; at < fields.length; at += 2) parts.push(literal(fields[at]!, fields[at + 1]!))
  return Buffer.concat(parts)
}

/** `:status: 200`, which everybody knows, and the type. */
const RESPONSE = Buffer.concat([Buffer.from([0x88]), literal('content-type', 'application/grpc')])
const OK = literal('grpc-status', '0')

/** Headers, the message behind its prefix, and `grpc-status: 0`: three frames in one piece. */
export const reply = (stream: number, message: Buffer): Buffer => {
  const data = PREFIX_BYTES + message.length
  const out = Buffer.allocUnsafe(3 * HEAD_BYTES + RESPONSE.length + data + OK.length)
  let at = headInto(out, 0, RESPONSE.length, types.headers, END_HEADERS, stream)
  at += RESPONSE.copy(out, at)
  at = prefixInto(out, headInto(out, at, data, types.data, 0, stream), message)
  OK.copy(out, headInto(out, at, OK.length, types.headers, END_HEADERS | END_STREAM, stream))
  return out
}

/** A message in one frame. */
export const dataOf = (stream: number, message: Buffer): Buffer => {
  const out = framed(PREFIX_BYTES + message.length, types.data, 0, stream)
  prefixInto(out, HEAD_BYTES, message)
  return out
}

/** Headers of an answer that follows. */
export const responding = (stream: number): Buffer => {
  const out = framed(RESPONSE.length, types.headers, END_HEADERS, stream)
  RESPONSE.copy(out, HEAD_BYTES)
  return out
}
