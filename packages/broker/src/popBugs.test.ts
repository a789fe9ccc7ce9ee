import type { Membership } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, message, turn } from '../test/support.ts'

/** Mistakes that apache/rocketmq made in its pop, by the number of the issue. */
describe('pop is without', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const many = (count: number, prefix = '') =>
    bench.publish(...Array.from({ length: count }, (_, at) => message('T', `${prefix}${at}`)))

  it('#3787: a slow consumer cannot settle, or give back, what somebody else holds by now', async () => {
    await many(1)
    const slow = await bench.pop('T', { invisible: 1000, client: 'slow' })
    await bench.clock.advance(1001)
    const quick = await bench.pop('T', { invisible: 60_000, client: 'quick' })
    expect(quick.map(({ attempt }) => attempt)).toEqual([2])
    expect((await bench.settle(slow)).failed.map(({ fault }) => fault.code)).toEqual(['receiptExpired'])
    const back = await bench.settle(slow, { kind: 'retry', after: 0, counts: true })
    expect(back.failed.map(({ fault }) => fault.code)).toEqual(['receiptExpired'])
    expect(await bench.pop('T', { client: 'third' })).toEqual([])
    expect((await bench.settle(quick)).failed).toEqual([])
  })

  it('#7914: what was out when the broker died comes again, each time', async () => {
    await many(3)
    await bench.settle((await bench.pop('T', { max: 1 })).slice(0, 1))
    for (let attempt = 1; attempt < 4; attempt++) {
      const popped = await bench.pop('T')
      expect(popped.map((one) => [one.message.body.toString(), one.attempt])).toEqual([
        ['1', attempt],
        ['2', attempt],
      ])
      await bench.kill()
      await bench.clock.advance(30_001)
    }
  })

  it('#5408: a message that is held for long holds up none behind it', async () => {
    await many(20)
    await bench.pop('T', { max: 1, invisible: 3_600_000 })
    await bench.pop('T', { max: 19, invisible: 1000 })
    await bench.clock.advance(1001)
    expect(await bench.pop('T')).toHaveLength(19)
    expect(await bench.pop('T')).toEqual([])
  })

  it('#4815: the first retry comes after ten seconds', async () => {
    await many(1)
    await bench.settle(await bench.pop('T'), { kind: 'retry', counts: true })
    await bench.clock.advance(9_900)
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(200)
    expect((await bench.pop('T')).map(({ attempt }) => attempt)).toEqual([2])
  })

  it('#6681: a pop that waits is woken by a message that comes back', async () => {
    await many(1)
    await bench.pop('T', { invisible: 2000 })
    const first = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.clock.advance(2100)
    const [again] = await first
    expect(again!.attempt).toBe(2)
    const second = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.settle([again!], { kind: 'retry', after: 0, counts: true })
    expect((await second).map(({ attempt }) => attempt)).toEqual([3])
  })

  it('#10058: neither do retries starve new messages, nor new ones the retries', async () => {
    await many(100, 'old')
    await bench.pop('T', { max: 100, invisible: 1 })
    await bench.clock.advance(10)
    await many(100, 'new')
    const kinds: string[] = []
    for (let pops = 0; pops < 8; pops++) {
      const [one] = await bench.pop('T', { max: 1, invisible: 1_000_000 })
      kinds.push(one!.message.body.toString().slice(0, 3))
    }
    expect(kinds.filter((kind) => kind === 'new')).toHaveLength(2)
    expect(kinds.filter((kind) => kind === 'old')).toHaveLength(6)
  })
})

describe('a lease for as long as its session lives', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    await bench.publish(message('T', 'a'), message('T', 'b'))
  })
  afterEach(() => bench.end())

  const consumes = (...groups: string[]): Membership => ({
    produces: [],
    consumes: groups.map((group) => ({ group, mode: 'pop', model: 'cluster', from: 'min', topics: [] })),
  })
  const heartbeat = (client: string, ...groups: string[]) =>
    bench.run<'heartbeat'>({ kind: 'heartbeat', member: consumes(...groups) }, contextOf(client))
  const pop = (client: string, group = 'g') => bench.pop('T', { client, group, invisible: 'session' })

  it('lasts while heartbeats come, and ends when they stop', async () => {
    await heartbeat('a', 'g')
    const held = await pop('a')
    for (let beats = 0; beats < 20; beats++) {
      await bench.clock.advance(60_000)
      await heartbeat('a', 'g')
    }
    expect(await pop('b')).toEqual([])
    await bench.settle(held.slice(0, 1))
    await bench.clock.advance(131_000)
    expect((await pop('b')).map((one) => [one.message.body.toString(), one.attempt])).toEqual([['b', 2]])
    expect((await bench.settle(held.slice(1))).failed).toHaveLength(1)
  })

  it('ends with the leave of its group, and no other', async () => {
    await heartbeat('a', 'g', 'h')
    await pop('a', 'g')
    await pop('a', 'h')
    await bench.run<'leave'>({ kind: 'leave', what: { group: 'g' } }, contextOf('a'))
    expect(bodies(await pop('b', 'g'))).toEqual(['a', 'b'])
    expect(await pop('b', 'h')).toEqual([])
    await bench.run<'leave'>({ kind: 'leave', what: 'all' }, contextOf('a'))
    expect(bodies(await pop('b', 'h'))).toEqual(['a', 'b'])
  })

  it('outlives a restart by half a minute, in which it can be settled', async () => {
    const held = await pop('a')
    await bench.kill()
    expect(await pop('b')).toEqual([])
    expect((await bench.settle(held.slice(0, 1))).failed).toEqual([])
    await bench.clock.advance(30_100)
    expect(bodies(await pop('b'))).toEqual(['b'])
  })
})
