import { Fault } from '@sluice/core'

const CHUNK = 64 * 1024
/** Larger pieces are not copied: they leave as slices of their own. */
const BESIDE = 4 * 1024
/** Characters of a text whose length takes one byte. */
const SHORT = 63

/**
 * Frames as they leave, one after the other in shared chunks.
 *   frame: u32 length of what follows · type · u32 id · content
 *   number: LEB128 · text: number of bytes × 2, plus 1 where it is no valid Unicode and so UTF-16 BE · bytes: number + raw
 */
export class Writer {
  #parts: Buffer[] = []
  #chunk: Buffer = Buffer.allocUnsafeSlow(CHUNK)
  /** What of the chunk has become parts already. */
  #from = 0
  #at = 0
  /** Bytes of the parts. */
  #behind = 0
  /** Where the open frame's length stands, and what it takes to give the frame up. */
  #head = { chunk: this.#chunk, at: 0, from: 0, parts: 0, behind: 0, before: 0, open: false }

  /** Bytes since the last {@link Writer.take}. */
  get length(): number {
    return this.#behind + this.#at - this.#from
  }

  /** Bytes of the open frame so far. */
  get frameLength(): number {
    return this.length - this.#head.before
  }

  begin(type: number, id: number): this {
    this.#room(9)
    const head = this.#head
    head.chunk = this.#chunk
    head.at = this.#at
    head.from = this.#from
    head.parts = this.#parts.length
    head.behind = this.#behind
    head.before = this.length
    head.open = true
    this.#at = this.#chunk.writeUInt32BE(id, this.#chunk.writeUInt8(type, this.#at + 4))
    return this
  }

  end(): void {
    this.#head.open = false
    this.#head.chunk.writeUInt32BE(this.frameLength - 4, this.#head.at)
  }

  /** A frame that is open is given up: nothing of it leaves. */
  abandon(): void {
    const { chunk, at, from, parts, behind, open } = this.#head
    if (!open) return
    this.#head.open = false
    this.#chunk = chunk
    this.#at = at
    this.#from = from
    this.#parts.length = parts
    this.#behind = behind
  }

  byte(value: number): this {
    this.#room(1)
    this.#chunk[this.#at++] = value
    return this
  }

  /** @throws Fault 'internal' for what is no whole number of 0 … 2^53 − 1 */
  number(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Fault('internal', `link: ${value} cannot travel as a count`)
    this.#room(8)
    let rest = value
    while (rest > 127) {
      this.#chunk[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#chunk[this.#at++] = rest
    return this
  }

  offset(value: number): this {
    return this.number(value + 1)
  }

  double(value: number): this {
    this.#room(8)
    this.#at = this.#chunk.writeDoubleBE(value, this.#at)
    return this
  }

  text(value: string): this {
    if (value.length <= SHORT && this.#short(value)) return this
    if (!value.isWellFormed()) return this.#units(value)
    const length = Buffer.byteLength(value)
    this.number(length * 2)
    this.#room(length)
    this.#at += this.#chunk.write(value, this.#at)
    return this
  }

  /** By hand where that is quicker than two calls out of JavaScript. @returns false: not ASCII; nothing was written */
  #short(value: string): boolean {
    const { length } = value
    this.#room(length + 1)
    const chunk = this.#chunk
    const start = this.#at
    chunk[start] = length * 2
    for (let at = 0; at < length; at++) {
      const unit = value.charCodeAt(at)
      if (unit > 127) return false
      chunk[start + 1 + at] = unit
    }
    this.#at = start + 1 + length
    return true
  }

  #units(value: string): this {
    const units = Buffer.allocUnsafe(value.length * 2)
    for (let at = 0; at < value.length; at++) units.writeUInt16BE(value.charCodeAt(at), at * 2)
    return this.number(units.length * 2 + 1).#raw(units)
  }

  bytes(value: Uint8Array): this {
    return this.number(value.length).#raw(value)
  }

  #raw(value: Uint8Array): this {
    if (value.length < BESIDE) {
      this.#room(value.length)
      this.#chunk.set(value, this.#at)
      this.#at += value.length
      return this
    }
    this.#cut()
    this.#parts.push(Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    this.#behind += value.length
    return this
  }

  /** Everything written so far; the writer goes on empty. */
  take(): Buffer[] {
    this.#cut()
    const parts = this.#parts
    this.#parts = []
    this.#behind = 0
    return parts
  }

  #cut(): void {
    if (this.#at === this.#from) return
    this.#parts.push(this.#chunk.subarray(this.#from, this.#at))
    this.#behind += this.#at - this.#from
    this.#from = this.#at
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return
    this.#cut()
    this.#chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK, bytes))
    this.#from = this.#at = 0
  }
}
