import { Fault } from '@sluice/core'
import type { ArrayValue, Tagged, TypeName, Value } from './values.ts'

const TWO_32 = 0x1_0000_0000

/** Writes values in their shortest form. What it holds is overwritten by the next use: take {@link Writer.copy} first. */
export class Writer {
  #bytes: Buffer
  at = 0

  constructor(size = 512) {
    this.#bytes = Buffer.allocUnsafeSlow(size)
  }

  reset(): this {
    this.at = 0
    return this
  }

  copy(): Buffer {
    const copy = Buffer.allocUnsafe(this.at)
    this.#bytes.copy(copy, 0, 0, this.at)
    return copy
  }

  /** Makes room for so many bytes and returns where they begin. */
  room(length: number): number {
    const at = this.at
    this.at = at + length
    if (this.at > this.#bytes.length) {
      const bigger = Buffer.allocUnsafeSlow(this.at * 2)
      this.#bytes.copy(bigger, 0, 0, at)
      this.#bytes = bigger
    }
    return at
  }

  u8(value: number): void {
    const at = this.room(1)
    this.#bytes[at] = value
  }

  u16(value: number): void {
    const at = this.room(2)
    this.#bytes.writeUInt16BE(value, at)
  }

  u32(value: number): void {
    const at = this.room(4)
    this.#bytes.writeUInt32BE(value, at)
  }

