import { isAscii, isUtf8 } from 'node:buffer'
import { Fault } from '@sluice/core'
import { languages } from './codes.ts'
import type { Frame } from './frame.ts'

/**
 * The header of a frame as it comes, in both serialisations.
 *   JSON   = {code, language, version, opaque, flag, remark, extFields}
 *   binary = i16 code · u8 language · i16 version · i32 opaque · i32 flag · i32 length · remark · i32 length · ext entries
 * Source: apache/rocketmq RemotingCommand.java, RocketMQSerializable.java
 */

interface JsonHeader {
  code?: unknown
  language?: unknown
  version?: unknown
  opaque?: unknown
  flag?: unknown
  remark?: unknown
  extFields?: unknown
}

/** @throws Fault 'malformed' */
export const decodeJson = (bytes: Buffer, from: number, to: number, body: Buffer | undefined): Frame => {
  const header = parseHeader(bytes.subarray(from, to))
  const { language, remark } = header
  const frame: Writable<Frame> = {
    code: int(header.code, 'code'),
    language: typeof language === 'string' ? language : 'OTHER',
    version: header.version === undefined ? 0 : int(header.version, 'version'),
    opaque: int(header.opaque, 'opaque'),
    flag: header.flag === undefined ? 0 : int(header.flag, 'flag'),
    ext: strings(header.extFields),
    binary: false,
  }
  if (typeof remark === 'string' && remark !== '') frame.remark = remark
  if (body) frame.body = body
  return frame
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

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

/** @throws Fault 'malformed' */
export const decodeBinary = (bytes: Buffer, start: number, end: number, body: Buffer | undefined): Frame => {
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
