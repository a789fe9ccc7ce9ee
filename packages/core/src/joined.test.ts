import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joined } from './joined.ts'

const parts = ['', 'a', 'a', 'bc', 'def'].map((text) => Buffer.from(text))

describe('parts', () => {
  it('are joined to what they are, whichever were joined before', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.constantFrom(...parts), { maxLength: 4 }), { maxLength: 6 }), (lists) => {
        for (const list of lists) {
          const whole = Buffer.concat(list)
          expect(joined(list, whole.length).equals(whole)).toBe(true)
          expect(joined([...list], whole.length)).toBe(joined(list, whole.length))
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
