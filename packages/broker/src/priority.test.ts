import type { Message } from '@sluice/core'
import { system } from '@sluice/remoting'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message } from '../test/support.ts'

describe('priority', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 4, segmentBytes: 256 * 1024 })
  })
  afterEach(() => bench.end())

  const many = (count: number, more: Partial<Message> = {}) =>
    bench.publish(...Array.from({ length: count }, (_, at) => message('T', `${more.priority ?? ''}#${at}`, more)))
  const take = async (max: number, more = {}) => bodies(await bench.pop('T', { max, invisible: 0, ...more }))

  it('is what the next pop goes by: level 9 before 10,000 of level 0', async () => {
    await many(10_000)
    await many(1, { priority: 9 })
    const [first] = await bench.pop('T', { max: 1 })
    expect([first!.message.body.toString(), first!.message.priority]).toEqual(['9#0', 9])
    const rest = [...(await take(1024))]
    expect(rest).toHaveLength(1024)
    expect(rest).not.toContain('9#0')
  })

  it('is an order over all queues, and of one level first in, first out in each queue', async () => {
    for (const priority of [1, 5, 0, 3, 9, 70, 5]) await many(4, { priority })
    const levels = (await take(100)).map((body) => Number(body.split('#')[0]))
    expect(levels).toEqual([70, 9, 5, 5, 3, 1, 0].flatMap((level) => [level, level, level, level]))
    expect(await take(10)).toEqual([])
  })

  it('is read from the property of RocketMQ as well, and also where messages are filtered', async () => {
    await many(3, { tag: 'a' })
    await many(1, { priority: 2, tag: 'b' })
    await bench.publish(message('T', 'packed', { packed: Buffer.from(`${system.priority}\x018\x02TAGS\x01a\x02`) }))
    const filter = { kind: 'tag', expression: 'a' } as const
    const source = { kind: 'group', topic: 'T', group: 'g', filter } as const
    expect(await take(10, { source })).toEqual(['packed', '#0', '#1', '#2'])
  })

  it.each(['kill', 'reopen'] as const)('gives nothing twice and loses nothing over a %s', async (how) => {
    await many(8)
    await many(8, { priority: 4 })
    const settled = await bench.pop('T', { max: 3 })
    await bench.settle(settled)
    const atOnce = await take(2)
    const held = await bench.pop('T', { max: 2 })
    expect([...bodies(settled), ...atOnce, ...bodies(held)].every((body) => body.startsWith('4#'))).toBe(true)
    await bench[how]()
    const after = await take(100)
    expect(after).toHaveLength(9)
    expect(after[0]).toMatch(/^4#/)
    await bench.clock.advance(30_100)
    const again = await bench.pop('T')
    expect(bodies(again).sort()).toEqual(bodies(held).sort())
    expect(new Set([...bodies(settled), ...atOnce, ...after, ...bodies(again)]).size).toBe(16)
  })

  it('holds in what was stored before a checkpoint, and where no sidecar tells', async () => {
    await many(2000)
    await many(2, { priority: 7 })
    await bench.reopen()
    await many(1, { priority: 8 })
    await bench.kill()
    expect(await take(3)).toEqual(['8#0', '7#0', '7#1'])
  })

  it('leaves offsets, pulls and ordered pops alone', async () => {
    await bench.run<'admin'>({
      kind: 'admin',
      action: { do: 'putTopics', topics: [{ topic: 'T', queues: 1, type: 'mixed' }] },
    })
    await many(2)
    await many(2, { priority: 9 })
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    const pull = () =>
      bench.run<'read'>({ kind: 'read', from: { by: 'offset', queue, offset: 0 }, max: 9, bytes: 1e6, wait: 0 })
    expect(bodies((await pull()).batch)).toEqual(['#0', '#1', '9#0', '9#1'])
    expect(await take(9, { group: 'ordered', fifo: true })).toEqual(['#0', '#1', '9#0', '9#1'])
    await take(1)
    const offset = () => bench.run<'queryOffset'>({ kind: 'queryOffset', queue, at: { group: 'g' } })
    expect((await offset()).offset).toBe(0)
    const held = await bench.pop('T', { max: 9 })
    expect(bodies(held)).toEqual(['9#1', '#0', '#1'])
    expect((await offset()).offset).toBe(0)
    await bench.settle(held.slice(1))
    expect((await offset()).offset).toBe(3)
    await bench.settle(held.slice(0, 1))
    expect((await offset()).offset).toBe(4)
    expect(
      (
        await bench.run<'pop'>({
          kind: 'pop',
          source: { kind: 'group', topic: 'T', group: 'g' },
          max: 0,
          invisible: 1,
          wait: 0,
          fifo: false,
        })
      ).more,
    ).toBe(false)
  })

  it('is asked anew after the offset was set back', async () => {
    await many(4)
    await many(4, { priority: 2 })
    await take(6)
    await bench.run<'admin'>({ kind: 'admin', action: { do: 'resetOffset', topic: 'T', group: 'g', to: 'min' } })
    expect((await take(4)).sort()).toEqual(['2#0', '2#1', '2#2', '2#3'])
    await bench.kill()
    expect((await take(100)).sort()).toEqual(['#0', '#1', '#2', '#3'])
  })
})
