import { Fault } from '@sluice/core'
import { unhuff } from './huffman.ts'

/** Bytes of the table of what was said before: the default, which we leave as it is. */
const TABLE_BYTES = 4_096
/** What an entry costs beside its text. [RFC 7541 §4.1] */
const ENTRY_BYTES = 32

/** What the names of pseudo-headers begin with. */
export const COLON = 58

/** Names and values in turn. */
export type Fields = readonly string[]

/** What everybody knows, from index 1 on. Source: RFC 7541, appendix A. */
const known: Fields = [
  ...[':authority', '', ':method', 'GET', ':method', 'POST', ':path', '/', ':path', '/index.html'],
  ...[':scheme', 'http', ':scheme', 'https', ':status', '200', ':status', '204', ':status', '206', ':status', '304'],
  ...[':status', '400', ':status', '404', ':status', '500', 'accept-charset', '', 'accept-encoding', 'gzip, deflate'],
  ...(
    'accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control ' +
    'content-disposition content-encoding content-language content-length content-location content-range content-type ' +
    'cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since ' +
    'last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after ' +
    'server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate'
  )
    .split(' ')
    .flatMap((name) => [name, '']),
]
const KNOWN = known.length / 2

const broken = (why: string) => new Fault('malformed', `header compression: ${why}`, { about: 'COMPRESSION_ERROR' })

/** Longest list of fields that is taken, counted as the table's entries are. */
export const LIST_BYTES = 16 * 1024

/** Why a stream has no fields: there are more than are taken, or one of them is none of HTTP. */
export type Unfit = 'ENHANCE_YOUR_CALM' | 'PROTOCOL_ERROR'

/** Small letters and signs; what has a meaning to HTTP begins with a colon. [RFC 9113 §8.2.1, RFC 9110 §5.6.2] */
const inNames = new Uint8Array(256)
for (const sign of "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+.^_`|~-") inNames[sign.charCodeAt(0)] = 1
const isName = (text: string): boolean => {
  const from = text.charCodeAt(0) === COLON ? 1 : 0
  for (let at = from; at < text.length; at++) if (inNames[text.charCodeAt(at)] === 0) return false
  return text.length > from
}

/** Blanks at its ends are taken: gRPC lets them be there. [RFC 9113 §8.2.1] */
const NO_VALUE = /[\0\r\n]/

/** Header blocks of one connection, in the order in which they came. Sources: RFC 7541. */
export class HeaderDecoder {
  /** What was entered, the oldest first: names and values in turn. */
  readonly #table: string[] = []
  #tableBytes = 0
  #tableMax = TABLE_BYTES
  #block: Buffer = Buffer.alloc(0)
  #at = 0
  /** Whether a field of the block, or any that was entered, is none of HTTP: only then are fields looked at again. */
  #odd = false
  #oddEntered = false

  /** After what is unfit the next block can be decoded even so. @throws Fault 'malformed' */
  decode(block: Buffer): Fields | Unfit {
    this.#block = block
    this.#at = 0
    this.#odd = this.#oddEntered
    const fields: string[] = []
    let bytes = 0
    while (this.#at < block.length) {
      const first = block[this.#at]!
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw broken('a table size after a field')
        this.#resize(this.#number(0x1f))
        continue
      }
      const before = fields.length
      if (first & 0x80) this.#indexed(this.#number(0x7f), fields)
      else this.#literal(first, fields)
      bytes += ENTRY_BYTES + fields[before]!.length + fields[before + 1]!.length
      // A block may name the same entry over and over.
      if (bytes > LIST_BYTES) fields.length = 2
    }
    if (bytes > LIST_BYTES) return 'ENHANCE_YOUR_CALM'
    return this.#odd && !areOfHttp(fields) ? 'PROTOCOL_ERROR' : fields
  }

  #indexed(index: number, fields: string[]): void {
    if (index === 0) throw broken('index 0')
    const place = this.#place(index)
    const from = index <= KNOWN ? known : this.#table
    fields.push(from[place]!, from[place + 1]!)
  }

  #literal(first: number, fields: string[]): void {
    const enters = (first & 0x40) !== 0
    const index = this.#number(enters ? 0x3f : 0x0f)
    const name = index === 0 ? this.#text() : (index <= KNOWN ? known : this.#table)[this.#place(index)]!
    const value = this.#text()
    fields.push(name, value)
    if ((index === 0 && !isName(name)) || NO_VALUE.test(value)) {
      this.#odd = true
      this.#oddEntered ||= enters
    }
    if (enters) this.#enter(name, value)
  }

  /** Of an entry in its list. */
  #place(index: number): number {
    if (index <= KNOWN) return 2 * (index - 1)
    const place = this.#table.length - 2 * (index - KNOWN)
    if (place < 0) throw broken(`no entry ${index}`)
    return place
  }

  #enter(name: string, value: string): void {
    this.#table.push(name, value)
    this.#tableBytes += ENTRY_BYTES + name.length + value.length
    this.#evict()
  }

  #resize(max: number): void {
    if (max > TABLE_BYTES) throw broken(`a table of ${max} bytes`)
    this.#tableMax = max
    this.#evict()
  }

  #evict(): void {
    let gone = 0
    for (; this.#tableBytes > this.#tableMax; gone += 2) {
      this.#tableBytes -= ENTRY_BYTES + this.#table[gone]!.length + this.#table[gone + 1]!.length
    }
    if (gone > 0) this.#table.splice(0, gone)
  }

  /** `mask`: the bits of the first byte that belong to it. [§5.1] */
  #number(mask: number): number {
    let value = this.#byte() & mask
    if (value < mask) return value
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte()
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw broken('a number beyond 2^28')
  }

  #text(): string {
    const huffed = (this.#block[this.#at] ?? 0) & 0x80
    const length = this.#number(0x7f)
    const at = this.#at
    const end = at + length
    if (end > this.#block.length) throw broken('a text beyond the end')
    this.#at = end
    const text = huffed ? unhuff(this.#block, at, end) : this.#block.toString('latin1', at, end)
    if (text === undefined) throw broken('bad Huffman code')
    return text
  }

  #byte(): number {
    const byte = this.#block[this.#at++]
    if (byte === undefined) throw broken('it ends too soon')
    return byte
  }
}

const areOfHttp = (fields: Fields): boolean =>
  fields.every((text, at) => (at % 2 === 0 ? isName(text) : !NO_VALUE.test(text)))

/** A field as a literal that is not remembered: peers may allow no table. Names of fewer than 127 characters. */
export const literal = (name: string, value: string): Buffer => {
  const text = Buffer.from(value, 'latin1')
  const parts = [Buffer.from([0, name.length]), Buffer.from(name, 'latin1'), lengthOf(text.length), text]
  return Buffer.concat(parts)
}

const lengthOf = (length: number): Buffer => {
  if (length < 127) return Buffer.from([length])
  const bytes = [127]
  let rest = length - 127
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}
