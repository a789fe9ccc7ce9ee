import { turn, turns } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bench, delivered, lease, ok, receiptsOf, trouble } from '../test/store.ts'
import { type Delivered, Fault, type Slot } from './model.ts'

const slot = (number: number): Slot => ({ of: 'inbox', node: 'a', inbox: 'i', epoch: 1, way: 'out', slot: number })
const ids = (batches: readonly (readonly Delivered[])[]) =>
  batches.map((batch) => batch.map(({ message }) => message.id))

describe('credit', () => {
  it('of nothing pops nothing', async () => {
    const { pump, pops } = bench()
    await turns()
    pump.credit(0)
    await turns()
    expect(pops).toEqual([])
  })

  it('bounds what one pop asks for, as `batch` does', async () => {
    const { pump, pops, give } = bench({ batch: 4 })
    pump.credit(6)
    expect(pops[0]!.command).toMatchObject({ kind: 'pop', max: 4, wait: 30_000, invisible: 30_000, fifo: false })
    give(delivered(1), delivered(2), delivered(3), delivered(4))
    await turns()
    expect(pops[0]!.command.max).toBe(2)
    give(delivered(5), delivered(6))
    await turns()
    expect(pops).toEqual([])
    pump.credit(1)
    expect(pops[0]!.command.max).toBe(1)
  })

  it('gives a poll five seconds beyond its wait', () => {
    const { pump, pops, clock } = bench()
    pump.credit(1)
    expect(pops[0]!.context.deadline).toBe(clock.now() + 35_000)
  })

  it('taken back ends the parked poll, and given again starts one at once', async () => {
    const { pump, pops, faults } = bench()
    pump.credit(5)
    const parked = pops.shift()!
    pump.credit(0)
    expect(parked.context.signal!.aborted).toBe(true)
    pump.credit(3)
    await turns()
    expect(pops.map(({ command }) => command.max)).toEqual([3])
    expect(pops[0]!.context.signal!.aborted).toBe(false)
    expect(faults).toEqual([])
  })

  it('used up by what a pop gave aborts nothing: the store has answered', async () => {
    const { pump, pops, give } = bench({ deliver: () => pump.credit(0) })
    pump.credit(1)
    const { signal } = pops[0]!.context
    give(delivered(1))
    await turns()
    expect(signal!.aborted).toBe(false)
    pump.credit(1)
    expect(pops[0]!.context.signal!.aborted).toBe(false)
  })

  it('lowered while a pop is under way gives the surplus back, uncounted, after delivering what is allowed', async () => {
    const { pump, got, settles, give } = bench()
    pump.credit(5)
    pump.credit(2)
    give(delivered(1), delivered(2), delivered(3), delivered(4))
    await turn()
    expect(ids(got)).toEqual([['1', '2']])
    expect(receiptsOf(settles[0]!)).toEqual([3, 4])
    expect(settles[0]!.command.outcome).toEqual({ kind: 'retry', after: 0, counts: false })
    expect(pump.unsettled).toBe(2)
  })

  it('is never exceeded even if it is lowered again while the surplus is on its way back', async () => {
    const { pump, got, settles, give } = bench()
    pump.credit(5)
    pump.credit(2)
    give(delivered(1), delivered(2), delivered(3))
    await turn()
    pump.credit(0)
    settles.shift()!.reply(ok)
    await turns()
    expect(ids(got)).toEqual([['1', '2']])
  })

  it('keeps slots of an inbox that came too late here: nowhere else would give them again', async () => {
    const { pump, got, settles, pops, give } = bench({ invisible: 'session' })
    pump.credit(4)
    pump.credit(1)
    give(delivered(1, slot(1)), delivered(2, slot(2)), delivered(3, slot(3)))
    await turns()
    expect(ids(got)).toEqual([['1']])
    expect(settles).toEqual([])
    pump.credit(1)
    await turns()
    expect(ids(got)).toEqual([['1'], ['2']])
    expect(pops).toEqual([])
    pump.credit(2)
    await turns()
    expect(ids(got)).toEqual([['1'], ['2'], ['3']])
    expect(pops[0]!.command.max).toBe(1)
  })

  it('keeps as well what was settled on delivery', async () => {
    const { pump, got, give } = bench({ invisible: 0 })
    const bare = (id: number): Delivered => ({ message: delivered(id).message, attempt: 1 })
    pump.credit(2)
    pump.credit(1)
    give(bare(1), bare(2))
    await turns()
    pump.credit(5)
    expect(ids(got)).toEqual([['1'], ['2']])
    expect(pump.unsettled).toBe(0)
  })

  it('is never exceeded, and nothing is lost or doubled, whatever happens in whatever order', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('credit' as const), of: fc.nat(6) }),
      fc.record({ do: fc.constant('give' as const), of: fc.nat(4) }),
      fc.constant({ do: 'fail' as const, of: 0 }),
      fc.record({ do: fc.constant('turn' as const), of: fc.nat(3) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        let allowed = 0
        let excess = 0
        const it = bench({
          deliver(batch) {
            allowed -= batch.length
            if (allowed < 0) excess++
            delivers.push(...batch.map(({ message }) => message.id))
          },
        })
        const delivers: string[] = []
        const sent: string[] = []
        const back: number[] = []
        let next = 1
        const answer = () => {
          for (const call of it.settles.splice(0)) {
            back.push(...receiptsOf(call))
            call.reply(ok)
          }
        }
        for (const { do: what, of } of steps) {
          if (what === 'credit') {
            allowed = of
            it.pump.credit(of)
          } else if (what === 'turn') await turns(of)
          else {
            while (it.pops[0]?.context.signal?.aborted) it.pops.shift()
            const call = it.pops[0]
            if (!call) continue
            if (what === 'fail') {
              it.pops.shift()!.fail(trouble(100))
              await it.clock.pass(300)
            } else {
              const batch = Array.from({ length: Math.min(of, call.command.max) }, () => delivered(next++))
              sent.push(...batch.map(({ message }) => message.id))
              it.give(...batch)
            }
          }
          answer()
        }
        await turns(4)
        answer()
        const stopped = it.pump.stop()
        await turns(4)
        answer()
        await turns(4)
        answer()
        await stopped
        expect(excess).toBe(0)
        expect(new Set(delivers).size).toBe(delivers.length)
        // Everything came back in the end: nothing was settled.
        expect([...back].sort((a, b) => a - b).map(String)).toEqual(sent)
      }),
      { numRuns: 300 },
    )
  })
})

