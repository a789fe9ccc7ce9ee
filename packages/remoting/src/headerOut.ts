import { languages } from './codes.ts'
import type { Frame } from './frame.ts'

/** A header of this frame, behind `room` bytes and before `more` bytes that the caller fills. */
export type HeaderWriter = (
  frame: Frame,
  room: number,
  more: number,
) => { readonly bytes: Buffer; readonly headerBytes: number }

/** extFields is always there: some clients take its absence for an absent header. */
const jsonHeader = (frame: Frame): string => {
  let ext = ''
  for (const name in frame.ext) ext += `${ext === '' ? '' : ','}${quote(name)}:${quote(frame.ext[name] as string)}`
  const remark = frame.remark ? `,"remark":${quote(frame.remark)}` : ''
  return `{"code":${frame.code},"extFields":{${ext}},"flag":${frame.flag},"language":${quote(frame.language)},"opaque":${frame.opaque}${remark},"serializeTypeCurrentRPC":"JSON","version":${frame.version}}`
}

/** JSON.stringify escapes the halves of pairs that stand alone. */
const quote = (text: string): string => JSON.stringify(text)

export const withJsonHeader: HeaderWriter = (frame, room, more) => {
  const length = writePlain(frame)
  if (length >= 0) {
    const bytes = Buffer.allocUnsafe(room + length + more)
    plain.copy(bytes, room, 0, length)
    return { bytes, headerBytes: length }
  }
  const header = jsonHeader(frame)
  const headerBytes = Buffer.byteLength(header)
  const bytes = Buffer.allocUnsafe(room + headerBytes + more)
  bytes.write(header, room, 'utf8')
  return { bytes, headerBytes }
}

/**
 * The header that is being written; before that, the last one. Headers are alike, so that most texts stand where they
 * would be written already: they are not written again.
 */
const plain = Buffer.alloc(4096)
let end = 0
/** Texts of the last header in their order, and where each begins. */
const texts: string[] = []
const places: number[] = []
let count = 0
/** Texts of the header before this one. */
let known = 0

/** The same as {@link jsonHeader}, into `plain`. @returns its bytes; −1: it is too long, or not ASCII that stands for itself */
const writePlain = (frame: Frame): number => {
  known = count
  end = count = 0
  if (putHeader(frame)) return end
  // The last text is not whole.
  count = 0
  return -1
}

const putHeader = ({ code, ext, flag, language, opaque, remark, version }: Frame): boolean => {
  if (!(put('{"code":') && put(String(code)) && put(',"extFields":{'))) return false
  let first = true
  for (const name in ext) {
    if (!(put(first ? '"' : ',"') && putPlain(name) && put('":"') && putPlain(ext[name] as string) && put('"')))
      return false
    first = false
  }
  if (!(put('},"flag":') && put(String(flag)) && put(',"language":"') && putPlain(language))) return false
  if (!(put('","opaque":') && put(String(opaque)))) return false
  if (remark && !(put(',"remark":"') && putPlain(remark) && put('"'))) return false
  return put(',"serializeTypeCurrentRPC":"JSON","version":') && put(String(version)) && put('}')
}

/** Whether it stands here since the last header; if not it is about to. */
const stands = (text: string): boolean => {
  const index = count++
  if (index < known && places[index] === end && texts[index] === text) return true
  texts[index] = text
  places[index] = end
  return false
}

/** False: no room. */
const put = (text: string): boolean => {
  if (end + text.length > plain.length || count >= TEXTS_MAX) return false
  if (stands(text)) end += text.length
  else for (let at = 0; at < text.length; at++) plain[end++] = text.charCodeAt(at)
  return true
}

/** False also: JSON says it otherwise than it is. */
const putPlain = (text: string): boolean => {
  if (end + text.length > plain.length || count >= TEXTS_MAX) return false
  if (stands(text)) end += text.length
  else {
    for (let at = 0; at < text.length; at++) {
      const char = text.charCodeAt(at)
      if (char < 0x20 || char > 0x7e || char === 0x22 || char === 0x5c) return false
      plain[end++] = char
    }
  }
  return true
}

const TEXTS_MAX = 1024

export const withBinaryHeader: HeaderWriter = (frame, room, more) => {
  const remark = Buffer.from(frame.remark ?? '')
  const entries: Buffer[] = []
  for (const name in frame.ext) {
    const value = frame.ext[name] as string
    if (value !== '') entries.push(entry(Buffer.from(name), Buffer.from(value)))
  }
  const ext = Buffer.concat(entries)
  const headerBytes = 21 + remark.length + ext.length
  const bytes = Buffer.allocUnsafe(room + headerBytes + more)
  const language = languages.indexOf(frame.language as (typeof languages)[number])
  bytes.writeInt16BE((frame.code << 16) >> 16, room)
  bytes.writeUInt8(language < 0 ? languages.indexOf('OTHER') : language, room + 2)
  bytes.writeInt16BE((frame.version << 16) >> 16, room + 3)
  bytes.writeInt32BE(frame.opaque, room + 5)
  bytes.writeInt32BE(frame.flag, room + 9)
  bytes.writeInt32BE(remark.length, room + 13)
  remark.copy(bytes, room + 17)
  bytes.writeInt32BE(ext.length, room + 17 + remark.length)
  ext.copy(bytes, room + 21 + remark.length)
  return { bytes, headerBytes }
}

const entry = (key: Buffer, value: Buffer): Buffer => {
  const out = Buffer.allocUnsafe(6 + key.length + value.length)
  out.writeInt16BE(key.length, 0)
  key.copy(out, 2)
  out.writeInt32BE(value.length, 2 + key.length)
  value.copy(out, 6 + key.length)
  return out
}
