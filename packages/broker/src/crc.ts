import { crc32 } from 'node:zlib'
import type { Room, Summed } from '@sluice/remoting'

/**
 * CRC-32 of bytes of which a part has one already, without reading that part again.
 * A CRC is a polynomial over GF(2) modulo P, lowest bit first; n bytes behind it multiply it by x^(8n).
 * Source: zlib, crc32_combine.
 */
const P = 0xedb8_8320
const ONE = 0x8000_0000

/** Without branches: what they would turn on is as good as random. */
const multiply = (a: number, b: number): number => {
  let product = 0
  for (let bit = 0; bit < 32; bit++) {
    product ^= b & (a >> 31)
    a <<= 1
    b = (b >>> 1) ^ (P & -(b & 1))
  }
  return product >>> 0
}

/** x^(2^k) */
const squares: number[] = [0x4000_0000]
for (let k = 1; k < 32; k++) squares.push(multiply(squares[k - 1]!, squares[k - 1]!))

const shiftOf = (bytes: number): number => {
  let shift = ONE
  for (let left = bytes, k = 3; left > 0; left = Math.floor(left / 2), k++)
    if (left % 2 === 1) shift = multiply(squares[k % 32]!, shift)
  return shift
}

/** What is known of usual lengths; 0: nothing yet. */
const shifts = new Uint32Array(8192)

const shiftBy = (bytes: number): number => {
  if (bytes >= shifts.length) return shiftOf(bytes)
  let shift = shifts[bytes]!
  if (shift === 0) shifts[bytes] = shift = shiftOf(bytes)
  return shift
}

/** A shorter part is sooner read again. */
const WORTH_BYTES = 96

/** Of the bytes from `from` to `to`, of which `part` has one. */
export const crcAround = (room: Room, from: number, to: number, part: Summed): number => {
  const length = part.to - part.from
  if (length < WORTH_BYTES) return crcOf(room, from, to)
  const before = crcOf(room, from, part.from)
  const through = (multiply(shiftBy(length), before) ^ part.crc) >>> 0
  return crcOf(room, part.to, to, through)
}

/** So few bytes cost less here than a slice and a call out. */
const FEW_BYTES = 256

/** As zlib's `crc32` has it of the bytes from `from` to `to`. */
export const crcOf = ({ bytes, view }: Room, from: number, to: number, before = 0): number => {
  if (to - from > FEW_BYTES) return crc32(bytes.subarray(from, to), before)
  let crc = ~before
  let at = from
  for (; at + 4 <= to; at += 4) {
    crc ^= view.getInt32(at, true)
    crc = table3[crc & 0xff]! ^ table2[(crc >>> 8) & 0xff]! ^ table1[(crc >>> 16) & 0xff]! ^ table0[crc >>> 24]!
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ table0[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}

/** Of one byte, and of one byte before `more` bytes of 0. Source: zlib, crc32_z. */
const tableOf = (more: number): Int32Array =>
  Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte
    for (let bit = 0; bit < 8 * (1 + more); bit++) crc = crc & 1 ? (crc >>> 1) ^ P : crc >>> 1
    return crc
  })
const table0 = tableOf(0)
const table1 = tableOf(1)
const table2 = tableOf(2)
const table3 = tableOf(3)