describe('settle', () => {
  const holding = async (count: number, options = {}) => {
    const it = bench(options)
    it.pump.credit(count)
    it.give(...Array.from({ length: count }, (_, index) => delivered(index)))
    await turns()
    return { ...it, all: it.got.flat() }
  }

  it('makes one command a tick and outcome', async () => {
    const { pump, settles, all } = await holding(7)
    pump.settle([all[0]!], { kind: 'accept' })
    pump.settle([all[1]!, all[2]!], { kind: 'accept' })
    pump.settle([all[3]!], { kind: 'retry', counts: true })
    pump.settle([all[4]!], { kind: 'retry', counts: true, after: 10 })
    pump.settle([all[5]!], { kind: 'dead', reason: 'x' })
    pump.settle([all[6]!], { kind: 'dead', reason: 'y' })
    await turn()
    expect(settles.map((call) => [call.command.outcome, receiptsOf(call)])).toEqual([
      [{ kind: 'accept' }, [0, 1, 2]],
      [{ kind: 'retry', counts: true }, [3]],
      [{ kind: 'retry', counts: true, after: 10 }, [4]],
      [{ kind: 'dead', reason: 'x' }, [5]],
      [{ kind: 'dead', reason: 'y' }, [6]],
    ])
  })

  it('tells `done` after the store has it, each with the fault of its own receipts', async () => {
    const { pump, settles, all } = await holding(5)
    const told: [string, string | undefined][] = []
    const done = (name: string) => (fault?: Fault) => void told.push([name, fault?.message])
    pump.settle([all[0]!, all[1]!], { kind: 'accept' }, done('a'))
    pump.settle([all[2]!], { kind: 'accept' }, done('b'))
    pump.settle([all[3]!, all[4]!], { kind: 'accept' }, done('c'))
    await turns()
    expect(told).toEqual([])
    settles[0]!.reply({
      failed: [
        { at: 1, fault: new Fault('receiptExpired', 'one') },
        { at: 4, fault: new Fault('receiptExpired', 'four') },
      ],
    })
    await turns()
    expect(told).toEqual([
      ['a', 'one'],
      ['b', undefined],
      ['c', 'four'],
    ])
    expect(pump.unsettled).toBe(0)
  })

  it('refuses what is not held, and what is being settled already', async () => {
    const { pump, settles, all } = await holding(2)
    const told: (string | undefined)[] = []
    const done = (fault?: Fault) => void told.push(fault?.code)
    pump.settle([], { kind: 'accept' }, done)
    pump.settle([delivered(99)], { kind: 'accept' }, done)
    expect(told).toEqual([undefined, 'receiptExpired'])
    pump.settle([all[0]!], { kind: 'accept' }, done)
    pump.settle([all[0]!], { kind: 'accept' }, done)
    expect(told).toEqual([undefined, 'receiptExpired', 'receiptExpired'])
    pump.settle([all[0]!, all[1]!], { kind: 'accept' }, done)
    await turn()
    expect(receiptsOf(settles[0]!)).toEqual([0, 1])
    settles[0]!.reply(ok)
    await turns()
    expect(told.slice(3)).toEqual([undefined, 'receiptExpired'])
  })

  it('`received` keeps the delivery until it is accepted', async () => {
    const it = bench({ invisible: 'session' })
    it.pump.credit(1)
    it.give(delivered(1, slot(1)))
    await turns()
    const [one] = it.got.flat()
    it.pump.settle([one!], { kind: 'received' })
    await turn()
    it.settles.shift()!.reply(ok)
    await turns()
    expect(it.pump.unsettled).toBe(1)
    let told = false
    it.pump.settle([one!], { kind: 'accept' }, (fault) => (told = fault === undefined))
    await turn()
    it.settles.shift()!.reply(ok)
    await turns()
    expect([told, it.pump.unsettled]).toEqual([true, 0])
  })

  it('rides out passing trouble, then says it', async () => {
    const { pump, settles, all, clock } = await holding(1)
    let told: Fault | undefined | 'not yet' = 'not yet'
    pump.settle([all[0]!], { kind: 'accept' }, (fault) => (told = fault))
    await turn()
    settles.shift()!.fail(trouble(3_000))
    await clock.pass(2_500)
    expect(settles).toEqual([])
    await clock.pass(800)
    settles.shift()!.fail(trouble())
    await clock.pass(1_300)
    expect(told).toBe('not yet')
    settles.shift()!.reply(ok)
    await turns()
    expect(told).toBe(undefined)

    const other = await holding(1)
    other.pump.settle([other.all[0]!], { kind: 'accept' }, (fault) => (told = fault))
    for (let tries = 0; tries < 5; tries++) {
      await turn()
      other.settles.shift()!.fail(trouble())
      await other.clock.pass(1_300)
    }
    expect((told as unknown as Fault).code).toBe('unavailable')
    expect(other.settles).toEqual([])
  })

  it('says a final fault at once', async () => {
    const { pump, settles, all } = await holding(1)
    const told: (Fault | undefined)[] = []
    pump.settle([all[0]!], { kind: 'accept' }, (fault) => void told.push(fault))
    await turn()
    settles.shift()!.fail(new Fault('forbidden', 'no'))
    await turns()
    expect(told.map((fault) => fault?.code)).toEqual(['forbidden'])
  })

  it('a `done` that throws ends the pump with `failed`; the others are told', async () => {
    const { pump, settles, all, faults } = await holding(2)
    let told = 0
    pump.settle([all[0]!], { kind: 'accept' }, () => {
      throw new Error('boom')
    })
    pump.settle([all[1]!], { kind: 'accept' }, () => void told++)
    await turn()
    settles.shift()!.reply(ok)
    await turns()
    expect([told, faults.map(({ code }) => code)]).toEqual([1, ['internal']])
  })
})

