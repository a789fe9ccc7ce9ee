import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { flag, flagsOf, hashTag, LEVEL_MAX, QueueIndex } from './queueIndex.ts'

describe('queue index', () => {
  it('answers as a plain list would', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('push' as const), count: fc.integer({ min: 1, max: 3000 }) }),
      fc.record({ do: fc.constant('dropTo' as const), count: fc.integer({ min: 1, max: 6000 }) }),
      fc.record({ do: fc.constant('dropBelow' as const), count: fc.integer({ min: 1, max: 6000 }) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), fc.array(step, { maxLength: 8 }), (start, steps) => {
        const index = new QueueIndex()
        index.startAt(start)
        const list = new Map<number, number>()
        let min = start
        let max = start
        for (const { do: what, count } of steps) {
          if (what === 'push') {
            for (let left = count; left > 0; left--) {
              index.push(max * 10, max % 977, -max, 0)
              list.set(max, max * 10)
              max++
            }
          } else {
            const to = Math.min(max, min + count)
            if (what === 'dropTo') index.dropTo(to)
            else index.dropBelow(to * 10)
            min = to
          }
        }
        expect([index.min, index.max]).toEqual([min, max])
        for (let offset = min; offset < max; offset += 97)
          expect([index.place(offset), index.size(offset), index.tag(offset)]).toEqual([
            offset * 10,
            offset % 977,
            -offset || 0,
          ])
      }),
      { numRuns: 300 },
    )
  })

  it('flags offsets that were lost and goes on behind them', () => {
    const index = new QueueIndex()
    index.push(10, 1, 0, 0)
    index.skipTo(3)
    index.push(20, 1, 0, flag.expires)
    expect([0, 1, 2, 3].map((offset) => index.flags(offset))).toEqual([0, flag.lost, flag.lost, flag.expires])
    expect(index.dropBelow(15)).toBe(true)
    expect(index.min).toBe(3)
  })

  it('keeps the greatest place, size and flags, and any tag', () => {
    const index = new QueueIndex()
    const greatest = flagsOf(true, LEVEL_MAX) | flag.lost
    index.push(2 ** 53 - 1, 2 ** 32 - 1, -(2 ** 31), greatest)
    index.push(2 ** 32, 0, 2 ** 31 - 1, 0)
    expect([index.place(0), index.size(0), index.tag(0), index.flags(0)]).toEqual([
      2 ** 53 - 1,
      2 ** 32 - 1,
      -(2 ** 31),
      greatest,
    ])
    expect([index.place(1), index.size(1), index.tag(1), index.flags(1)]).toEqual([2 ** 32, 0, 2 ** 31 - 1, 0])
  })

  it('hashes tags as RocketMQ does', () => {
    expect([undefined, '', 'TagA', 'a much longer tag'].map(hashTag)).toEqual([0, 0, 2_598_919, 797_604_695])
  })
})
