import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, faultOf, message, turn } from '../test/support.ts'

describe('broker', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start()
  })
  afterEach(() => bench.end())

  it('publishes, reads and survives a restart', async () => {
    const stored = await bench.publish(message('T', 'a', { id: 'one', tag: 'x' }), message('T', 'b'))
    expect(stored.map(({ id, offset }) => [id, offset])).toEqual([
      ['one', 0],
      [expect.any(String), 0],
    ])
    await bench.reopen()
    await bench.publish(message('T', 'c'), message('T', 'd'), message('T', 'e'))
    const read = await bench.run<'read'>({
      kind: 'read',
      from: { by: 'offset', queue: { topic: 'T', node: 'sluice-0', index: 0 }, offset: 0 },
      max: 10,
      bytes: 1e6,
      wait: 0,
    })
    expect([read.next, read.min, read.max]).toEqual([2, 0, 2])
    expect(bodies(read.batch)).toEqual(['a', 'c'])
    const [first] = read.batch
    expect([first!.message.tag, first!.message.id, first!.message.bornHost]).toEqual(['x', 'one', '127.0.0.1:5'])
  })

  it('pops, settles and keeps leases over a restart', async () => {
    await bench.publish(message('T', 'a'), message('T', 'b'), message('T', 'c'))
    const popped = await bench.pop('T')
    expect(bodies(popped).sort()).toEqual(['a', 'b', 'c'])
    expect(await bench.pop('T')).toEqual([])
    expect(await bench.settle(popped.slice(0, 1))).toEqual({ failed: [] })
    await bench.reopen()
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(30_001)
    const again = await bench.pop('T')
    expect(bodies(again).sort()).toEqual(bodies(popped.slice(1)).sort())
    expect(again.map(({ attempt }) => attempt)).toEqual([2, 2])
    const { failed } = await bench.settle(popped.slice(1))
    expect(failed.map(({ fault }) => [fault.code, fault.about])).toEqual([
      ['receiptExpired', 'receipt'],
      ['receiptExpired', 'receipt'],
    ])
    expect((await bench.settle(again)).failed).toEqual([])
    await bench.clock.advance(60_000)
    expect(await bench.pop('T')).toEqual([])
  })

  it('wakes a parked pop when a message arrives and ends it when its time is over', async () => {
    await bench.publish(message('T', 'x'))
    await bench.settle(await bench.pop('T'))
    const parked = bench.pop('T', { wait: 5000 })
    await turn()
    expect(bench.broker.stats().parked).toBe(1)
    await bench.publish(message('T', 'y'))
    expect(bodies(await parked)).toEqual(['y'])
    const empty = bench.pop('T', { wait: 5000 })
    await turn()
    await bench.clock.advance(5100)
    expect(await empty).toEqual([])
    expect(bench.broker.stats().parked).toBe(0)
  })

  it('ends each poll at its own time, however far ahead it is', async () => {
    const waits = [100, 51_000, 51_200, 60_000, 200_000]
    const began = bench.clock.now()
    const ended: number[] = []
    const polls = waits.map(async (wait) => {
      await bench.pop('T', { wait })
      ended.push(wait)
    })
    await turn()
    for (const wait of waits) {
      await bench.clock.advance(began + wait - 1 - bench.clock.now())
      expect(ended).not.toContain(wait)
      await bench.clock.advance(101)
      await turn()
      expect(ended).toContain(wait)
    }
    await Promise.all(polls)
    expect([ended, bench.broker.stats().parked]).toEqual([waits, 0])
  })

  it('delivers what is due later when it is due, also after a restart', async () => {
    const now = bench.clock.now()
    await bench.publish(message('T', 'later', { deliverAt: now + 10_000 }), message('T', 'now'))
    expect(bodies(await bench.pop('T', { invisible: 0 }))).toEqual(['now'])
    await bench.reopen()
    const parked = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.clock.advance(10_100)
    const [later] = await parked
    expect(later!.message.body.toString()).toBe('later')
    expect(later!.message.deliverAt).toBe(now + 10_000)
  })

  it('refuses a second process on the directory', async () => {
    const { openBroker } = await import('./broker.ts')
    expect(await faultOf(openBroker({ dir: bench.dir }))).toEqual({ code: 'conflict', about: 'dir' })
  })
})
