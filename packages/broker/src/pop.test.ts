import type { CommandOf, Delivered, Lease } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, faultOf, message, turn } from '../test/support.ts'

const attempts = (delivered: readonly Delivered[]) => delivered.map(({ attempt }) => attempt)

describe('pop', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const many = (topic: string, ...all: string[]) => bench.publish(...all.map((body) => message(topic, body)))
  const group = (more: object) =>
    bench.run<'admin'>({
      kind: 'admin',
      action: { do: 'putGroup', spec: { group: 'g', fifo: false, maxAttempts: 3, backoff: [1000, 2000], ...more } },
    })
  const subscribe = (topic: string, expression: string, client = 'c', from: 'min' | 'max' = 'min') =>
    bench.run<'heartbeat'>(
      {
        kind: 'heartbeat',
        member: {
          produces: [],
          consumes: [
            {
              group: 'g',
              mode: 'pop',
              model: 'cluster',
              from,
              topics: [{ topic, filter: { kind: 'tag', expression }, version: bench.clock.now() }],
            },
          ],
        },
      },
      contextOf(client),
    )

  it('passes over what does not match, once and for all, and is not blocked by it', async () => {
    await subscribe('T', 'a || b')
    await bench.publish(
      ...['a', 'x', 'b', 'x', undefined].map((tag, at) => message('T', `${at}`, tag === undefined ? {} : { tag })),
    )
    expect(bodies(await bench.pop('T'))).toEqual(['0', '2'])
    await bench.reopen()
    await bench.clock.advance(40_000)
    expect(bodies(await bench.pop('T'))).toEqual(['0', '2', '1', '3', '4'].slice(0, 2))
  })

  it('compares tags as texts where their hashes are equal', async () => {
    await bench.publish(message('T', 'one', { tag: 'Aa' }), message('T', 'two', { tag: 'BB' }))
    const filter = { kind: 'tag', expression: 'Aa' } as const
    expect(bodies(await bench.pop('T', { source: { kind: 'group', topic: 'T', group: 'g', filter } }))).toEqual(['one'])
    expect(await bench.pop('T', { source: { kind: 'group', topic: 'T', group: 'g' } })).toEqual([])
  })

  it('follows SQL92, and refuses what is none', async () => {
    await bench.publish(...[1, 5, 9].map((a) => message('T', `${a}`, { properties: { a: `${a}` } })))
    const source = (expression: string) =>
      ({ kind: 'group', topic: 'T', group: 'g', filter: { kind: 'sql92', expression } }) as const
    expect(bodies(await bench.pop('T', { source: source('a > 4 AND a < 9') }))).toEqual(['5'])
    expect(await faultOf(bench.pop('T', { source: source('a >') }))).toEqual({ code: 'invalid', about: 'filter' })
  })

  it('begins where the group says, and remembers it', async () => {
    await many('T', 'old')
    await subscribe('T', '*', 'c', 'max')
    expect(await bench.pop('T')).toEqual([])
    await bench.reopen()
    await many('T', 'new')
    expect(bodies(await bench.pop('T'))).toEqual(['new'])
  })

  it('is fair to queues, and lets new messages in between those that come back', async () => {
    const many = Array.from({ length: 40 }, (_, at) => message('Q', `${at}`))
    await bench.run<'admin'>({
      kind: 'admin',
      action: { do: 'putTopics', topics: [{ topic: 'Q', queues: 4, type: 'mixed' }] },
    })
    await bench.publish(...many)
    const first = [
      await bench.pop('Q', { max: 1 }),
      await bench.pop('Q', { max: 1 }),
      await bench.pop('Q', { max: 1 }),
      await bench.pop('Q', { max: 1 }),
    ].flat()
    expect(new Set(first.map(({ message: { queue } }) => queue.index)).size).toBe(4)
    await bench.settle(first, { kind: 'retry', after: 0, counts: false })
    const next: Delivered[] = []
    for (let turns = 0; turns < 4; turns++) {
      const popped = await bench.pop('Q', { max: 1 })
      next.push(...popped)
      await bench.settle(popped, { kind: 'retry', after: 0, counts: false })
    }
    const seen = new Set(bodies(first))
    expect(bodies(next).some((body) => !seen.has(body))).toBe(true)
  })

  it('moves the time of a message, answers a new receipt, and the old one is void', async () => {
    await many('T', 'x')
    const [one] = await bench.pop('T')
    const { renewed, failed } = await bench.settle([one!], { kind: 'retry', after: 60_000, counts: false })
    expect([failed, (renewed![0] as Lease).invisible]).toEqual([[], 60_000])
    await bench.clock.advance(40_000)
    expect(await bench.pop('T')).toEqual([])
    expect((await bench.settle([one!])).failed[0]!.fault.code).toBe('receiptExpired')
    const moved = { ...one!, receipt: renewed![0]! }
    expect((await bench.settle([moved])).failed).toEqual([])
    await bench.clock.advance(100_000)
    expect(await bench.pop('T')).toEqual([])
  })

  it('counts attempts or not, as it is told, also over a restart', async () => {
    await many('T', 'x')
    const first = await bench.pop('T')
    await bench.settle(first, { kind: 'retry', after: 0, counts: false })
    const second = await bench.pop('T')
    await bench.settle(second, { kind: 'retry', after: 1000, counts: true })
    await bench.reopen()
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(1010)
    const third = await bench.pop('T')
    expect([first, second, third].map(attempts)).toEqual([[1], [1], [2]])
  })

  it('waits as long as the group says when it is told no time', async () => {
    await group({})
    await many('T', 'x')
    await bench.settle(await bench.pop('T'), { kind: 'retry', counts: true })
    await bench.clock.advance(900)
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(200)
    await bench.settle(await bench.pop('T'), { kind: 'retry', counts: true })
    await bench.clock.advance(1900)
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(200)
    expect(attempts(await bench.pop('T'))).toEqual([3])
  })

  it('sends to the dead letters what had all its attempts, with where it came from', async () => {
    await group({})
    await bench.publish(message('T', 'x', { id: 'ID', properties: { mine: '1' } }))
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(attempts(await bench.pop('T'))).toEqual([attempt])
      await bench.clock.advance(31_000)
    }
    expect(await bench.pop('T')).toEqual([])
    const [dead] = await bench.pop('%DLQ%g', { group: 'undertaker', wait: 60_000 })
    expect([dead!.message.body.toString(), dead!.message.id]).toEqual(['x', 'ID'])
    expect(dead!.message.properties).toMatchObject({
      mine: '1',
      DLQ_ORIGIN_TOPIC: 'T',
      DLQ_ORIGIN_MESSAGE_ID: expect.stringMatching(/^[0-9A-F]{32}$/),
    })
    await bench.reopen()
    await bench.clock.advance(60_000)
    expect(await bench.pop('T')).toEqual([])
  })

  it('sends to the dead letters at once when told, and when the limit of the teller is reached', async () => {
    await many('T', 'a', 'b')
    const [one, two] = await bench.pop('T')
    expect((await bench.settle([one!], { kind: 'dead', reason: 'poison' })).failed).toEqual([])
    expect((await bench.settle([two!], { kind: 'retry', counts: true, limit: 1 })).failed).toEqual([])
    expect(bodies(await bench.pop('%DLQ%g', { group: 'undertaker' }))).toEqual(['a', 'b'])
    expect((await bench.settle([one!])).failed[0]!.fault).toMatchObject({ code: 'receiptExpired', about: 'receipt' })
  })

  it('keeps the order of a FIFO group: one batch out, and nothing after it until it is settled', async () => {
    await many('T', 'a', 'b', 'c', 'd')
    const first = await bench.pop('T', { fifo: true, max: 2 })
    expect(bodies(first)).toEqual(['a', 'b'])
    expect(await bench.pop('T', { fifo: true })).toEqual([])
    await bench.settle(first.slice(0, 1))
    expect(await bench.pop('T', { fifo: true })).toEqual([])
    await bench.settle(first.slice(1), { kind: 'retry', after: 5000, counts: true })
    expect(await bench.pop('T', { fifo: true })).toEqual([])
    await bench.clock.advance(5001)
    const second = await bench.pop('T', { fifo: true })
    expect([bodies(second), attempts(second)]).toEqual([['b'], [2]])
    const parked = bench.pop('T', { fifo: true, wait: 60_000 })
    await turn()
    await bench.settle(second)
    expect(bodies(await parked)).toEqual(['c', 'd'])
  })

  it('gives the same attempt the same messages again', async () => {
    await many('T', 'a', 'b')
    const first = await bench.pop('T', { fifo: true, max: 1, attemptId: 'one' })
    const again = await bench.pop('T', { fifo: true, max: 1, attemptId: 'one' })
    expect([bodies(again), attempts(again)]).toEqual([['a'], [1]])
    expect((await bench.settle(first)).failed).toHaveLength(1)
    expect((await bench.settle(again)).failed).toEqual([])
    expect(bodies(await bench.pop('T', { fifo: true, max: 1, attemptId: 'one' }))).toEqual(['b'])
  })

  it('only says whether there is something when asked for nothing', async () => {
    const ask = (wait: number) =>
      bench.run<'pop'>({
        kind: 'pop',
        source: { kind: 'group', topic: 'T', group: 'g' },
        max: 0,
        invisible: 1000,
        wait,
        fifo: false,
      })
    expect(await ask(0)).toMatchObject({ more: false })
    const parked = ask(60_000)
    await turn()
    await many('T', 'x')
    const { batch, more } = await parked
    expect([batch.count, more]).toEqual([0, true])
    expect(bodies(await bench.pop('T'))).toEqual(['x'])
  })

  it('takes back what a parked pop of a client that is gone would have got', async () => {
    await many('T', 'warm')
    await bench.settle(await bench.pop('T'))
    const abort = new AbortController()
    const parked = bench.pop('T', { wait: 60_000, signal: abort.signal })
    await turn()
    abort.abort()
    expect(await parked).toEqual([])
    expect(bench.broker.stats().parked).toBe(0)
    await many('T', 'x')
    const got = await bench.pop('T')
    expect([bodies(got), attempts(got)]).toEqual([['x'], [1]])
  })

  it('finds what comes into a queue that its topic got while it waited', async () => {
    const put = (queues: number) =>
      bench.run<'admin'>({
        kind: 'admin',
        action: { do: 'putTopics', topics: [{ topic: 'G', queues, type: 'mixed' }] },
      })
    await put(1)
    const parked = bench.pop('G', { wait: 60_000 })
    await turn()
    await put(3)
    const into = { topic: 'G', node: bench.broker.node, index: 2 }
    await bench.run<'publish'>({ kind: 'publish', messages: [message('G', 'third')], into, oneway: false })
    expect(bodies(await parked)).toEqual(['third'])
  })

  it('wakes a parked pop when a message is due again or is given back', async () => {
    await many('T', 'x')
    const first = await bench.pop('T', { invisible: 5000 })
    const parked = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.clock.advance(5100)
    const second = await parked
    expect(attempts(second)).toEqual([2])
    const other = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.settle(second, { kind: 'retry', after: 0, counts: false })
    expect(attempts(await other)).toEqual([2])
    expect((await bench.settle(first)).failed).toHaveLength(1)
  })

  it('wakes as many parked pops as there are messages for', async () => {
    await many('T', 'warm')
    await bench.settle(await bench.pop('T'))
    const parked = Array.from({ length: 5 }, () => bench.pop('T', { wait: 10_000, max: 1 }))
    await turn()
    await many('T', '1', '2', '3')
    await turn(20)
    expect(bench.broker.stats().parked).toBe(2)
    await bench.clock.advance(10_100)
    expect((await Promise.all(parked)).flatMap(bodies).sort()).toEqual(['1', '2', '3'])
  })

  it('takes a committed offset as its floor', async () => {
    await many('T', '0', '1', '2', '3')
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    const first = await bench.pop('T', { max: 2 })
    await bench.run<'commitOffset'>({ kind: 'commitOffset', queue, group: 'g', offset: 3 })
    expect((await bench.settle(first)).failed).toHaveLength(2)
    expect(bodies(await bench.pop('T'))).toEqual(['3'])
    await bench.clock.advance(31_000)
    expect(bodies(await bench.pop('T'))).toEqual(['3'])
    const at = { group: 'g' }
    expect((await bench.run<'queryOffset'>({ kind: 'queryOffset', queue, at })).offset).toBe(3)
  })

  it('holds by session until it leaves', async () => {
    await many('T', 'x')
    const first = await bench.pop('T', { invisible: 'session', client: 'a' })
    await bench.clock.advance(10 * 60_000)
    expect(await bench.pop('T', { client: 'b' })).toEqual([])
    await bench.run<'leave'>({ kind: 'leave', what: 'all' }, contextOf('b'))
    expect(await bench.pop('T', { client: 'b' })).toEqual([])
    await bench.run<'leave'>({ kind: 'leave', what: 'all' }, contextOf('a'))
    const second = await bench.pop('T', { client: 'b', invisible: 'session' })
    expect(attempts(second)).toEqual([2])
    expect((await bench.settle(first)).failed).toHaveLength(1)
    await bench.reopen()
    expect(await bench.pop('T')).toEqual([])
    await bench.clock.advance(30_001)
    expect(attempts(await bench.pop('T'))).toEqual([3])
  })

  it('settles on delivery when nothing is to be held, also from the disk', async () => {
    await bench.reopen({ cacheBytes: 1024, segmentBytes: 16 * 1024 })
    const sent = Array.from({ length: 60 }, (_, at) => `${at}.`.padEnd(1000, 'x'))
    for (const body of sent) await many('T', body)
    const got = await bench.pop('T', { max: 30, invisible: 0 })
    expect(got.every(({ receipt }) => receipt === undefined)).toBe(true)
    await bench.reopen()
    const rest = await bench.pop('T', { max: 60, invisible: 0 })
    expect([...bodies(got), ...bodies(rest)]).toEqual(sent)
    await bench.clock.advance(100_000)
    expect(await bench.pop('T')).toEqual([])
  })

  it('sends a pulled message back through %RETRY%, and at last to the dead letters', async () => {
    await group({ maxAttempts: 2 })
    await many('T', 'x')
    const pull = async (topic: string, offset: number) => {
      const from = { by: 'offset', queue: { topic, node: 'sluice-0', index: 0 }, offset } as const
      const read = await bench.run<'read'>({ kind: 'read', from, max: 1, bytes: 1e6, wait: 60_000 })
      return [...read.batch][0]!
    }
    const back = (
      { message: { topic, place, offset } }: Delivered,
      outcome: CommandOf<'settle'>['outcome'] = { kind: 'retry', counts: true },
    ) => {
      const receipt: Lease = {
        of: 'group',
        node: 'sluice-0',
        topic,
        group: 'g',
        queue: 0,
        offset,
        place,
        first: offset,
        poppedAt: 0,
        invisible: 0,
        revive: 0,
        retry: 0,
        attempt: 1,
      }
      return bench.run<'settle'>({ kind: 'settle', receipts: [receipt], outcome })
    }
    expect((await back(await pull('T', 0))).failed).toEqual([])
    const retried = pull('%RETRY%g', 0)
    await bench.clock.advance(1100)
    const again = await retried
    expect([
      again.attempt,
      (again.message as { property?: (name: string) => string }).property?.('RETRY_TOPIC'),
    ]).toEqual([2, 'T'])
    expect((await back(again)).failed).toEqual([])
    const dead = await pull('%DLQ%g', 0)
    expect(dead.message.properties).toMatchObject({ DLQ_ORIGIN_TOPIC: 'T' })
    const { failed } = await back({
      ...again,
      message: { ...again.message, topic: 'T', place: 3, offset: 0 },
    } as Delivered)
    expect(failed[0]!.fault).toMatchObject({ code: 'notFound', about: 'place' })
  })

  it('refuses receipts that it never gave', async () => {
    await many('T', 'x')
    const [one] = await bench.pop('T')
    const real = one!.receipt as Lease
    for (const forged of [
      { poppedAt: real.poppedAt - 1 },
      { offset: 7 },
      { queue: 9 },
      { group: 'h' },
      { topic: 'U' },
    ]) {
      const { failed } = await bench.run<'settle'>({
        kind: 'settle',
        receipts: [{ ...real, ...forged }],
        outcome: { kind: 'accept' },
      })
      expect(failed.map(({ fault }) => [fault.code, fault.about])).toEqual([['receiptExpired', 'receipt']])
    }
    const received = await bench.settle([one!], { kind: 'received' })
    expect(received.failed[0]!.fault).toMatchObject({ code: 'invalid', about: 'outcome' })
  })
})
