import { setImmediate } from 'node:timers/promises'
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

  it('are trusted not to change: who joins them again in the same turn gets the bytes of the first time', () => {
    const list = [Buffer.from('one '), Buffer.from('two')]
    const whole = joined(list, 7)
    list[0]!.fill('x')
    expect(joined(list, 7)).toBe(whole)
    expect(whole.toString()).toBe('one two')
  })

  it('are not kept beyond the turn', async () => {
    const list = [Buffer.from('a'), Buffer.from('b')]
    const whole = joined(list, 2)
    await setImmediate()
    expect(joined(list, 2)).not.toBe(whole)
  })
})
