import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { flag, flagsOf, hashTag, LEVEL_MAX, newShelf, QueueIndex } from './queueIndex.ts'

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

  it('keeps apart what many have on one shelf, as they grow, begin elsewhere and leave it', () => {
    const step = fc.record({
      of: fc.nat(3),
      do: fc.constantFrom('push', 'push', 'push', 'startAt', 'leave', 'dropTo'),
      count: fc.integer({ min: 1, max: 20 }),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
        const shelf = newShelf()
        const queues = Array.from({ length: 4 }, () => ({
          index: new QueueIndex(shelf),
          list: new Map<number, number>(),
        }))
        let place = 0
        for (const { of, do: what, count } of steps) {
          const { index, list } = queues[of]!
          if (what === 'leave') index.leaveShelf()
          else if (what === 'dropTo') index.dropTo(Math.min(index.max, index.min + count))
          else if (what === 'startAt') {
            index.startAt(index.max + count)
            list.clear()
          } else
            for (let left = count; left > 0; left--) {
              list.set(index.max, place)
              index.push(place++, of, -of, 0)
            }
        }
        for (const [of, { index, list }] of queues.entries())
          for (let offset = index.min; offset < index.max; offset++)
            expect([index.place(offset), index.size(offset), index.tag(offset)]).toEqual([
              list.get(offset),
              of,
              -of || 0,
            ])
      }),
      { numRuns: 500 },
    )
  })

  it('has a small array again once its last full one is dropped', () => {
    const index = new QueueIndex()
    for (let at = 0; at < 4096; at++) index.push(at, 1, 0, 0)
    index.dropTo(4096)
    index.push(5000, 7, 0, 0)
    expect([index.min, index.max, index.place(4096), index.size(4096)]).toEqual([4096, 4097, 5000, 7])
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
