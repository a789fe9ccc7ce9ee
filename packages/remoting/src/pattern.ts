import type { Frame } from './frame.ts'

/**
 * A JSON header that was read, as what the next one of its kind is held against. A client's headers differ in `opaque` and
 * in values of extFields; all between is compared byte by byte, which costs a quarter of what JSON.parse does.
 */
export class Pattern {
  readonly #bytes: Buffer
  readonly #slots: readonly Slot[]
  readonly #frame: Frame
  readonly #ext: Record<string, string>

  private constructor(bytes: Buffer, slots: readonly Slot[], frame: Frame) {
    this.#bytes = bytes
    this.#slots = slots
    this.#frame = frame
    this.#ext = { ...frame.ext }
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
    const pattern = this.#bytes
    let at = from
    let known = 0
    let opaque = 0
    // Those that differ are remembered by it as the likeliest to come again.
    const ext = this.#ext
    for (const slot of this.#slots) {
      while (known < slot.from) if (pattern[known++] !== bytes[at++]) return undefined
      if (slot.name === undefined) {
        at = readInt(bytes, at, to)
        if (at < 0) return undefined
        opaque = int
      } else {
        const end = readText(bytes, at, to, slot.last)
        if (end < 0) return undefined
        if (text !== undefined) ext[slot.name] = slot.last = text
        at = end
      }
      known = slot.to
    }
    while (known < pattern.length) if (pattern[known++] !== bytes[at++]) return undefined
    if (at !== to) return undefined
    const { code, language, version, flag } = this.#frame
    return body
      ? { code, language, version, opaque, flag, ext: { ...ext }, binary: false, body }
      : { code, language, version, opaque, flag, ext: { ...ext }, binary: false }
  }
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
  /** The value that was read last. */
  last: string
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const ZERO = 0x30
const MINUS = 0x2d

// ── Values ────────────────────────────────────────────────────────────────────────────────────

/** What {@link readInt} read. */
let int = 0
/** What {@link readText} read; undefined: the same as last time. */
let text: string | undefined

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

/** ASCII alone. @returns where its quote stands; −1: there is more to it */
const readText = (bytes: Buffer, from: number, to: number, last: string): number => {
  let same = true
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE) {
      text = same && last.length === at - from ? undefined : textOf(bytes, from, at)
      return at
    }
    if (byte === BACKSLASH) return readEscaped(bytes, from, at, to)
    if (byte < 0x20 || byte > 0x7e) return -1
    if (same && last.charCodeAt(at - from) !== byte) same = false
  }
  return -1
}

const textOf = (bytes: Buffer, from: number, to: number): string =>
  to === from + 1 ? String.fromCharCode(bytes[from]!) : bytes.toString('latin1', from, to)

const plain = Buffer.alloc(BYTES_MAX * 4)

const readEscaped = (bytes: Buffer, from: number, first: number, to: number): number => {
  if (to - from > plain.length) return -1
  let length = first - from
  bytes.copy(plain, 0, from, first)
  for (let at = first; at < to; at++) {
    let byte = bytes[at]!
    if (byte === QUOTE) {
      text = plain.toString('latin1', 0, length)
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
      slots.push({ name: undefined, from: at - found[3].length, to: at, last: '' })
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
    slots.push({ name, from: at - 1 - (found[3] as string).length, to: at - 1, last: ext[name] as string })
  }
  return at + 1
}
