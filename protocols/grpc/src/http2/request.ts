import { COLON, type Fields } from './hpack.ts'

/** What a list of fields asks for. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly type: string
  /** Bytes of the body, if it says so. */
  readonly length: number | undefined
}

/** Bits of what a request has once and before its other fields. [RFC 9113 §8.3.1] */
const pseudo: Readonly<Record<string, number>> = { ':method': 1, ':scheme': 2, ':path': 4, ':authority': 8 }
const NEEDED = 1 | 2 | 4
const METHOD = 1
const PATH = 4
/** Fields that say something about the connection, which HTTP/2 says by frames. [§8.2.2] */
const FORBIDDEN = 16
const TE = 32
const TYPE = 64
const LENGTH = 128

const meanings: ReadonlyMap<string, number> = new Map([
  ...Object.entries(pseudo),
  ...['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade'].map(
    (name) => [name, FORBIDDEN] as const,
  ),
  ['te', TE],
  ['content-type', TYPE],
  ['content-length', LENGTH],
])

/** First characters that no name of a meaning has: most names of gRPC's and RocketMQ's own are not looked up. */
const meaningless = new Uint8Array(256).fill(1)
for (const name of meanings.keys()) meaningless[name.charCodeAt(0)] = 0

/** Undefined: malformed. What a field is by itself was looked at when it was decoded. [§8.1.1, §8.3.1] */
export const requestOf = (fields: Fields): Asked | undefined => {
  let seen = 0
  let regular = false
  let method = ''
  let path = ''
  let type: string | undefined
  let length: number | undefined
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!
    const first = name.charCodeAt(0)
    if (meaningless[first] === 1) {
      regular = true
      continue
    }
    const value = fields[at + 1]!
    const meaning = meanings.get(name) ?? 0
    if (first === COLON) {
      if (meaning === 0 || regular || (seen & meaning) !== 0) return undefined
      seen |= meaning
      if (meaning === METHOD) method = value
      else if (meaning === PATH) path = value
      continue
    }
    regular = true
    if (meaning === 0) continue
    if (meaning === TYPE) type ??= value
    else if (meaning === LENGTH) {
      const said = lengthOf(value)
      if (said === undefined || (length ?? said) !== said) return undefined
      length = said
    } else if (meaning === FORBIDDEN || value !== 'trailers') return undefined
  }
  if ((seen & NEEDED) !== NEEDED || path === '') return undefined
  return { method, path, type: type ?? '', length }
}

const lengthOf = (value: string): number | undefined => (/^\d{1,15}$/.test(value) ? Number(value) : undefined)

/** Whether fields may follow a body: they say nothing about the request or the connection. [§8.1] */
export const mayTrail = (fields: Fields): boolean => {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!
    if (name.charCodeAt(0) === COLON || meanings.get(name) === FORBIDDEN) return false
  }
  return true
}
