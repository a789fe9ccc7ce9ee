import type { Half, Membership, Message, Notice } from '@sluice/core'
import { system, viewRecord } from '@sluice/remoting'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, faultOf, message, turn } from '../test/support.ts'
import { CHECK_EVERY_MS, CHECKS_MAX, UNDECIDED_MAX_MS, UNDECIDED_TOPIC } from './transactions.ts'

const produces = (...groups: string[]): Membership => ({ produces: groups, consumes: [] })

describe('transactions', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const publish = async (body: string, more: Partial<Message> = {}): Promise<Half> => {
    const messages = [message('T', body, { half: {}, ...more })]
    const { stored } = await bench.run<'publish'>({ kind: 'publish', messages, group: 'p', oneway: false })
    const [one] = stored
    if (!one || one instanceof Error) throw one
    return one.half!
  }
  const end = (half: Half, resolution: 'commit' | 'rollback' | 'unknown') =>
    bench.run<'endTransaction'>({ kind: 'endTransaction', half, resolution, byCheck: false })
  const heartbeat = () => bench.run<'heartbeat'>({ kind: 'heartbeat', member: produces('p') }, contextOf('producer'))
  const checks = () =>
    bench.notices.filter((one): one is Extract<Notice, { kind: 'checkTransaction' }> => one.kind === 'checkTransaction')
  const visible = async (topic = 'T') => {
    // What was read from the disk and written before it is durable with it.
    for (let times = 0; times < 2; times++) await bench.publish(message('marker', ''))
    return bodies(await bench.pop(topic, { invisible: 0 }))
  }
  const popHalves = async (more: { wait?: number; max?: number; invisible?: number } = {}) => {
    const source = { kind: 'halves', topic: 'T', group: 'p' } as const
    const { batch } = await bench.run<'pop'>({
      kind: 'pop',
      source,
      max: 10,
      invisible: 10_000,
      wait: 0,
      fifo: false,
      ...more,
    })
    return [...batch]
  }

  it('are invisible until they are committed, and stand in the order of their commits', async () => {
    const first = await publish('first')
    const second = await publish('second', { tag: 'x' })
    expect(first).toMatchObject({ topic: 'T', group: 'p', node: 'sluice-0' })
    await bench.publish(message('T', 'plain'))
    expect(await visible()).toEqual(['plain'])
    await end(second, 'commit')
    await end(first, 'commit')
    const popped = await bench.pop('T')
    expect(bodies(popped)).toEqual(['second', 'first'])
    const record = viewRecord(popped[0]!.message.record!, 'sluice-0')
    expect([record.half, record.property(system.half), record.sysFlag & 0xc]).toEqual([undefined, undefined, 8])
    expect([record.tag, record.prepared, record.id]).toEqual(['x', second.place, second.id])
    expect(bench.broker.stats().halves).toBe(0)
  })

  it('leave nothing when they are rolled back', async () => {
    await end(await publish('a'), 'rollback')
    await bench.kill()
    expect(await visible()).toEqual([])
    expect(bench.broker.stats().halves).toBe(0)
  })

  it('are decided once: a repeated or mistaken end is refused', async () => {
    const half = await publish('a')
    expect(await faultOf(end({ ...half, group: 'q' }, 'commit'))).toEqual({ code: 'conflict', about: 'group' })
    expect(await faultOf(end({ ...half, topic: 'U' }, 'commit'))).toEqual({ code: 'conflict', about: 'topic' })
    expect(await faultOf(end({ ...half, id: 'other' }, 'rollback'))).toEqual({ code: 'conflict', about: 'transaction' })
    const both = await Promise.allSettled([end(half, 'commit'), end(half, 'commit')])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await faultOf(end(half, 'commit'))).toEqual({ code: 'notFound', about: 'transaction' })
    expect(await faultOf(end(half, 'rollback'))).toEqual({ code: 'notFound', about: 'transaction' })
    expect(await visible()).toEqual(['a'])
  })

  it('survive a kill before and after their decision', async () => {
    const open = await publish('open', { properties: { k: 'v' } })
    const done = await publish('done')
    const back = await publish('back')
    await end(done, 'commit')
    await end(back, 'rollback')
    await bench.kill()
    expect(await visible()).toEqual(['done'])
    await end(open, 'commit')
    await bench.reopen()
    const [popped] = await bench.pop('T')
    expect([popped!.message.body.toString(), popped!.message.properties]).toEqual(['open', { k: 'v' }])
    expect(await faultOf(end(open, 'commit'))).toEqual({ code: 'notFound', about: 'transaction' })
  })

  it('are put to a live producer of the group, first after 6 s, then every 30 s', async () => {
    const half = await publish('a')
    await heartbeat()
    await bench.clock.advance(5_900)
    expect(checks()).toEqual([])
    await bench.clock.advance(300)
    expect(checks().map(({ half: asked, message: { body } }) => [asked, body.toString()])).toEqual([[half, 'a']])
    await end(half, 'unknown')
    await bench.clock.advance(CHECK_EVERY_MS - 500)
    expect(checks()).toHaveLength(1)
    await bench.clock.advance(700)
    expect(checks()).toHaveLength(2)
    await end(half, 'commit')
    await heartbeat()
    await bench.clock.advance(CHECK_EVERY_MS * 2)
    expect(checks()).toHaveLength(2)
    expect(await visible()).toEqual(['a'])
  })

  it('are asked about as their producer said', async () => {
    await publish('late', { half: { checkAfter: 60_000 } })
    await publish('soon', { half: { checkAfter: 1_000 } })
    await heartbeat()
    await bench.clock.advance(1_200)
    expect(checks().map(({ message: { body } }) => body.toString())).toEqual(['soon'])
  })

  it('wait for a producer that is away, across restarts of both, without counting', async () => {
    const half = await publish('a')
    await bench.clock.advance(CHECK_EVERY_MS * 20)
    expect(checks()).toEqual([])
    await bench.kill()
    await heartbeat()
    await bench.clock.advance(1_000)
    expect(await visible()).toEqual([])
    expect(checks().map((check) => check.half)).toEqual([half])
    await end(checks()[0]!.half, 'commit')
    expect(await visible()).toEqual(['a'])
  })

  it('are parked where people look after 15 questions without an answer, over restarts', async () => {
    await publish('a', { deliverAt: bench.clock.now() + 10_000 })
    await heartbeat()
    for (let turns = 0; turns < CHECKS_MAX + 2; turns++) {
      await heartbeat()
      await bench.clock.advance(CHECK_EVERY_MS + 200)
      if (turns !== 7) continue
      // A question that nobody wrote down yet is asked once more.
      await bench.publish(message('marker', ''))
      await bench.kill()
    }
    expect(checks()).toHaveLength(CHECKS_MAX)
    expect(await visible()).toEqual([])
    expect(await visible(UNDECIDED_TOPIC)).toEqual(['a'])
    expect([bench.broker.stats().halves, bench.broker.stats().undecided]).toEqual([0, 1])
    expect(bench.lines.some(({ event }) => event === 'transaction.parked')).toBe(true)
  })

  it('end after three days even when nobody could be asked', async () => {
    await publish('a')
    await bench.clock.jump(UNDECIDED_MAX_MS)
    expect(bench.broker.stats().halves).toBe(0)
    expect(await visible(UNDECIDED_TOPIC)).toEqual(['a'])
  })

  it('are popped by who asks for them, and come again when nothing is decided', async () => {
    const half = await publish('a')
    const waiting = popHalves({ wait: 60_000 })
    await turn()
    await bench.clock.advance(6_200)
    expect((await waiting).map((one) => [one.half, one.attempt, one.message.body.toString()])).toEqual([[half, 1, 'a']])
    expect(await popHalves()).toEqual([])
    await bench.clock.advance(10_100)
    const source = { kind: 'halves', topic: 'T', group: 'p' } as const
    const { batch } = await bench.run<'read'>({
      kind: 'read',
      from: { by: 'source', source },
      max: 5,
      bytes: 1e6,
      wait: 0,
    })
    expect(bodies(batch)).toEqual(['a'])
    const [again] = await popHalves()
    expect(again!.attempt).toBe(2)
    await end(again!.half!, 'commit')
    await bench.clock.advance(20_000)
    expect(await popHalves()).toEqual([])
    expect(await visible()).toEqual(['a'])
  })

  it('wait for their time from the commit on', async () => {
    const absolute = await publish('absolute', { deliverAt: bench.clock.now() + 30_000 })
    await bench.clock.advance(40_000)
    expect(await visible()).toEqual([])
    await end(absolute, 'commit')
    expect(await visible()).toEqual(['absolute'])
    const packed = Buffer.from(`${system.half}\x01true\x02${system.delayLevel}\x012\x02`)
    const relative = await publish('relative', { packed })
    await bench.clock.advance(10_000)
    await end(relative, 'commit')
    expect(await visible()).toEqual([])
    await bench.kill()
    await bench.clock.advance(4_800)
    expect(await visible()).toEqual([])
    await bench.clock.advance(400)
    expect(await visible()).toEqual(['relative'])
  })

  it('keep their handles when the segment they stand in is deleted', async () => {
    await bench.reopen({ segmentBytes: 4096, retain: { bytes: 8192 } })
    const half = await publish('kept')
    for (let count = 0; count < 40; count++) await bench.publish(message('U', Buffer.alloc(1000, 'u')))
    await bench.clock.advance(61_000)
    while (bench.broker.stats().start <= half.place) await turn()
    await turn(50)
    expect(bench.broker.stats().start).toBeGreaterThan(half.place)
    await bench.kill({ segmentBytes: 4096, retain: { bytes: 8192 } })
    await end(half, 'commit')
    expect(await visible()).toEqual(['kept'])
  })

  it('are bounded', async () => {
    await bench.reopen({ bounds: { halves: 2 } })
    await publish('a')
    await publish('b')
    expect(await faultOf(publish('c'))).toEqual({ code: 'limit', about: 'transaction' })
  })

  it('are refused by a topic of another type, and plain messages by one for transactions', async () => {
    const put = (type: 'normal' | 'transaction') =>
      bench.run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics: [{ topic: 'T', queues: 1, type }] } })
    await put('normal')
    expect(await faultOf(publish('a'))).toEqual({ code: 'conflict', about: 'type' })
    await put('transaction')
    await publish('a')
    expect(await faultOf(bench.publish(message('T', 'b')))).toEqual({ code: 'conflict', about: 'type' })
  })

  it('are given again, with the same handle, to a publish that is repeated', async () => {
    const once = { key: 'k', keep: 60_000 }
    const command = {
      kind: 'publish',
      messages: [message('T', 'a', { half: {} })],
      group: 'p',
      oneway: false,
      once,
    } as const
    const first = await bench.run<'publish'>(command)
    await bench.kill()
    expect(await bench.run<'publish'>(command)).toEqual(first)
    expect(bench.broker.stats().halves).toBe(1)
  })
})