  u32At(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value, at)
  }

  raw(bytes: Buffer): void {
    const at = this.room(bytes.length)
    bytes.copy(this.#bytes, at)
  }

  null(): void {
    this.u8(0x40)
  }

  boolean(value: boolean): void {
    this.u8(value ? 0x41 : 0x42)
  }

  ubyte(value: number): void {
    this.u8(0x50)
    this.u8(value)
  }

  ushort(value: number): void {
    this.u8(0x60)
    this.u16(value)
  }

  uint(value: number): void {
    if (value === 0) return this.u8(0x43)
    if (value < 256) {
      this.u8(0x52)
      return this.u8(value)
    }
    this.u8(0x70)
    this.u32(value)
  }

  ulong(value: number | bigint): void {
    if (value >= 256) {
      this.u8(0x80)
      return this.u64(value)
    }
    if (value === 0 || value === 0n) return this.u8(0x44)
    this.u8(0x53)
    this.u8(Number(value))
  }

  timestamp(value: number | bigint): void {
    this.u8(0x83)
    this.u64(value)
  }

  /** Eight bytes, two's complement. */
  u64(value: number | bigint): void {
    const at = this.room(8)
    if (typeof value === 'bigint') {
      this.#bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at)
      return
    }
    const high = Math.floor(value / TWO_32)
    this.#bytes.writeInt32BE(high | 0, at)
    this.#bytes.writeUInt32BE(value - high * TWO_32, at + 4)
  }

  binary(value: Buffer): void {
    this.#length(0xa0, value.length)
    this.raw(value)
  }

  string(value: string): void {
    // Up to 85 UTF-16 units are 255 bytes at the most, so the length can be filled in afterwards.
    if (value.length > 85) {
      const length = Buffer.byteLength(value)
      this.#length(0xa1, length)
      const at = this.room(length)
      this.#bytes.write(value, at, 'utf8')
      return
    }
    const at = this.room(2 + value.length * 3)
    const written = this.#bytes.write(value, at + 2, 'utf8')
    this.#bytes[at] = 0xa1
    this.#bytes[at + 1] = written
    this.at = at + 2 + written
  }

  symbol(value: string): void {
    this.#length(0xa3, value.length)
    const at = this.room(value.length)
    this.#bytes.write(value, at, 'latin1')
  }

  /** `code` with one byte of length; the form with four has bit 4 set. */
  #length(code: number, length: number): void {
    if (length < 256) {
      this.u8(code)
      return this.u8(length)
    }
    this.u8(code | 0x10)
    this.u32(length)
  }

  /** Begins a list (0xc0) or map (0xc1) and returns its mark for {@link Writer.close}. */
  open(code: 0xc0 | 0xc1): number {
    const mark = this.room(3)
    this.#bytes[mark] = code
    return mark
  }

  /** Ends it; what does not fit one-byte sizes is moved to make room for four-byte ones. */
  close(mark: number, count: number): void {
    const size = this.at - mark - 2
    if (size < 256 && count < 256) {
      this.#bytes[mark + 1] = size
      this.#bytes[mark + 2] = count
      return
    }
    const end = this.at
    this.room(6)
    this.#bytes.copyWithin(mark + 9, mark + 3, end)
    this.#bytes[mark] = this.#bytes[mark]! | 0x10
    this.#bytes.writeUInt32BE(size + 3, mark + 1)
    this.#bytes.writeUInt32BE(count, mark + 5)
  }

  value(value: Value): void {
    if (value === null) return this.null()
    if (typeof value === 'boolean') return this.boolean(value)
    if (typeof value === 'string') return this.string(value)
    if (Buffer.isBuffer(value)) return this.binary(value)
    if (Array.isArray(value)) return this.#list(value)
    this.#tagged(value as Tagged)
  }

  #list(items: readonly Value[]): void {
    if (items.length === 0) return this.u8(0x45)
    const mark = this.open(0xc0)
    for (const item of items) this.value(item)
    this.close(mark, items.length)
  }

  #tagged(tagged: Tagged): void {
    switch (tagged.type) {
      case 'uint':
        return this.uint(tagged.value)
      case 'ulong':
        return this.ulong(tagged.value)
      case 'int':
      case 'long':
        if (tagged.value < -128 || tagged.value > 127) break
        this.u8(tagged.type === 'int' ? 0x54 : 0x55)
        return this.u8(Number(tagged.value) & 0xff)
      case 'symbol':
        return this.symbol(tagged.value)
      case 'described':
        this.u8(0)
        this.value(tagged.descriptor)
        return this.value(tagged.value)
      case 'map': {
        const mark = this.open(0xc1)
        for (const [key, item] of tagged.value) {
          this.value(key)
          this.value(item)
        }
        return this.close(mark, tagged.value.length * 2)
      }
      case 'array':
        this.u8(0xf0)
        return this.#array(tagged)
    }
    this.u8(widest[tagged.type])
    this.#data(tagged.type, tagged)
  }

  /** Size, count, constructor, elements; always with the widest encoding of the element type. */
  #array({ of, descriptor, value }: ArrayValue): void {
    const size = this.room(4)
    this.u32(value.length)
    if (descriptor !== undefined) {
      this.u8(0)
      this.value(descriptor)
    }
    this.u8(widest[of])
    for (const item of value) this.#data(of, item)
    this.u32At(size, this.at - size - 4)
  }

  /** The data that follows the widest constructor of this type. */
  #data(of: TypeName, item: Value): void {
    if (of === 'null') return
    if (of === 'boolean') return this.u8(item ? 1 : 0)
    if (of === 'string' || of === 'binary') {
      const bytes = typeof item === 'string' ? Buffer.from(item) : (item as Buffer)
      this.u32(bytes.length)
      return this.raw(bytes)
    }
    if (of === 'list') return this.#compound(item as readonly Value[])
    const tagged = item as Tagged
    if (tagged.type !== of) throw new Fault('invalid', `an array of ${of} holds a ${tagged.type}`)
    if (tagged.type === 'map') return this.#compound(tagged.value.flat())
    if (tagged.type === 'array') return this.#array(tagged)
    this.#simple(tagged)
  }

  #compound(items: readonly Value[]): void {
    const size = this.room(4)
    this.u32(items.length)
    for (const item of items) this.value(item)
    this.u32At(size, this.at - size - 4)
  }

  #simple(tagged: Exclude<Tagged, { type: 'map' | 'array' | 'described' }>): void {
    switch (tagged.type) {
      case 'ubyte':
      case 'byte':
        return this.u8(tagged.value & 0xff)
      case 'ushort':
      case 'short':
        return this.u16(tagged.value & 0xffff)
      case 'uint':
      case 'int':
      case 'char':
        return this.u32(tagged.value >>> 0)
      case 'float': {
        const at = this.room(4)
        this.#bytes.writeFloatBE(tagged.value, at)
        return
      }
      case 'double': {
        const at = this.room(8)
        this.#bytes.writeDoubleBE(tagged.value, at)
        return
      }
      case 'ulong':
      case 'long':
      case 'timestamp':
        return this.u64(tagged.value)
      case 'symbol': {
        this.u32(tagged.value.length)
        const at = this.room(tagged.value.length)
        this.#bytes.write(tagged.value, at, 'latin1')
        return
      }
      default:
        return this.raw(tagged.value)
    }
  }
}

/** The constructor that takes every value of a type. */
const widest: Readonly<Record<TypeName | 'described', number>> = {
  null: 0x40,
  boolean: 0x56,
  ubyte: 0x50,
  byte: 0x51,
  ushort: 0x60,
  short: 0x61,
  uint: 0x70,
  int: 0x71,
  ulong: 0x80,
  long: 0x81,
  float: 0x72,
  double: 0x82,
  char: 0x73,
  decimal32: 0x74,
  decimal64: 0x84,
  decimal128: 0x94,
  timestamp: 0x83,
  uuid: 0x98,
  binary: 0xb0,
  string: 0xb1,
  symbol: 0xb3,
  list: 0xd0,
  map: 0xd1,
  array: 0xf0,
  described: 0x00,
}
