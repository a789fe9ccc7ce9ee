import { isUtf8 } from 'node:buffer'
import { Fault } from '@sluice/core'
import type { ArrayValue, TypeName, Value } from './values.ts'

/** Described, listed, mapped or arrayed within one another. */
export const DEPTH_MAX = 32
/** Values in one frame or one message, counted before any of them is made: elements without width cost no bytes. */
export const VALUES_MAX = 65_536

const TWO_32 = 0x1_0000_0000
const NOT_ASCII = /[^\0-\x7f]/

export const malformed = (message: string): Fault => new Fault('malformed', message, { about: 'value' })

const hex = (code: number): string => `0x${code.toString(16).padStart(2, '0')}`

/**
 * Reads values out of a buffer; every length and count is held against what is there before it is believed.
 *   value      = constructor data
 *   constructor = code u8 | 00 value constructor        (described)
 *   code: 4x no data · 5x 1 byte · 6x 2 · 7x 4 · 8x 8 · 9x 16 · Ax u8 length · Bx u32 length
 *         Cx u8 size, u8 count · Dx u32 size, u32 count · Ex, Fx the same and one constructor for all (arrays)
 * @throws Fault 'malformed' about 'value' for everything that is none
 */
export class Reader {
  readonly bytes: Buffer
  at: number
  end: number
  #depth = 0
  #budget = VALUES_MAX

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  /** Takes `length` bytes; returns where they begin. */
  take(length: number): number {
    const at = this.at
    if (length > this.end - at) throw malformed('a value runs past its end')
    this.at = at + length
    return at
  }

  u8(): number {
    return this.bytes[this.take(1)] as number
  }

