import { isAscii, isUtf8 } from 'node:buffer'
import { Fault } from '@sluice/core'
import { languages, ONEWAY, RESPONSE } from './codes.ts'

/**
 * One RemotingCommand.
 *   frame  = total u32 (bytes after it) · type u8 (0 JSON, 1 binary) · headerLength u24 · header · body
 *   header = JSON {code, language, version, opaque, flag, remark, extFields} or {@link encodeBinary}
 * Source: apache/rocketmq RemotingCommand.java, RocketMQSerializable.java
 */
export interface Frame {
  /** Request code; in a response, the result. In a binary header 16 bits. */
  readonly code: number
  /** A name of {@link languages}; what is not one travels as it is in JSON and as OTHER in binary. */
  readonly language: string
  readonly version: number
  readonly opaque: number
  /** {@link RESPONSE}, {@link ONEWAY}. */
  readonly flag: number
  /** Absent and empty mean the same. */
  readonly remark?: string
  /** Custom header fields; numbers and booleans of lax clients are strings already. */
  readonly ext: Readonly<Record<string, string>>
  /** Never empty: an empty body is an absent one. */
  readonly body?: Buffer
  /** Outgoing only: what follows `body`, so that stored records leave without being joined. */
  readonly parts?: readonly Buffer[]
  readonly binary: boolean
}

/** Largest frame that official peers accept, its length word included. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024

const JSON_TYPE = 0
const BINARY_TYPE = 1
/** Length and type words. */
const HEAD_BYTES = 8
const MIN_HELD_BYTES = 1024

export const isResponse = (frame: Frame): boolean => (frame.flag & RESPONSE) !== 0
export const isOneway = (frame: Frame): boolean => (frame.flag & ONEWAY) !== 0

/** Bytes → frames. Bodies are slices of what came in. */
export class FrameDecoder {
  readonly #limit: number
  /** The start of a frame that is not complete; grows by doubling, so that many small chunks cost what they weigh. */
  #held: Buffer = Buffer.alloc(0)
  #filled = 0

  /** @param limit most bytes of one frame, its length word included */
  constructor(limit: number) {
    this.#limit = Math.min(limit, FRAME_BYTES_MAX)
  }

  get buffered(): number {
    return this.#filled
  }

