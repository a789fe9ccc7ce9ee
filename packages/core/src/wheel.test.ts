import { fakeClock } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { effort } from '../test/effort.ts'
import { Wheel } from './wheel.ts'

const make = (tick = 100) => {
  const clock = fakeClock(1_000_050)
  return { clock, wheel: new Wheel(clock, tick) }
}

describe('wheel', () => {
  it('runs an entry at its time or up to two ticks later, never earlier', () => {
    const { clock, wheel } = make()
    for (const delay of [0, 1, 49, 50, 51, 99, 100, 101, 12_345]) {
      const at = clock.now() + delay
      let ran: number | undefined
      wheel.at(at, () => (ran = clock.now()))
      while (ran === undefined) clock.advance(1)
      expect(ran).toBeGreaterThanOrEqual(at)
      expect(ran).toBeLessThanOrEqual(at + 200)
    }
  })

  it('runs what is already past at the next tick', () => {
    const { clock, wheel } = make()
    let ran = 0
    wheel.at(5, () => ran++)
    expect(ran).toBe(0)
    clock.advance(100)
    expect(ran).toBe(1)
    clock.advance(100_000)
    expect(ran).toBe(1)
  })

  it('sleeps until something is due, a second at most, and not at all while it is empty', () => {
    const { clock, wheel } = make()
    const looks: number[] = []
    const after = clock.after
    clock.after = (delay, run) => after(delay, () => looks.push(clock.now() - 1_000_050) && run())
    const ran: number[] = []
    const add = (delay: number) => wheel.at(clock.now() + delay, () => ran.push(clock.now() - 1_000_050))
    add(2_750)
    const cancel = add(350)
    add(450)
    cancel()
    clock.advance(100_000)
    expect(ran).toEqual([450, 2_750])
    expect(looks).toEqual([350, 450, 1_450, 2_450, 2_750])
  })

  it('takes an entry back, also twice and afterwards, and keeps nothing of it', () => {
    const { clock, wheel } = make()
    let ran = 0
    const cancel = wheel.at(clock.now() + 1_000_000, () => ran++)
    const other = wheel.at(clock.now() + 100, () => ran++)
    expect(wheel.size).toBe(2)
    cancel()
    cancel()
    expect(wheel.size).toBe(1)
    clock.advance(2_000_000)
    other()
    expect([ran, wheel.size]).toEqual([1, 0])
  })

  it('an entry may cancel another of the same moment, and add one', () => {
    const { clock, wheel } = make()
    const ran: string[] = []
    const at = clock.now() + 500
    wheel.at(at, () => {
      ran.push('first')
      cancel()
      wheel.at(at, () => ran.push('added'))
    })
    const cancel = wheel.at(at, () => ran.push('cancelled'))
    clock.advance(600)
    expect(ran).toEqual(['first'])
    clock.advance(100)
    expect(ran).toEqual(['first', 'added'])
  })

  it('an entry that throws does not lose the others, and is not kept quiet', () => {
    const { clock, wheel } = make()
    const ran: number[] = []
    wheel.at(clock.now() + 100, () => ran.push(1))
    wheel.at(clock.now() + 100, () => {
      throw new Error('boom')
    })
    wheel.at(clock.now() + 100, () => ran.push(2))
    wheel.at(clock.now() + 200, () => ran.push(3))
    expect(() => clock.advance(300)).toThrow('boom')
    clock.advance(300)
    expect([ran, wheel.size]).toEqual([[1, 2, 3], 0])
  })

  it.each([3_600_000, 86_400_000 * 30])('after a pause of %d ms runs what fell due, in order', async (pause) => {
    let now = 1_000_000
    let sweep = () => {}
    const wheel = new Wheel({
      now: () => now,
      after(_, run) {
        sweep = run
        return () => {}
      },
      every: () => () => {},
    })
    const ran: number[] = []
    for (const delay of [5_000, 1_000, 3_000]) wheel.at(now + delay, () => ran.push(delay))
    wheel.at(now + pause + 1_000, () => ran.push(pause))
    now += pause
    expect(await effort(sweep)).toBeLessThan(100)
    expect(ran).toEqual([1_000, 3_000, 5_000])
    now += 1_100
    sweep()
    expect(ran).toEqual([1_000, 3_000, 5_000, pause])
  })

  it('loses nothing when the clock is put back', () => {
    let now = 1_000_000
    let sweep = () => {}
    const wheel = new Wheel({
      now: () => now,
      after(_, run) {
        sweep = run
        return () => {}
      },
      every: () => () => {},
    })
    let ran = 0
    wheel.at(now + 1_000, () => ran++)
    now -= 500_000
    sweep()
    wheel.at(now + 1_000, () => ran++)
    now += 1_100
    sweep()
    expect(ran).toBe(1)
    now += 500_000
    sweep()
    expect(ran).toBe(2)
  })

  it('closed forgets everything, and begins anew', () => {
    const { clock, wheel } = make()
    let ran = 0
    wheel.at(clock.now() + 100, () => ran++)
    wheel.close()
    expect([wheel.size, clock.pending]).toEqual([0, 0])
    clock.advance(1_000)
    wheel.at(clock.now() + 100, () => (ran += 10))
    clock.advance(1_000)
    expect(ran).toBe(10)
  })

  it('agrees with a sorted list, whatever is added, cancelled and waited for', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add'), of: fc.nat(5_000) }),
      fc.record({ do: fc.constant('cancel'), of: fc.nat(20) }),
      fc.record({ do: fc.constant('wait'), of: fc.nat(3_000) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { clock, wheel } = make()
        const entries: { at: number; cancel: () => void; state: 'waits' | 'ran' | 'cancelled' }[] = []
        for (const { do: what, of } of steps) {
          if (what === 'add') {
            const entry = { at: clock.now() + of, cancel: () => {}, state: 'waits' as 'waits' | 'ran' | 'cancelled' }
            entry.cancel = wheel.at(entry.at, () => {
              expect([entry.state, clock.now() >= entry.at]).toEqual(['waits', true])
              entry.state = 'ran'
            })
            entries.push(entry)
          } else if (what === 'cancel') {
            const entry = entries[of]
            entry?.cancel()
            if (entry?.state === 'waits') entry.state = 'cancelled'
          } else clock.advance(of)
          for (const { at, state } of entries) if (state === 'waits') expect(clock.now() - at).toBeLessThan(200)
          expect(wheel.size).toBe(entries.filter(({ state }) => state === 'waits').length)
        }
      }),
      { numRuns: 500 },
    )
  })
})
