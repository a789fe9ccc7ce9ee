import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, message, turn } from '../test/support.ts'

const HOUR = 3_600_000

describe('retention', () => {
  let bench: Bench
  afterEach(() => bench.end())

  const fill = async (topic: string, count: number): Promise<void> => {
    for (let at = 0; at < count; at++) await bench.publish(message(topic, `${at}.`.padEnd(1000, 'x')))
  }
  const deleted = async (count: number): Promise<void> => {
    while (bench.lines.filter(({ event }) => event === 'segment.deleted').length < count) await turn()
  }

  it('deletes whole segments above a size, and queues begin later', async () => {
    bench = await Bench.start({ segmentBytes: 8 * 1024, retain: { bytes: 40 * 1024 }, defaultQueues: 1 })
    await fill('T', 100)
    await deleted(5)
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    const read = () =>
      bench.run<'read'>({ kind: 'read', from: { by: 'offset', queue, offset: 0 }, max: 1000, bytes: 1e9, wait: 0 })
    const { batch, min, max, next } = await read()
    expect([batch.count, next === min, max]).toEqual([0, true, 100])
    expect(min).toBeGreaterThan(20)
    const { start, end } = bench.broker.stats()
    expect(end - start).toBeLessThan(60 * 1024)
    await bench.reopen()
    expect((await read()).min).toBe(min)
    expect(bodies(await bench.pop('T', { max: 1000 }))).toHaveLength(100 - min)
  })

  it('deletes by age, and keeps what must not go: settings, offsets, retained and delayed messages', async () => {
    bench = await Bench.start({ segmentBytes: 8 * 1024, retain: { ms: HOUR }, defaultQueues: 1 })
    await bench.run<'admin'>({
      kind: 'admin',
      action: { do: 'putTopics', topics: [{ topic: 'Old', queues: 3, type: 'normal' }] },
    })
    await bench.publish(message('R', 'kept', { retain: true }))
    await bench.publish(message('D', 'later', { deliverAt: bench.clock.now() + 3 * HOUR }))
    await fill('T', 30)
    await bench.settle(await bench.pop('T', { max: 10 }))
    await bench.clock.advance(HOUR + 60_000)
    await fill('T', 10)
    await bench.clock.advance(60_000)
    await deleted(3)
    expect(bench.broker.stats().start).toBeGreaterThan(20_000)
    await bench.reopen()
    const { topics } = (await bench.run<'admin'>({ kind: 'admin', action: { do: 'listTopics' } })) as {
      topics: { topic: string }[]
    }
    expect(topics.map(({ topic }) => topic).sort()).toEqual(['D', 'Old', 'R', 'T'])
    expect((await bench.pop('T', { max: 100 })).every(({ message: { offset } }) => offset >= 10)).toBe(true)
    const { epoch } = await bench.run<'open'>({ kind: 'open', inbox: 'i', fresh: true, expiry: 0 }, contextOf('i'))
    await bench.run<'bind'>({ kind: 'bind', inbox: 'i', epoch, add: [{ pattern: 'R', retained: 'send' }], remove: [] })
    const source = { kind: 'inbox', inbox: 'i', epoch } as const
    const pop = await bench.run<'pop'>({ kind: 'pop', source, max: 9, invisible: 'session', wait: 0, fifo: false })
    expect(bodies(pop.batch)).toEqual(['kept'])
    const later = bench.pop('D', { wait: 5 * HOUR })
    await bench.clock.advance(2 * HOUR)
    expect(bodies(await later)).toEqual(['later'])
  })

  it('lets a topic keep less than the log does', async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    const topics = [
      { topic: 'Age', queues: 1, type: 'mixed' as const, retain: { ms: HOUR } },
      { topic: 'Size', queues: 1, type: 'mixed' as const, retain: { bytes: 5000 } },
    ]
    await bench.run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics } })
    await fill('Age', 10)
    await fill('Size', 10)
    await bench.clock.advance(HOUR)
    await fill('Age', 3)
    await bench.clock.advance(60_000)
    await turn(20)
    const min = async (topic: string) =>
      (await bench.run<'queryOffset'>({ kind: 'queryOffset', queue: { topic, node: 'sluice-0', index: 0 }, at: 'min' }))
        .offset
    expect([await min('Age'), await min('Size')]).toEqual([10, 6])
    expect(await bench.pop('Age')).toHaveLength(3)
    await bench.reopen()
    expect([await min('Age'), await min('Size')]).toEqual([10, 6])
  })
})
