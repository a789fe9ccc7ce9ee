import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SmallMap, SmallSet } from './small.ts'

const step = fc.tuple(fc.constantFrom('set', 'delete', 'clear' as const), fc.integer({ min: 0, max: 3 }), fc.nat(9))

describe('a small map', () => {
  it('is a Map, and a small set a Set', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const [small, map] = [new SmallMap<number, number>(), new Map<number, number>()]
        const [few, set] = [new SmallSet<number>(), new Set<number>()]
        for (const [what, key, value] of steps) {
          if (what === 'clear') {
            small.clear()
            map.clear()
          } else if (what === 'set') {
            small.set(key, value)
            map.set(key, value)
            few.add(key)
            set.add(key)
          } else {
            expect(small.delete(key)).toBe(map.delete(key))
            expect(few.delete(key)).toBe(set.delete(key))
          }
          expect([small.size, small.has(key), small.get(key)]).toEqual([map.size, map.has(key), map.get(key)])
          expect([[...small], [...small.keys()], [...small.values()]]).toEqual([
            [...map],
            [...map.keys()],
            [...map.values()],
          ])
          expect([few.size, few.has(key), [...few]]).toEqual([set.size, set.has(key), [...set]])
        }
      }),
      { numRuns: 500 },
    )
  })
})
