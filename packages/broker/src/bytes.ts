/** Texts of so many characters have a length of one byte. */
const SHORT = 100

/**
 * The compact form of control events, snapshots and sidecars.
 *   number: LEB128 of value + 1, 0 … 2^53 − 1, so that −1 is one byte too · text: number of bytes + UTF-8 · bytes: number + raw
 */
export class BytesWriter {
  #bytes: Buffer
  #at = 0

  constructor(room = 256) {
    this.#bytes = Buffer.allocUnsafe(room)
  }

  get length(): number {
    return this.#at
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const bigger = Buffer.allocUnsafe((this.#at + bytes) * 2)
    this.#bytes.copy(bigger, 0, 0, this.#at)
    this.#bytes = bigger
  }

  byte(value: number): this {
    this.#room(1)
    this.#bytes[this.#at++] = value
    return this
  }

  /** −1 … 2^53 − 2 */
  number(value: number): this {
    this.#room(8)
    let rest = value + 1
    while (rest > 127) {
      this.#bytes[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#at++] = rest
    return this
  }

  u32(value: number): this {
    this.#room(4)
    this.#at = this.#bytes.writeUInt32BE(value >>> 0, this.#at)
    return this
  }

  flag(value: boolean): this {
    return this.byte(value ? 1 : 0)
  }

  text(value: string): this {
    if (value.length <= SHORT && this.#ascii(value)) return this
    const length = Buffer.byteLength(value)
    this.number(length)
    this.#room(length)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  /** Most texts are short names: they are written without a call that leaves JavaScript. */
  #ascii(value: string): boolean {
    const { length } = value
    this.#room(length + 2)
    const bytes = this.#bytes
    const from = this.#at + 1
    for (let at = 0; at < length; at++) {
      const code = value.charCodeAt(at)
      if (code > 127) return false
      bytes[from + at] = code
    }
    bytes[this.#at] = length + 1
    this.#at = from + length
    return true
  }

  /** A text or nothing. */
  maybe(value: string | undefined): this {
    return value === undefined ? this.byte(0) : this.byte(1).text(value)
  }

  bytes(value: Uint8Array): this {
    this.number(value.length)
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
    return this
  }

  /** Room for so many raw bytes, to be filled by who asked before anything else is written. @returns where in {@link raw} */
  reserve(length: number): number {
    this.#room(length)
    const at = this.#at
    this.#at += length
    return at
  }

  get raw(): Buffer {
    return this.#bytes
  }

  done(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }
}

/** Reading beyond the end throws a RangeError: its callers check a CRC first, so that it means a mistake of ours. */
export class BytesReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#at++)
  }

  number(): number {
    let value = 0
    for (let unit = 1; ; unit *= 128) {
      const byte = this.byte()
      value += (byte & 127) * unit
      if (byte < 128) return value - 1
    }
  }

  u32(): number {
    const value = this.#bytes.readUInt32BE(this.#at)
    this.#at += 4
    return value
  }

  flag(): boolean {
    return this.byte() === 1
  }

  text(): string {
    return this.#take(this.number()).toString('utf8')
  }

  maybe(): string | undefined {
    return this.flag() ? this.text() : undefined
  }

  /** A slice, not a copy. */
  bytes(): Buffer {
    return this.#take(this.number())
  }

  /** Calls `read` as often as the number that stands here says. */
  list<T>(read: (index: number) => T): T[] {
    const count = this.number()
    const items: T[] = []
    for (let index = 0; index < count; index++) items.push(read(index))
    return items
  }

  #take(length: number): Buffer {
    if (length > this.left) throw new RangeError('beyond the end')
    const from = this.#at
    this.#at += length
    return this.#bytes.subarray(from, this.#at)
  }
}
