import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RetainedTopics } from './retained.ts'

type Step = readonly [topic: number, what: 'set' | 'clear' | 'move']

describe('what is retained', () => {
  it('stands in the order in which it was first stored, whatever is replaced, cleared and moved', () => {
    const step = fc.tuple(fc.nat(200), fc.constantFrom<Step[1]>('set', 'set', 'clear', 'move'))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2_000, size: 'max' }), (steps) => {
        const topics = new RetainedTopics()
        const expected = new Map<string, { at: number; place: number; size: number }>()
        for (const [index, [topic, what]] of steps.entries()) {
          const full = `t/${topic}`
          const place = 100 + index * 10
          const before = expected.get(full)
          if (what === 'move') {
            topics.moved(full, before?.place ?? 0, place, 7)
            if (before) expected.set(full, { at: before.at, place, size: 7 })
            continue
          }
          expected.delete(full)
          if (what === 'clear') topics.delete(full)
          else {
            topics.set(full, place, 5)
            expected.set(full, { at: place, place, size: 5 })
          }
        }
        const sorted = [...expected].sort(([, one], [, other]) => one.at - other.at)
        expect([...topics].map(({ full, at, place, size }) => [full, { at, place, size }])).toEqual(sorted)
        expect([topics.size, topics.newest]).toEqual([sorted.length, sorted.at(-1)?.[1].at ?? -1])
        expect(topics.inOrder.length).toBeLessThanOrEqual(Math.max(65, 2 * topics.size) + 65)
      }),
      { numRuns: 100 },
    )
  })

  it('is in order again after a recovery that met some of it twice', () => {
    const topics = new RetainedTopics()
    for (const [full, at] of [
      ['a', 10],
      ['b', 40],
      ['a', 20],
      ['c', 30],
      ['b', 40],
    ] as const)
      topics.set(full, at, 1)
    expect([...topics].map(({ full, at }) => [full, at])).toEqual([
      ['a', 20],
      ['c', 30],
      ['b', 40],
    ])
    expect(topics.behind(20)).toBe(topics.inOrder.findIndex(({ full }) => full === 'c'))
  })

  it('may be gone through while it changes', () => {
    const topics = new RetainedTopics()
    for (let at = 0; at < 300; at++) topics.set(`t/${at}`, at, 1)
    const seen: string[] = []
    for (const { full, at } of topics) {
      seen.push(full)
      for (let other = at + 1; at % 3 === 0 && other < at + 3; other++) topics.delete(`t/${other}`)
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, at) => `t/${at * 3}`))
  })
})
