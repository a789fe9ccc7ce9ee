import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, message } from '../test/support.ts'

describe('stats', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const retry = (delivered: readonly { readonly receipt?: unknown }[], counts: boolean) =>
    bench.run<'settle'>({
      kind: 'settle',
      receipts: delivered.map(({ receipt }) => receipt as never),
      outcome: { kind: 'retry', after: 1000, counts },
    })

  it('count leases that ran out, and not what was given back', async () => {
    const expired = () => bench.broker.stats().expiredLeases
    await bench.publish(message('T', 'a'))
    await retry(await bench.pop('T'), true)
    await bench.clock.advance(2000)
    const again = await bench.pop('T')
    expect([again.length, expired()]).toEqual([1, 0])
    // An extension that runs out is a lease that does.
    await retry(again, false)
    await bench.clock.advance(2000)
    expect([(await bench.pop('T')).length, expired()]).toEqual([1, 1])
    await bench.clock.advance(3_600_000)
    expect([(await bench.pop('T')).length, expired()]).toEqual([1, 2])
  })

  it('count every sync by its time', async () => {
    const before = bench.broker.stats()
    await bench.publish(message('T', 'a'))
    const { syncs, syncTimes } = bench.broker.stats()
    const total = syncTimes.counts.reduce((sum, count) => sum + count, 0)
    expect(syncs).toBeGreaterThan(before.syncs)
    expect(total).toBe(syncs)
    expect(syncTimes.counts).toHaveLength(syncTimes.bounds.length + 1)
    expect(syncTimes.sum).toBeGreaterThan(0)
  })
})
