import { PREFIX_BYTES, prefixInto } from '../messages.ts'
import { ACK, END_HEADERS, END_STREAM, type Frame, HEAD_BYTES, types } from './frames.ts'
import { type Fields, literal } from './hpack.ts'

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

/** Of a frame as we say it. */
export const encode = (frame: Frame): Buffer | readonly Buffer[] => {
  switch (frame.kind) {
    case 'raw':
      return frame.bytes
    case 'data':
      return [headOf(frame.bytes.length, types.data, frame.last ? END_STREAM : 0, frame.stream), frame.bytes]
    case 'headers': {
      const block = blockOf(typeof frame.fields === 'string' ? [] : frame.fields)
      return [headOf(block.length, types.headers, END_HEADERS | (frame.last ? END_STREAM : 0), frame.stream), block]
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
const headOf = (bytes: number, type: number, flags: number, stream: number): Buffer => {
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

/** `grpc-status: 0` behind an answer. */
export const done = (stream: number): Buffer => {
  const out = framed(OK.length, types.headers, END_HEADERS | END_STREAM, stream)
  OK.copy(out, HEAD_BYTES)
  return out
}
