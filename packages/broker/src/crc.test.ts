import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { crcAround } from './crc.ts'

it('is the CRC of all bytes, whichever part has one already', () => {
  const bytes = Buffer.alloc(20_000, 'seldom the same byte twice in a row: 0123456789')
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { minLength: 4, maxLength: 4 }), (places) => {
      const [from, partFrom, partTo, to] = places.sort((a, b) => a - b) as [number, number, number, number]
      const part = { from: partFrom, to: partTo, crc: crc32(bytes.subarray(partFrom, partTo)) }
      expect(crcAround(bytes, from, to, part)).toBe(crc32(bytes.subarray(from, to)))
    }),
    { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) },
  )
})
