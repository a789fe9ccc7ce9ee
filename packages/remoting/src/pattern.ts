import type { Frame } from './frame.ts'

/**
 * A JSON header that was read, as what the next one of its kind is held against, four bytes at once. A client's headers differ
 * in `opaque` and in values of extFields: where one is not as it was, it is read. All that costs a tenth of what
 * JSON.parse does.
 */
export class Pattern {
  readonly #bytes: Buffer
  readonly #words: DataView
  readonly #slots: readonly Slot[]
  readonly #frame: Frame

  private constructor(bytes: Buffer, slots: readonly Slot[], frame: Frame) {
    this.#bytes = bytes
    this.#words = wordsOf(bytes)
    this.#slots = slots
    this.#frame = { ...frame, ext: { ...frame.ext } }
  }

  /** Of a header that was read as `frame`. Undefined: it is not as plain as clients write them, or too long to be kept. */
  static of(bytes: Buffer, from: number, to: number, frame: Frame): Pattern | undefined {
    if (to - from > BYTES_MAX || frame.remark !== undefined) return undefined
    const own = Buffer.from(bytes.subarray(from, to))
    const slots = slotsOf(own, frame.ext)
    return slots && new Pattern(own, slots, frame)
  }

  /** Undefined: this header is another one; nothing is said about whether it is one at all. */
  read(bytes: Buffer, from: number, to: number, body: Buffer | undefined): Frame | undefined {
    const { code, language, version, flag, ext: usual } = this.#frame
    let { opaque } = this.#frame
    const ext = { ...usual }
    const slots = this.#slots
    let next = 0
    let known = 0
    let at = from
    for (;;) {
      const same = this.#same(known, bytes, at, to)
      known += same
      at += same
      if (known === this.#bytes.length) break
      while (next < slots.length && slots[next]!.to < known) next++
      const slot = slots[next++]
      if (!slot || slot.from > known) return undefined
      at =
        slot.name === undefined
          ? readInt(bytes, at - known + slot.from, to)
          : readText(bytes, at - known + slot.from, to)
      if (at < 0) return undefined
      if (slot.name === undefined) opaque = int
      else ext[slot.name] = text
      known = slot.to
    }
    if (at !== to) return undefined
    return body
      ? { code, language, version, opaque, flag, ext, binary: false, body }
      : { code, language, version, opaque, flag, ext, binary: false }
  }

  /** How many bytes are the same from here on in both. */
  #same(known: number, bytes: Buffer, from: number, to: number): number {
    const pattern = this.#bytes
    const most = Math.min(pattern.length - known, to - from)
    const ours = this.#words
    const theirs = lastWordsOf(bytes)
    let same = 0
    while (same + 4 <= most && ours.getUint32(known + same) === theirs.getUint32(from + same)) same += 4
    while (same < most && pattern[known + same] === bytes[from + same]) same++
    return same
  }
}

const wordsOf = ({ buffer, byteOffset, length }: Buffer): DataView => new DataView(buffer, byteOffset, length)

let lastBytes: Buffer = Buffer.alloc(0)
let lastWords = wordsOf(lastBytes)

/** Headers come one behind the other in the bytes of one read. */
const lastWordsOf = (bytes: Buffer): DataView => {
  if (bytes !== lastBytes) {
    lastBytes = bytes
    lastWords = wordsOf(bytes)
  }
  return lastWords
}

/**
 * What the headers of one connection look like. Nothing is kept of a kind that came once, and little is tried where no
 * header is like another.
 */
export class Patterns {
  /** The one that was met last is the first. */
  readonly #list: Pattern[] = []
  /** Code of the last header that was none of them. */
  #code: number | undefined
  #credit = CREDIT

