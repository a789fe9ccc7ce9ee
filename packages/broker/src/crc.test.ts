import { crc32 } from 'node:zlib'
import { roomOf } from '@sluice/remoting'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { crcAround, crcOf } from './crc.ts'

it('is the CRC of all bytes, whichever part has one already', () => {
  const bytes = Buffer.alloc(20_000, 'seldom the same byte twice in a row: 0123456789')
  const room = roomOf(bytes)
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { minLength: 4, maxLength: 4 }), (places) => {
      const [from, partFrom, partTo, to] = places.sort((a, b) => a - b) as [number, number, number, number]
      const part = { from: partFrom, to: partTo, crc: crc32(bytes.subarray(partFrom, partTo)) }
      expect(crcAround(room, from, to, part)).toBe(crc32(bytes.subarray(from, to)))
    }),
    { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) },
  )
})

it('is that of zlib for few bytes and for many, alone and behind others', () => {
  const bytes = Buffer.from(Array.from({ length: 600 }, (_, at) => (at * 167) ^ (at >> 3)))
  const room = roomOf(bytes)
  for (let length = 0; length < 260; length++) {
    const to = 7 + length
    expect(crcOf(room, 7, to)).toBe(crc32(bytes.subarray(7, to)))
    expect(crcOf(room, 7, to, crcOf(room, 0, 7))).toBe(crc32(bytes.subarray(0, to)))
  }
})
