import { isUtf8 } from 'node:buffer'
import { Fault } from '@sluice/core'

/** Bytes that are no packet: reason 0x81. */
export const malformed = (message: string): Fault => new Fault('malformed', message)
/** A packet that may not stand here: reason 0x82. */
export const violation = (message: string): Fault => new Fault('malformed', message, { about: 'protocol' })

/** Reads forward over the bytes of one packet. Every method throws Fault 'malformed' rather than read past the end. */
export class Cursor {
  readonly #bytes: Buffer
  #at = 0
  #end: number

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#end = bytes.length
  }

  get left(): number {
    return this.#end - this.#at
  }

  /** u8 */
  byte(): number {
    this.#need(1)
    return this.#bytes[this.#at++]!
  }

  /** u16, big-endian */
  short(): number {
    this.#need(2)
    const value = this.#bytes.readUInt16BE(this.#at)
    this.#at += 2
    return value
  }

  /** u32, big-endian */
  long(): number {
    this.#need(4)
    const value = this.#bytes.readUInt32BE(this.#at)
    this.#at += 4
    return value
  }

  /** 1 to 4 bytes, 7 bits each, lowest first, in the shortest form [MQTT-1.5.5-1] */
  variable(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte & 0x80) continue
      if (byte === 0 && shift > 0) throw malformed('a length is not in its shortest form')
      return value
    }
    throw malformed('a length has over four bytes')
  }

  /** u16 length + bytes */
  binary(): Buffer {
    return this.take(this.short())
  }

  /** u16 length + UTF-8 without surrogates and U+0000 [MQTT-1.5.4-1, -2; 3.1.1: MQTT-1.5.3-1, -2] */
  text(): Buffer {
    const bytes = this.binary()
    if (!isUtf8(bytes)) throw malformed('text is not UTF-8')
    if (bytes.includes(0)) throw malformed('text has U+0000')
    return bytes
  }

  take(length: number): Buffer {
    this.#need(length)
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  /** Nothing may follow. */
  done(): void {
    if (this.#at !== this.#end) throw malformed('bytes after the end of the packet')
  }

  #need(length: number): void {
    if (this.#end - this.#at < length) throw malformed('a field reaches beyond its packet')
  }
}
