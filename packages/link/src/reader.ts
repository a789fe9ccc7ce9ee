import { Fault } from '@sluice/core'

export const malformed = (what: string): Fault => new Fault('malformed', `link: ${what}`)

/**
 * One frame's content, as {@link Writer} wrote it. Everything is checked against what is left before it is taken.
 * Every method @throws Fault 'malformed' beyond the end
 */
export class Reader {
  readonly #bytes: Buffer
  readonly #end: number
  #at: number

  constructor(bytes: Buffer, from = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#at = from
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  byte(): number {
    if (this.#at >= this.#end) throw malformed('a frame ends too early')
    return this.#bytes[this.#at++]!
  }

  /** LEB128, 0 … 2^53 − 1. */
  number(): number {
    const first = this.byte()
    if (first < 128) return first
    let value = first & 127
    for (let unit = 128; ; unit *= 128) {
      const byte = this.byte()
      value += (byte & 127) * unit
      if (value > Number.MAX_SAFE_INTEGER) throw malformed('a number is too large')
      if (byte < 128) return value
      if (unit >= 2 ** 49) throw malformed('a number is too long')
    }
  }

  /** How many items follow: each of them takes a byte at least. */
  count(): number {
    const count = this.number()
    if (count > this.left) throw malformed('more items than bytes')
    return count
  }

  /** −1 … 2^53 − 2 */
  offset(): number {
    return this.number() - 1
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#take(8))
  }

  text(): string {
    const length = this.number()
    return length % 2 === 1 ? this.#units((length - 1) / 2) : this.#bytes.toString('utf8', ...this.#range(length / 2))
  }

  /** By hand: Node 24.21 spoils its heap when it makes a long string of UTF-16 that begins at an odd address. */
  #units(length: number): string {
    if (length % 2 === 1) throw malformed('half a character')
    const [from, to] = this.#range(length)
    let text = ''
    for (let at = from; at < to; at += 2) text += String.fromCharCode(this.#bytes.readUInt16BE(at))
    return text
  }

  /** A slice, not a copy. */
  bytes(): Buffer {
    return this.#bytes.subarray(...this.#range(this.number()))
  }

  #take(length: number): number {
    if (length > this.left) throw malformed('a frame ends too early')
    const from = this.#at
    this.#at += length
    return from
  }

  #range(length: number): [number, number] {
    const from = this.#take(length)
    return [from, from + length]
  }
}