describe('renewal', () => {
  const renewed = (offset: number) => ({ ...lease(offset), poppedAt: 2 })
  const holding = async (count: number, options = {}) => {
    const it = bench(options)
    it.pump.credit(count)
    it.give(...Array.from({ length: count }, (_, index) => delivered(index)))
    await turns()
    return { ...it, all: it.got.flat() }
  }

  it('comes before the receipt runs out, for all together, as long as they are held', async () => {
    const { settles, clock } = await holding(2)
    for (let round = 0; round < 5; round++) {
      await clock.pass(20_000)
      expect(settles.map((call) => [receiptsOf(call), call.command.outcome])).toEqual([
        [[0, 1], { kind: 'retry', after: 30_000, counts: false }],
      ])
      settles.shift()!.reply({ failed: [], renewed: [renewed(0), renewed(1)] })
      await turns()
    }
  })

  it('is not for the young, not for what is being settled, and stops when nothing is held', async () => {
    const it = await holding(2)
    await it.clock.pass(5_000)
    it.pump.credit(1)
    it.give(delivered(7))
    await turns()
    it.pump.settle([it.all[0]!], { kind: 'accept' })
    await turn()
    const accepting = it.settles.shift()!
    await it.clock.pass(6_000)
    expect(it.settles.map(receiptsOf)).toEqual([[1]])
    accepting.reply(ok)
    it.settles.shift()!.reply({ failed: [], renewed: [renewed(1)] })
    await turns()
    it.pump.settle(it.got.flat().slice(1), { kind: 'accept' })
    await turn()
    it.settles.shift()!.reply(ok)
    await it.clock.pass(120_000)
    expect(it.settles).toEqual([])
    expect(it.wheel.size).toBe(0)
  })

  it('under way makes a settle wait for the new receipt: the old one would be refused', async () => {
    const { pump, settles, clock, all } = await holding(2)
    await clock.pass(11_000)
    const renewing = settles.shift()!
    const told: (Fault | undefined)[] = []
    pump.settle([all[0]!], { kind: 'accept' }, (fault) => void told.push(fault))
    await turns()
    expect(settles).toEqual([])
    renewing.reply({ failed: [], renewed: [renewed(0), renewed(1)] })
    await turns()
    expect(settles[0]!.command.receipts).toEqual([renewed(0)])
    settles[0]!.reply(ok)
    await turns()
    expect(told).toEqual([undefined])
    expect(pump.unsettled).toBe(1)
  })

  it('that met passing trouble is tried again soon', async () => {
    const { settles, clock } = await holding(1)
    await clock.pass(10_500)
    settles.shift()!.fail(trouble())
    await clock.pass(1_500)
    expect(settles.map(receiptsOf)).toEqual([[0]])
  })

  it('that was refused is not tried for ever, and the client’s settle says so', async () => {
    const { pump, settles, clock, all } = await holding(1)
    await clock.pass(10_500)
    settles.shift()!.reply({ failed: [{ at: 0, fault: new Fault('receiptExpired', 'gone') }], renewed: [undefined] })
    await clock.pass(100_000)
    expect(settles).toEqual([])
    pump.settle([all[0]!], { kind: 'accept' })
    await turn()
    expect(settles[0]!.command.receipts).toEqual([lease(0)])
  })

  it('does not exist for sessions, slots and what is settled on delivery', async () => {
    for (const invisible of ['session', 0] as const) {
      const it = await holding(1, { invisible })
      await it.clock.pass(100_000)
      expect(it.settles).toEqual([])
    }
  })

  it('goes by our clock although the broker’s is an hour off', async () => {
    const it = bench()
    it.pump.credit(1)
    it.give(delivered(0, { ...lease(0), poppedAt: it.clock.now() + 3_600_000 }))
    await it.clock.pass(20_500)
    expect(it.settles.length).toBe(1)
  })
})

