import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Waiter, Waiters } from './waiters.ts'

class Numbered extends Waiter {
  readonly number: number
  readonly woken: (number: number) => void

  constructor(number: number, woken: (number: number) => void) {
    super()
    this.number = number
    this.woken = woken
  }

  wake(): void {
    this.woken(this.number)
  }
}

const standing = (line: Waiters): number[] => {
  const numbers: number[] = []
  for (let at = line.first; at; at = at.behind) numbers.push((at as Numbered).number)
  return numbers
}

describe('a line of waiters', () => {
  it('keeps the order of joining, whoever leaves', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(5)), { maxLength: 30 }), (steps) => {
        const line = new Waiters()
        const all = Array.from({ length: 6 }, (_, number) => new Numbered(number, () => undefined))
        let expected: number[] = []
        for (const [joins, number] of steps) {
          if (!joins) line.delete(all[number]!)
          else if (!expected.includes(number)) line.add(all[number]!)
          if (!joins) expected = expected.filter((one) => one !== number)
          else if (!expected.includes(number)) expected.push(number)
          expect(standing(line)).toEqual(expected)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('wakes each that stands in it, also when they leave and join again by that', () => {
    const line = new Waiters()
    const woken: number[] = []
    const all = [0, 1, 2].map(
      (number) =>
        new Numbered(number, () => {
          woken.push(number)
          line.delete(all[number]!)
          if (number !== 1) line.add(all[number]!)
        }),
    )
    for (const one of all) line.add(one)
    line.wake()
    expect([woken, standing(line)]).toEqual([
      [0, 1, 2],
      [0, 2],
    ])
  })
})
