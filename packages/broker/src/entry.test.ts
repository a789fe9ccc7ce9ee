import { roomOf } from '@sluice/remoting'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CONTROL, findEntry, HEADER, openEntry, sealEntry } from './entry.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)

const control = (body: Uint8Array): Buffer => {
  const payload = Buffer.concat([Buffer.alloc(8), body])
  payload.writeUInt32BE(CONTROL, 4)
  return payload
}
const seal = (payload: Buffer, position: number, chained: boolean): Buffer => {
  const entry = Buffer.concat([Buffer.alloc(HEADER), payload])
  sealEntry(roomOf(entry), HEADER, payload.length, position + HEADER, chained)
  return entry
}

const any = fc.record({
  payload: fc.uint8Array({ maxLength: 30 }).map(control),
  position: fc.integer({ min: 0, max: 2 ** 52 }),
  chained: fc.boolean(),
})

describe('entry', () => {
  it('opens where it was sealed and nowhere else', () => {
    fc.assert(
      fc.property(any, fc.integer({ min: 1, max: 2 ** 40 }), ({ payload, position, chained }, away) => {
        const entry = seal(payload, position, chained)
        expect(openEntry(entry, 0, position)).toEqual({ place: position + HEADER, payload, chained })
        expect(openEntry(entry, 0, position + away)).toBeUndefined()
      }),
      { numRuns },
    )
  })

  it('does not open with any bit changed or any byte missing', () => {
    fc.assert(
      fc.property(any, fc.nat(), ({ payload, position, chained }, where) => {
        const entry = seal(payload, position, chained)
        expect(openEntry(entry.subarray(0, where % entry.length), 0, position)).toBeUndefined()
        const bit = where % (entry.length * 8)
        entry[bit >> 3]! ^= 1 << (bit & 7)
        expect(openEntry(entry, 0, position)).toBeUndefined()
      }),
      { numRuns },
    )
  })

  it('is found behind any rubbish, and no rubbish is taken for one', () => {
    fc.assert(
      fc.property(any, fc.uint8Array({ maxLength: 60 }), ({ payload, position, chained }, rubbish) => {
        const all = Buffer.concat([rubbish, seal(payload, position, chained)])
        const start = position - rubbish.length
        if (start >= 0) expect(findEntry(all, 0, start)).toBe(rubbish.length)
        expect(findEntry(Buffer.from(rubbish), 0, 0)).toBe(-1)
      }),
      { numRuns },
    )
  })
})