describe('trouble', () => {
  it.each(['throttled', 'busy', 'circuitOpen', 'unavailable', 'draining', 'outcomeUnknown', 'internal'] as const)(
    '%s passes: the next pop comes after a second, or when the fault says',
    async (code) => {
      const { pump, pops, faults, clock } = bench()
      pump.credit(1)
      pops.shift()!.fail(code === 'internal' ? new Error('unexpected') : new Fault(code, 'x'))
      await clock.pass(900)
      pump.credit(2)
      await turns()
      expect(pops).toEqual([])
      await clock.pass(400)
      expect(pops.map(({ command }) => command.max)).toEqual([2])
      pops.shift()!.fail(new Fault(code, 'x', { retryAfter: 5_000 }))
      await clock.pass(4_900)
      expect(pops).toEqual([])
      await clock.pass(400)
      expect(pops.length).toBe(1)
      expect(faults).toEqual([])
    },
  )

  it.each(['forbidden', 'topicNotFound', 'conflict', 'invalid', 'unsupported', 'limit'] as const)(
    '%s is final: `failed` is told once, nothing more is popped, what is held can be settled, renewed and given back',
    async (code) => {
      const { pump, pops, faults, clock, settles, got, give } = bench()
      pump.credit(3)
      give(delivered(1), delivered(2))
      await turns()
      pops.shift()!.fail(new Fault(code, 'x'))
      await turns()
      pump.credit(5)
      await clock.pass(5_000)
      expect([pops, faults.map((fault) => fault.code)]).toEqual([[], [code]])
      pump.settle([got[0]![0]!], { kind: 'accept' })
      await turn()
      settles.shift()!.reply(ok)
      await clock.pass(6_000)
      expect(settles.map(receiptsOf)).toEqual([[2]])
      settles.shift()!.reply({ failed: [], renewed: [lease(2)] })
      await turns()
      void pump.stop()
      await turns()
      expect(settles.map(receiptsOf)).toEqual([[2]])
    },
  )

  it('a `deliver` or `failed` that throws ends the pump, not the process', async () => {
    const { pump, pops, give, faults } = bench({
      deliver: () => {
        throw new Error('boom')
      },
    })
    pump.credit(5)
    give(delivered(1))
    await turns()
    expect([pops, faults.map(({ code }) => code), pump.unsettled]).toEqual([[], ['internal'], 1])
    const other = bench({
      failed: () => {
        throw new Error('boom')
      },
    })
    other.pump.credit(1)
    other.pops.shift()!.fail(new Fault('forbidden', 'x'))
    await turns()
    expect(other.pops).toEqual([])
  })

  it('a store that answers empty polls at once is not asked in a loop', async () => {
    const it = bench()
    it.pump.credit(1)
    let polls = 0
    for (let round = 0; round < 50; round++) {
      while (it.pops.length > 0) {
        polls++
        it.give()
      }
      await turns()
    }
    expect(polls).toBe(4)
    await it.clock.pass(1_200)
    expect(it.pops.length).toBe(1)
  })

  it('empty polls that waited follow each other', async () => {
    const it = bench()
    it.pump.credit(1)
    for (let round = 0; round < 10; round++) {
      await it.clock.pass(30_000)
      it.give()
      await turns()
      expect(it.pops.length).toBe(1)
    }
  })
})