  read(bytes: Buffer, from: number, to: number, body: Buffer | undefined): Frame | undefined {
    const list = this.#list
    for (let at = 0; at < list.length; at++) {
      const pattern = list[at]!
      const frame = pattern.read(bytes, from, to, body)
      if (!frame) continue
      if (at > 0) {
        list[at] = list[0]!
        list[0] = pattern
      }
      if (this.#credit < CREDIT) this.#credit++
      return frame
    }
    return undefined
  }

  /** This header was none of them. */
  learn(bytes: Buffer, from: number, to: number, frame: Frame): void {
    const again = frame.code === this.#code
    this.#code = frame.code
    if (!again || this.#credit <= 0) return
    this.#credit--
    const pattern = Pattern.of(bytes, from, to, frame)
    if (!pattern) return
    if (this.#list.length >= PATTERNS_MAX) this.#list.pop()
    this.#list.unshift(pattern)
  }
}

const PATTERNS_MAX = 4
const CREDIT = 16
/** Longer headers are not kept. */
const BYTES_MAX = 1024

interface Slot {
  /** Undefined: opaque. */
  readonly name: string | undefined
  /** Where its value stands in the pattern, quotes left out. */
  readonly from: number
  readonly to: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const ZERO = 0x30
const MINUS = 0x2d

// ── Values ────────────────────────────────────────────────────────────────────────────────────

/** What {@link readInt} read. */
let int = 0
/** What {@link readText} read. */
let text = ''

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= ZERO && byte <= ZERO + 9

/** Up to nine digits. @returns where it ends; −1: it is none of these */
const readInt = (bytes: Buffer, from: number, to: number): number => {
  const negative = bytes[from] === MINUS
  const first = negative ? from + 1 : from
  let at = first
  let value = 0
  for (; at < to && isDigit(bytes[at]); at++) value = value * 10 + bytes[at]! - ZERO
  if (at === first || at - first > 9 || (bytes[first] === ZERO && at > first + 1)) return -1
  // JSON.parse makes -0 of it, which is no opaque that anybody means.
  if (negative && value === 0) return -1
  int = negative ? -value : value
  return at
}

const plain = Buffer.alloc(BYTES_MAX * 4)

/** ASCII, or what stands for it. @returns where its quote stands; −1: there is more to it */
const readText = (bytes: Buffer, from: number, to: number): number => {
  const end = Math.min(to, from + plain.length)
  let length = 0
  for (let at = from; at < end; at++) {
    let byte = bytes[at]!
    if (byte === QUOTE) {
      text = length === 1 ? String.fromCharCode(plain[0]!) : plain.toString('latin1', 0, length)
      return at
    }
    if (byte === BACKSLASH) {
      byte = escaped(bytes, ++at)
      if (byte < 0) return -1
      if (bytes[at] === U) at += 4
    } else if (byte < 0x20 || byte > 0x7e) return -1
    plain[length++] = byte
  }
  return -1
}

const U = 0x75

/** The ASCII character that `\u00xx`, `\"`, `\\` and `\/` mean; −1: another escape. */
const escaped = (bytes: Buffer, at: number): number => {
  const byte = bytes[at]
  if (byte === QUOTE || byte === BACKSLASH || byte === 0x2f) return byte
  if (byte !== U || bytes[at + 1] !== ZERO || bytes[at + 2] !== ZERO) return -1
  const high = hex(bytes[at + 3])
  const low = hex(bytes[at + 4])
  return high < 0 || high > 7 || low < 0 ? -1 : high * 16 + low
}

const hex = (byte: number | undefined): number => {
  if (byte === undefined) return -1
  if (isDigit(byte)) return byte - ZERO
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1
}

// ── The plain form ────────────────────────────────────────────────────────────────────────────

/**
 * Where opaque and the values of extFields stand in a header that is JSON; undefined unless it is an object without blanks,
 * its names plain and each there once, extFields an object of texts.
 */
const slotsOf = (bytes: Buffer, ext: Frame['ext']): Slot[] | undefined => {
  const header = bytes.toString('latin1')
  const slots: Slot[] = []
  const seen = new Set<string>()
  const top = /([{,])"(\w+)":(?:(-?\d+)|"[^"\\]*"|(\{)|null|true|false)/y
  let at = 0
  while (at < header.length - 1) {
    top.lastIndex = at
    const found = top.exec(header)
    const name = found?.[2]
    if (!found || name === undefined || (found[1] === '{') !== (at === 0) || seen.has(name)) return undefined
    seen.add(name)
    at = top.lastIndex
    if (name === 'opaque') {
      if (found[3] === undefined) return undefined
      slots.push({ name: undefined, from: at - found[3].length, to: at })
    }
    if (found[4] === undefined) continue
    at = name === 'extFields' ? fieldsOf(header, at, ext, slots) : -1
    if (at < 0) return undefined
  }
  return header[at] === '}' && at === header.length - 1 && seen.has('opaque') ? slots : undefined
}

/** @param from behind the brace @returns where it goes on behind the other one; −1: not plain */
const fieldsOf = (header: string, from: number, ext: Frame['ext'], slots: Slot[]): number => {
  // Names as objects have them: others are looked up among all names each time they are stored under.
  const names = Object.keys(ext)
  const entry = /(,?)"([^"\\]+)":"((?:[^"\\]|\\.)*)"/y
  const seen = new Set<string>(['__proto__'])
  let at = from
  while (header[at] !== '}') {
    entry.lastIndex = at
    const found = entry.exec(header)
    const name = names.find((one) => one === found?.[2])
    if (!found || name === undefined || (found[1] === '') !== (at === from) || seen.has(name)) return -1
    if (/[^\x20-\x7e]/.test(name)) return -1
    seen.add(name)
    at = entry.lastIndex
    slots.push({ name, from: at - 1 - (found[3] as string).length, to: at - 1 })
  }
  return at + 1
}
