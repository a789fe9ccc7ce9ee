import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BytesReader, BytesWriter } from './bytes.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)

describe('bytes', () => {
  it('come back as they were written', () => {
    const item = fc.oneof(
      fc.record({
        kind: fc.constant('number' as const),
        value: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER - 1 }),
      }),
      fc.record({ kind: fc.constant('text' as const), value: fc.string({ unit: 'grapheme', maxLength: 20 }) }),
      fc.record({ kind: fc.constant('maybe' as const), value: fc.option(fc.string(), { nil: undefined }) }),
      fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
      fc.record({ kind: fc.constant('flag' as const), value: fc.boolean() }),
    )
    fc.assert(
      fc.property(fc.array(item, { maxLength: 8 }), (items) => {
        const writer = new BytesWriter(1)
        for (const { kind, value } of items) (writer[kind] as (value: unknown) => unknown).call(writer, value)
        const reader = new BytesReader(writer.done())
        expect(items.map(({ kind }) => reader[kind]())).toEqual(items.map(({ value }) => value))
        expect(reader.left).toBe(0)
      }),
      { numRuns },
    )
  })

  it('refuses to read beyond the end', () => {
    const reader = new BytesReader(new BytesWriter().number(100).done())
    expect(() => reader.text()).toThrow(RangeError)
    expect(() => new BytesReader(Buffer.alloc(0)).byte()).toThrow(RangeError)
  })
})