describe('stop', () => {
  it('ends the poll, waits for settles under way, returns the rest uncounted, and tells how many', async () => {
    const it = bench()
    it.pump.credit(4)
    it.give(delivered(1), delivered(2), delivered(3))
    await turns()
    const [one, two] = it.got.flat()
    it.pump.settle([one!], { kind: 'accept' })
    await turn()
    const accepting = it.settles.shift()!
    it.pump.settle([two!], { kind: 'retry', counts: true })
    const parked = it.pops.shift()!
    let stopped = false
    const stopping = it.pump.stop().then(() => (stopped = true))
    await turns()
    expect(parked.context.signal!.aborted).toBe(true)
    expect(it.settles.map(receiptsOf)).toEqual([[2]])
    it.settles.shift()!.reply(ok)
    await turns()
    expect([stopped, it.settles]).toEqual([false, []])
    accepting.reply(ok)
    await turns()
    expect(it.settles.map((call) => [receiptsOf(call), call.command.outcome])).toEqual([
      [[3], { kind: 'retry', after: 0, counts: false }],
    ])
    it.settles.shift()!.fail(trouble())
    await stopping
    expect([it.returned, it.pump.unsettled]).toEqual([1, 0])
    it.pump.credit(5)
    await turns()
    expect(it.pops).toEqual([])
    expect(it.wheel.size).toBe(0)
  })

  it('gives back what a pop brings although it was told to stop', async () => {
    const it = bench()
    it.pump.credit(4)
    const raced = it.pops[0]!
    // The reply is on its way when the poll is aborted.
    it.give(delivered(1))
    const stopping = it.pump.stop()
    await turns()
    expect(raced.context.signal!.aborted).toBe(true)
    expect([it.got, it.settles.map(receiptsOf)]).toEqual([[], [[1]]])
    it.settles.shift()!.reply(ok)
    await stopping
  })

  it('leaves slots to their inbox', async () => {
    const it = bench({ invisible: 'session' })
    it.pump.credit(1)
    it.give(delivered(1, slot(1)))
    await turns()
    await it.pump.stop()
    expect([it.settles, it.pump.unsettled]).toEqual([[], 0])
  })

  it('called twice is one stop', async () => {
    const it = bench()
    it.pump.credit(1)
    it.give(delivered(1))
    await turns()
    const both = [it.pump.stop(), it.pump.stop()]
    await turns()
    expect(it.settles.length).toBe(1)
    it.settles.shift()!.reply(ok)
    await Promise.all(both)
    expect(it.returned).toBe(1)
  })

  it('does not wait out the pause of a settle in trouble', async () => {
    const it = bench()
    it.pump.credit(1)
    it.give(delivered(1))
    await turns()
    const told: (Fault | undefined)[] = []
    it.pump.settle(it.got.flat(), { kind: 'accept' }, (fault) => void told.push(fault))
    await turn()
    it.settles.shift()!.fail(trouble(60_000))
    await turns()
    const stopping = it.pump.stop()
    await turns()
    it.settles.shift()!.reply(ok)
    await stopping
    expect(told).toEqual([undefined])
  })

  it('waits for a renewal, and returns the new receipt', async () => {
    const it = bench()
    it.pump.credit(1)
    it.give(delivered(0))
    await it.clock.pass(11_000)
    const renewing = it.settles.shift()!
    const stopping = it.pump.stop()
    await turns()
    renewing.reply({ failed: [], renewed: [{ ...lease(0), poppedAt: 2 }] })
    await turns()
    expect(it.settles[0]!.command.receipts).toEqual([{ ...lease(0), poppedAt: 2 }])
    it.settles.shift()!.reply(ok)
    await stopping
  })
})