  u32(): number {
    const at = this.take(4)
    const { bytes } = this
    return (bytes[at]! * 0x100_0000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!)) >>> 0
  }

  /** The next constructor byte, not taken. */
  peek(): number {
    if (this.at >= this.end) throw malformed('a value is missing')
    return this.bytes[this.at] as number
  }

  spend(values: number): void {
    this.#budget -= values
    if (this.#budget < 0) throw new Fault('tooLarge', `more than ${VALUES_MAX} values`, { about: 'value' })
  }

  enter(): void {
    if (++this.#depth > DEPTH_MAX) throw malformed(`nested deeper than ${DEPTH_MAX}`)
  }

  leave(): void {
    this.#depth--
  }

  value(): Value {
    this.spend(1)
    const code = this.u8()
    if (code !== 0) return this.of(code)
    this.enter()
    const descriptor = this.value()
    const value = this.value()
    this.leave()
    return { type: 'described', descriptor, value }
  }

  /** The data of this constructor. */
  of(code: number): Value {
    switch (code) {
      case 0x40:
        return null
      case 0x41:
        return true
      case 0x42:
        return false
      case 0x56:
        return this.boolean()
      case 0x43:
        return { type: 'uint', value: 0 }
      case 0x44:
        return { type: 'ulong', value: 0 }
      case 0x45:
        return []
      case 0xa0:
        return this.slice(this.u8())
      case 0xb0:
        return this.slice(this.u32())
      case 0xa1:
        return this.string(this.u8())
      case 0xb1:
        return this.string(this.u32())
      case 0xa3:
        return { type: 'symbol', value: this.symbol(this.u8()) }
      case 0xb3:
        return { type: 'symbol', value: this.symbol(this.u32()) }
      case 0xc0:
      case 0xd0:
        return this.list(code)
      case 0xc1:
      case 0xd1:
        return { type: 'map', value: this.pairs(code) }
      case 0xe0:
      case 0xf0:
        return this.array(code)
      default:
        return this.#fixed(code)
    }
  }

  #fixed(code: number): Value {
    const { bytes } = this
    switch (code) {
      case 0x50:
        return { type: 'ubyte', value: this.u8() }
      case 0x51:
        return { type: 'byte', value: bytes.readInt8(this.take(1)) }
      case 0x52:
        return { type: 'uint', value: this.u8() }
      case 0x53:
        return { type: 'ulong', value: this.u8() }
      case 0x54:
        return { type: 'int', value: bytes.readInt8(this.take(1)) }
      case 0x55:
        return { type: 'long', value: bytes.readInt8(this.take(1)) }
      case 0x60:
        return { type: 'ushort', value: bytes.readUInt16BE(this.take(2)) }
      case 0x61:
        return { type: 'short', value: bytes.readInt16BE(this.take(2)) }
      case 0x70:
        return { type: 'uint', value: this.u32() }
      case 0x71:
        return { type: 'int', value: bytes.readInt32BE(this.take(4)) }
      case 0x72:
        return { type: 'float', value: bytes.readFloatBE(this.take(4)) }
      case 0x73:
        return { type: 'char', value: this.#char() }
      case 0x74:
        return { type: 'decimal32', value: this.slice(4) }
      case 0x80:
        return { type: 'ulong', value: this.u64() }
      case 0x81:
        return { type: 'long', value: this.i64() }
      case 0x82:
        return { type: 'double', value: bytes.readDoubleBE(this.take(8)) }
      case 0x83:
        return { type: 'timestamp', value: this.i64() }
      case 0x84:
        return { type: 'decimal64', value: this.slice(8) }
      case 0x94:
        return { type: 'decimal128', value: this.slice(16) }
      case 0x98:
        return { type: 'uuid', value: this.slice(16) }
      default:
        throw malformed(`no type has code ${hex(code)}`)
    }
  }

  boolean(): boolean {
    const byte = this.u8()
    if (byte > 1) throw malformed(`${hex(byte)} is no boolean`)
    return byte === 1
  }

  slice(length: number): Buffer {
    const at = this.take(length)
    return this.bytes.subarray(at, this.at)
  }

  string(length: number): string {
    const at = this.take(length)
    const text = this.bytes.toString('utf8', at, this.at)
    if (text.includes('\ufffd') && !isUtf8(this.bytes.subarray(at, this.at))) throw malformed('a string is not UTF-8')
    return text
  }

  symbol(length: number): string {
    const at = this.take(length)
    const text = this.bytes.toString('latin1', at, this.at)
    if (NOT_ASCII.test(text)) throw malformed('a symbol is not ASCII')
    return text
  }

  #char(): number {
    const point = this.u32()
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw malformed('a char is no Unicode scalar value')
    return point
  }

  u64(): number | bigint {
    const high = this.u32()
    const low = this.u32()
    return high < 0x20_0000 ? high * TWO_32 + low : (BigInt(high) << 32n) | BigInt(low)
  }

  i64(): number | bigint {
    const high = this.u32() | 0
    const low = this.u32()
    const near = high * TWO_32 + low
    return Number.isSafeInteger(near) ? near : (BigInt(high) << 32n) | BigInt(low)
  }

  /** Takes size and count of a compound and narrows `end` to it; {@link Reader.close} wants the old `end` back. */
  open(code: number): number {
    const wide = code >= 0xf0 || (code >= 0xd0 && code < 0xe0)
    const size = wide ? this.u32() : this.u8()
    const from = this.at
    if (size > this.end - from) throw malformed('a compound value runs past its end')
    this.end = from + size
    return wide ? this.u32() : this.u8()
  }

  close(outer: number): void {
    if (this.at !== this.end) throw malformed('a compound value is longer than its elements')
    this.end = outer
  }

  list(code: number): Value[] {
    const outer = this.end
    const count = this.open(code)
    // Each element has a constructor byte at the least, so a count above the bytes is a lie.
    if (count > this.end - this.at) throw malformed('a list announces more elements than it has bytes')
    this.enter()
    const items: Value[] = []
    for (let index = 0; index < count; index++) items.push(this.value())
    this.leave()
    this.close(outer)
    return items
  }

  pairs(code: number): (readonly [Value, Value])[] {
    const outer = this.end
    const count = this.open(code)
    if (count % 2 !== 0 || count > this.end - this.at) throw malformed('a map announces entries that it has not')
    this.enter()
    const pairs: (readonly [Value, Value])[] = []
    for (let index = 0; index < count; index += 2) pairs.push([this.value(), this.value()])
    this.leave()
    this.close(outer)
    return pairs
  }

  array(code: number): ArrayValue {
    const outer = this.end
    const count = this.open(code)
    this.spend(count)
    this.enter()
    let element = this.u8()
    let descriptor: Value | undefined
    if (element === 0) {
      descriptor = this.value()
      element = this.u8()
    }
    const of = typeNames[element]
    if (!of) throw malformed(`no type has code ${hex(element)}`)
    const value: Value[] = []
    for (let index = 0; index < count; index++) value.push(this.of(element))
    this.leave()
    this.close(outer)
    return { type: 'array', of, ...(descriptor !== undefined && { descriptor }), value }
  }
}

/** Of every constructor byte that is one. */
export const typeNames: Readonly<Record<number, TypeName>> = {
  64: 'null',
  65: 'boolean',
  66: 'boolean',
  86: 'boolean',
  67: 'uint',
  82: 'uint',
  112: 'uint',
  68: 'ulong',
  83: 'ulong',
  128: 'ulong',
  69: 'list',
  192: 'list',
  208: 'list',
  80: 'ubyte',
  81: 'byte',
  96: 'ushort',
  97: 'short',
  84: 'int',
  113: 'int',
  85: 'long',
  129: 'long',
  114: 'float',
  130: 'double',
  115: 'char',
  116: 'decimal32',
  132: 'decimal64',
  148: 'decimal128',
  131: 'timestamp',
  152: 'uuid',
  160: 'binary',
  176: 'binary',
  161: 'string',
  177: 'string',
  163: 'symbol',
  179: 'symbol',
  193: 'map',
  209: 'map',
  224: 'array',
  240: 'array',
}