  /**
   * @throws Fault 'tooLarge' as soon as the length word announces too much, 'malformed' for what is no frame, a
   * header that does not fit in its frame or is not UTF-8
   */
  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    let at = 0
    while (this.#filled > 0 && at < chunk.length) {
      const wanted = this.#filled < HEAD_BYTES ? HEAD_BYTES : this.#total(this.#held, 0)
      const taken = Math.min(wanted - this.#filled, chunk.length - at)
      this.#hold(chunk, at, at + taken, wanted)
      at += taken
      if (this.#filled >= HEAD_BYTES && this.#filled === this.#total(this.#held, 0)) {
        const whole = this.#held.subarray(0, this.#filled)
        this.#held = Buffer.alloc(0)
        this.#filled = 0
        emit(decodeFrame(whole, 0, whole.length))
      } else if (this.#filled >= 4) this.#total(this.#held, 0, this.#filled)
    }
    while (at < chunk.length) {
      const left = chunk.length - at
      const total = left < 4 ? HEAD_BYTES : this.#total(chunk, at, left)
      if (left < total) {
        this.#hold(chunk, at, chunk.length, total)
        return
      }
      emit(decodeFrame(chunk, at, at + total))
      at += total
    }
  }

  /** Bytes of the frame at `at`, its length word included; looks at the header length too when it is there. */
  #total(bytes: Buffer, at: number, present = HEAD_BYTES): number {
    const total = 4 + bytes.readUInt32BE(at)
    if (total > this.#limit) throw new Fault('tooLarge', `a frame of ${total} bytes; at most ${this.#limit}`)
    if (total < HEAD_BYTES) throw new Fault('malformed', 'a frame without a header')
    if (present >= HEAD_BYTES) {
      const word = bytes.readUInt32BE(at + 4)
      if (word >>> 24 > BINARY_TYPE) throw new Fault('malformed', `serialisation type ${word >>> 24}`)
      if ((word & 0xffffff) > total - HEAD_BYTES) throw new Fault('malformed', 'a header longer than its frame')
    }
    return total
  }

  #hold(chunk: Buffer, from: number, to: number, wanted: number): void {
    const needed = this.#filled + to - from
    if (needed > this.#held.length) {
      const bigger = Buffer.allocUnsafe(
        Math.max(needed, Math.min(wanted, Math.max(MIN_HELD_BYTES, this.#held.length * 2))),
      )
      this.#held.copy(bigger, 0, 0, this.#filled)
      this.#held = bigger
    }
    this.#filled += chunk.copy(this.#held, this.#filled, from, to)
  }
}

const decodeFrame = (bytes: Buffer, from: number, to: number): Frame => {
  const word = bytes.readUInt32BE(from + 4)
  const start = from + HEAD_BYTES
  const end = start + (word & 0xffffff)
  const body = end < to ? bytes.subarray(end, to) : undefined
  return word >>> 24 === JSON_TYPE ? decodeJson(bytes, start, end, body) : decodeBinary(bytes, start, end, body)
}

// ── JSON ──────────────────────────────────────────────────────────────────────────────────────

interface JsonHeader {
  code?: unknown
  language?: unknown
  version?: unknown
  opaque?: unknown
  flag?: unknown
  remark?: unknown
  extFields?: unknown
}

const decodeJson = (bytes: Buffer, from: number, to: number, body: Buffer | undefined): Frame => {
  const header = parseHeader(bytes.subarray(from, to))
  const { language, remark } = header
  const frame = {
    code: int(header.code, 'code'),
    language: typeof language === 'string' ? language : 'OTHER',
    version: header.version === undefined ? 0 : int(header.version, 'version'),
    opaque: int(header.opaque, 'opaque'),
    flag: header.flag === undefined ? 0 : int(header.flag, 'flag'),
    ext: strings(header.extFields),
    binary: false,
  }
  const said = typeof remark === 'string' && remark !== ''
  if (said && body) return { ...frame, remark, body }
  if (said) return { ...frame, remark }
  return body ? { ...frame, body } : frame
}

const parseHeader = (bytes: Buffer): JsonHeader => {
  const text = isAscii(bytes) ? bytes.toString('latin1') : isUtf8(bytes) ? bytes.toString('utf8') : undefined
  if (text === undefined) throw new Fault('malformed', 'a header that is not UTF-8')
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch {
    throw new Fault('malformed', 'a header that is not JSON')
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw new Fault('malformed', 'a header that is no JSON object')
  return header
}

const int = (value: unknown, name: string): number => {
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 0xffff_ffff) return value
  throw new Fault('malformed', `${name} is not a 32-bit integer`)
}

/** `extFields` with numbers and booleans written as strings, nulls left out; signatures are made over that text. */
const strings = (value: unknown): Record<string, string> => {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new Fault('malformed', 'extFields is no JSON object')
  const ext = value as Record<string, unknown>
  for (const name in ext) {
    const field = ext[name]
    if (typeof field === 'string') continue
    if (field === null) delete ext[name]
    else if (typeof field === 'number' || typeof field === 'boolean') ext[name] = String(field)
    else throw new Fault('malformed', 'extFields holds more than text')
  }
  return ext as Record<string, string>
}

// ── Binary ────────────────────────────────────────────────────────────────────────────────────

const decodeBinary = (bytes: Buffer, start: number, end: number, body: Buffer | undefined): Frame => {
  if (end - start < 21) throw new Fault('malformed', 'a binary header of less than 21 bytes')
  const header = bytes.subarray(start, end)
  const remarkLength = header.readInt32BE(13)
  if (remarkLength < 0 || 21 + remarkLength > header.length) throw new Fault('malformed', 'a remark beyond its header')
  const extFrom = 17 + remarkLength
  const extLength = header.readInt32BE(extFrom)
  if (extLength < 0 || extFrom + 4 + extLength > header.length)
    throw new Fault('malformed', 'extFields beyond their header')
  return {
    code: header.readInt16BE(0),
    language: languages[header[2] as number] ?? 'OTHER',
    version: header.readInt16BE(3),
    opaque: header.readInt32BE(5),
    flag: header.readInt32BE(9),
    ...(remarkLength > 0 && { remark: utf8(header, 17, 17 + remarkLength) }),
    ext: decodeExt(header, extFrom + 4, extFrom + 4 + extLength),
    ...(body && { body }),
    binary: true,
  }
}

/** entry = i16 length · key · i32 length · value; an empty key or value is absent. */
const decodeExt = (bytes: Buffer, from: number, end: number): Record<string, string> => {
  const ext: Record<string, string> = {}
  for (let at = from; at < end; ) {
    if (at + 2 > end) throw new Fault('malformed', 'extFields end inside a key')
    const key = at + 2 + bytes.readInt16BE(at)
    if (key < at + 2 || key + 4 > end) throw new Fault('malformed', 'a key beyond extFields')
    const value = key + 4 + bytes.readInt32BE(key)
    if (value < key + 4 || value > end) throw new Fault('malformed', 'a value beyond extFields')
    if (key > at + 2 && value > key + 4) put(ext, utf8(bytes, at + 2, key), utf8(bytes, key + 4, value))
    at = value
  }
  return ext
}

const utf8 = (bytes: Buffer, from: number, to: number): string => {
  const slice = bytes.subarray(from, to)
  if (isAscii(slice)) return slice.toString('latin1')
  if (isUtf8(slice)) return slice.toString('utf8')
  throw new Fault('malformed', 'a header that is not UTF-8')
}

const put = (ext: Record<string, string>, key: string, value: string): void => {
  if (key === '__proto__')
    Object.defineProperty(ext, key, { value, enumerable: true, writable: true, configurable: true })
  else ext[key] = value
}

// ── Out ───────────────────────────────────────────────────────────────────────────────────────

/** A list where a body is big enough that copying it would cost more than a second part of a writev. */
export const encodeFrame = (frame: Frame): Buffer | readonly Buffer[] => {
  const header = frame.binary ? encodeBinary(frame) : jsonHeader(frame)
  const parts = frame.parts ?? none
  const bodyBytes = (frame.body?.length ?? 0) + bytesOf(parts)
  const headerBytes = typeof header === 'string' ? Buffer.byteLength(header) : header.length
  const inline = bodyBytes <= INLINE_BYTES
  const out = Buffer.allocUnsafe(HEAD_BYTES + headerBytes + (inline ? bodyBytes : 0))
  out.writeUInt32BE(4 + headerBytes + bodyBytes, 0)
  out.writeUInt32BE(((frame.binary ? BINARY_TYPE : JSON_TYPE) << 24) | headerBytes, 4)
  if (typeof header !== 'string') header.copy(out, HEAD_BYTES)
  else if (headerBytes === header.length) out.write(header, HEAD_BYTES, 'latin1')
  else out.write(header, HEAD_BYTES, 'utf8')
  if (bodyBytes === 0) return out
  if (!inline) return frame.body ? [out, frame.body, ...parts] : [out, ...parts]
  let at = HEAD_BYTES + headerBytes
  if (frame.body) at += frame.body.copy(out, at)
  for (const part of parts) at += part.copy(out, at)
  return out
}

const INLINE_BYTES = 2048
const none: readonly Buffer[] = []

const bytesOf = (parts: readonly Buffer[]): number => {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

/** extFields is always there: some clients take its absence for an absent header. */
const jsonHeader = (frame: Frame): string => {
  let ext = ''
  for (const name in frame.ext) ext += `${ext === '' ? '' : ','}${quote(name)}:${quote(frame.ext[name] as string)}`
  const remark = frame.remark ? `,"remark":${quote(frame.remark)}` : ''
  return `{"code":${frame.code},"extFields":{${ext}},"flag":${frame.flag},"language":${quote(frame.language)},"opaque":${frame.opaque}${remark},"serializeTypeCurrentRPC":"JSON","version":${frame.version}}`
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what JSON wants escaped
const special = /["\\\u0000-\u001f\ud800-\udfff]/

const quote = (text: string): string => (special.test(text) ? JSON.stringify(text) : `"${text}"`)

/** header = i16 code · u8 language · i16 version · i32 opaque · i32 flag · i32 length · remark · i32 length · ext entries */
const encodeBinary = (frame: Frame): Buffer => {
  const remark = Buffer.from(frame.remark ?? '')
  const entries: Buffer[] = []
  for (const name in frame.ext) {
    const value = frame.ext[name] as string
    if (value !== '') entries.push(entry(Buffer.from(name), Buffer.from(value)))
  }
  const ext = Buffer.concat(entries)
  const out = Buffer.allocUnsafe(21 + remark.length + ext.length)
  const language = languages.indexOf(frame.language as (typeof languages)[number])
  out.writeInt16BE((frame.code << 16) >> 16, 0)
  out.writeUInt8(language < 0 ? languages.indexOf('OTHER') : language, 2)
  out.writeInt16BE((frame.version << 16) >> 16, 3)
  out.writeInt32BE(frame.opaque, 5)
  out.writeInt32BE(frame.flag, 9)
  out.writeInt32BE(remark.length, 13)
  remark.copy(out, 17)
  out.writeInt32BE(ext.length, 17 + remark.length)
  ext.copy(out, 21 + remark.length)
  return out
}

const entry = (key: Buffer, value: Buffer): Buffer => {
  const out = Buffer.allocUnsafe(6 + key.length + value.length)
  out.writeInt16BE(key.length, 0)
  key.copy(out, 2)
  out.writeInt32BE(value.length, 2 + key.length)
  value.copy(out, 6 + key.length)
  return out
}
