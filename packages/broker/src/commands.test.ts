import type { AdminAction, AdminResults, CommandOf, Kind, Message, TopicSpec } from '@sluice/core'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, faultOf, message, turn } from '../test/support.ts'

describe('commands', () => {
  let bench: Bench
  afterEach(() => bench.end())

  const admin = <D extends AdminAction['do'] & keyof AdminResults>(action: AdminAction & { readonly do: D }) =>
    bench.run<'admin'>({ kind: 'admin', action }) as Promise<AdminResults[D]>
  const put = (...topics: TopicSpec[]) => admin<'putTopics'>({ do: 'putTopics', topics })
  const tried = async (one: Message, more: Partial<CommandOf<'publish'>> = {}) => {
    const { stored } = await bench.run<'publish'>({ kind: 'publish', messages: [one], oneway: false, ...more })
    return stored[0] instanceof Error ? [stored[0].code, stored[0].about] : 'stored'
  }

  it('makes topics on first use, or not', async () => {
    bench = await Bench.start()
    expect(await faultOf(bench.run<'topic'>({ kind: 'topic', topic: 'T' }))).toEqual({
      code: 'topicNotFound',
      about: 'topic',
    })
    expect(await tried(message('T', 'x'))).toBe('stored')
    expect((await bench.run<'topic'>({ kind: 'topic', topic: 'T' })).routes).toHaveLength(4)
    await bench.reopen({ autoCreateTopics: false })
    expect(await tried(message('T', 'x'))).toBe('stored')
    expect(await tried(message('U', 'x'))).toEqual(['topicNotFound', 'topic'])
    expect(await faultOf(bench.pop('U'))).toEqual({ code: 'topicNotFound', about: 'topic' })
    expect((await bench.run<'topic'>({ kind: 'topic', topic: '%RETRY%g' })).queues).toBe(1)
  })

  it('refuses what is wrong with a message, one by one', async () => {
    bench = await Bench.start({ bodyBytes: 100 })
    const { stored } = await bench.run<'publish'>({
      kind: 'publish',
      messages: [
        message('T', 'good'),
        message('no/topic', 'x'),
        message('x'.repeat(128), 'x'),
        message('T', 'x'.repeat(101)),
        message('T', 'x', { properties: { p: 'x'.repeat(40_000) } }),
        message('T', 'good'),
      ],
      oneway: false,
    })
    expect(stored.map((one) => (one instanceof Error ? `${one.code} ${one.about}` : one.offset))).toEqual([
      0,
      'invalid topic',
      'invalid topic',
      'tooLarge body',
      'tooLarge properties',
      0,
    ])
    expect(await tried(message('T', 'x'), { into: { topic: 'T', node: 'sluice-0', index: 4 } })).toEqual([
      'invalid',
      'queue',
    ])
    expect(await tried(message('T', 'x', { deliverAt: bench.clock.now() + 10 ** 12 }))).toEqual([
      'invalid',
      'deliverAt',
    ])
    const accepts = bench.run<'publish'>({
      kind: 'publish',
      messages: [],
      oneway: false,
      accepts: [{ of: 'inbox', node: '', inbox: '', epoch: 0, way: 'out', slot: 1 }],
    })
    expect(await faultOf(accepts)).toMatchObject({ code: 'notFound', about: 'inbox' })
  })

  it('holds topics to their type', async () => {
    bench = await Bench.start()
    const types = ['normal', 'fifo', 'delay', 'priority', 'lite', 'mixed'] as const
    await put(...types.map((type) => ({ topic: type, queues: 1, type })))
    const deliverAt = bench.clock.now() + 1000
    const kinds: Record<string, Partial<Message>> = {
      normal: {},
      fifo: { group: 'a' },
      delay: { deliverAt },
      priority: { priority: 1 },
      lite: { path: 'x' },
      packed: { packed: Buffer.from('__SHARDINGKEY\x01a\x02') },
    }
    for (const type of types) {
      const taken: string[] = []
      for (const [kind, more] of Object.entries(kinds)) {
        const answer = await tried(message(type, 'x', more))
        if (answer === 'stored') taken.push(kind)
        else expect(answer).toEqual(['conflict', 'type'])
      }
      const expected = {
        normal: ['normal', 'lite'],
        fifo: ['fifo', 'packed'],
        delay: ['delay'],
        priority: ['priority'],
        lite: ['lite'],
        mixed: Object.keys(kinds),
      }
      expect(taken).toEqual(expected[type])
    }
    expect(await tried(message('fifo', 'x'), { into: { topic: 'fifo', node: 'sluice-0', index: 0 } })).toBe('stored')
  })

  it('puts messages of one FIFO group into one queue', async () => {
    bench = await Bench.start()
    const stored = await bench.publish(
      ...Array.from({ length: 40 }, (_, at) => message('T', `${at}`, { group: `g${at % 5}` })),
    )
    const queues = new Map<string, Set<number>>()
    stored.forEach(({ queue }, at) => {
      const key = `g${at % 5}`
      queues.set(key, (queues.get(key) ?? new Set()).add(queue.index))
    })
    expect([...queues.values()].map(({ size }) => size)).toEqual([1, 1, 1, 1, 1])
    expect(new Set([...queues.values()].flatMap((set) => [...set])).size).toBeGreaterThan(1)
  })

  it('delays as RocketMQ’s own properties say, and delivers under the chosen queue', async () => {
    bench = await Bench.start()
    const packed = Buffer.from('DELAY\x013\x02UNIQ_KEY\x01K\x02')
    await bench.publish(message('T', 'x', { packed }))
    const parked = bench.pop('T', { wait: 60_000 })
    await bench.clock.advance(9900)
    expect(bench.broker.stats().parked).toBe(1)
    await bench.clock.advance(200)
    const [one] = await parked
    expect([one!.message.id, one!.message.deliverAt, one!.message.packed!.toString()]).toEqual([
      'K',
      bench.clock.now() - 100,
      expect.not.stringContaining('DELAY\x01'),
    ])
    const into = { topic: 'T', node: 'sluice-0', index: 2 }
    await bench.run<'publish'>({
      kind: 'publish',
      messages: [message('T', 'y', { deliverAt: bench.clock.now() + 500 })],
      oneway: false,
      into,
    })
    const second = bench.pop('T', { wait: 60_000 })
    await bench.clock.advance(600)
    expect((await second)[0]!.message.queue.index).toBe(2)
  })

  it('counts the attempts of what a client sends back by itself', async () => {
    bench = await Bench.start()
    await bench.publish(
      message('%RETRY%g', 'x', { packed: Buffer.from('RECONSUME_TIME\x013\x02RETRY_TOPIC\x01T\x02') }),
    )
    const queue = { topic: '%RETRY%g', node: 'sluice-0', index: 0 }
    const from = { by: 'offset', queue, offset: 0 } as const
    const { batch } = await bench.run<'read'>({ kind: 'read', from, max: 1, bytes: 1, wait: 0 })
    expect([...batch][0]!.attempt).toBe(4)
  })

  it('puts many topics at once, grows queues and never shrinks them', async () => {
    bench = await Bench.start()
    const { failed } = await put(
      { topic: 'A', queues: 2, type: 'normal' },
      { topic: 'b/d', queues: 1, type: 'normal' },
      { topic: 'C', queues: 0, type: 'normal' },
      { topic: 'D', queues: 2000, type: 'normal' },
    )
    expect(failed.map(({ at, fault }) => [at, fault.code, fault.about])).toEqual([
      [1, 'invalid', 'topic'],
      [2, 'invalid', 'queues'],
      [3, 'invalid', 'queues'],
    ])
    expect((await put({ topic: 'A', queues: 8, type: 'normal' })).failed).toEqual([])
    expect((await put({ topic: 'A', queues: 4, type: 'normal' })).failed[0]!.fault).toMatchObject({
      code: 'invalid',
      about: 'queues',
    })
    await bench.reopen()
    expect((await admin<'listTopics'>({ do: 'listTopics' })).topics).toEqual([
      { topic: 'A', queues: 8, type: 'normal' },
    ])
    expect((await admin<'nodes'>({ do: 'nodes' })).nodes).toEqual([
      { node: 'sluice-0', address: '', cluster: 'sluice' },
    ])
  })

  it('ends waiting polls of a topic or group that is deleted', async () => {
    bench = await Bench.start()
    await bench.publish(message('T', 'x'))
    await bench.pop('T', { invisible: 0 })
    const pop = faultOf(bench.pop('T', { wait: 60_000 }))
    const from = { by: 'offset', queue: { topic: 'T', node: 'sluice-0', index: 0 }, offset: 1 } as const
    const read = faultOf(bench.run<'read'>({ kind: 'read', from, max: 1, bytes: 1, wait: 60_000 }))
    await turn()
    await admin<'deleteTopic'>({ do: 'deleteTopic', topic: 'T' })
    expect([await pop, await read]).toEqual([
      { code: 'topicNotFound', about: 'topic' },
      { code: 'topicNotFound', about: 'topic' },
    ])
    expect(await faultOf(admin<'deleteTopic'>({ do: 'deleteTopic', topic: 'T' }))).toMatchObject({
      code: 'topicNotFound',
    })
    await bench.publish(message('U', 'x'))
    await bench.pop('U', { invisible: 0 })
    const other = faultOf(bench.pop('U', { wait: 60_000 }))
    await turn()
    await admin<'deleteGroup'>({ do: 'deleteGroup', group: 'g' })
    expect(await other).toEqual({ code: 'groupNotFound', about: 'group' })
    expect(await faultOf(admin<'deleteGroup'>({ do: 'deleteGroup', group: 'none' }))).toMatchObject({
      code: 'groupNotFound',
    })
    await bench.reopen()
    expect(bodies(await bench.pop('U'))).toEqual(['x'])
  })

  it('keeps group settings and progress', async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    const spec = { group: 'g', fifo: true, maxAttempts: 5, backoff: { initial: 100, max: 1000, times: 2 } }
    await admin<'putGroup'>({ do: 'putGroup', spec })
    await bench.publish(message('T', 'a'), message('T', 'b'))
    await bench.settle((await bench.pop('T')).slice(0, 1))
    await bench.reopen()
    expect(await bench.run<'group'>({ kind: 'group', group: 'g', progress: {} })).toEqual({
      ...spec,
      progress: [{ queue: { topic: 'T', node: 'sluice-0', index: 0 }, committed: 1, max: 2, leased: 1 }],
    })
    expect(await bench.run<'group'>({ kind: 'group', group: 'new' })).toMatchObject({ maxAttempts: 17, fifo: false })
    expect(await faultOf(bench.run<'group'>({ kind: 'group', group: 'a b' }))).toEqual({
      code: 'invalid',
      about: 'group',
    })
    expect(await faultOf(admin<'putGroup'>({ do: 'putGroup', spec: { ...spec, maxAttempts: 0 } }))).toEqual({
      code: 'invalid',
      about: 'maxAttempts',
    })
  })

  it('answers offsets by every way of asking', async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    const times: number[] = []
    for (let at = 0; at < 5; at++) {
      times.push(bench.clock.now())
      await bench.publish(message('T', `${at}`), message('T', `${at}`))
      await bench.clock.advance(1000)
    }
    const ask = async (at: CommandOf<'queryOffset'>['at']) =>
      (await bench.run<'queryOffset'>({ kind: 'queryOffset', queue, at })).offset
    expect(
      await Promise.all([ask('min'), ask('max'), ask({ last: 3 }), ask({ last: 99 }), ask({ offset: 4 })]),
    ).toEqual([0, 10, 7, 0, 4])
    expect(await Promise.all([0, times[2]!, times[2]! + 1, 10 ** 14].map((time) => ask({ time })))).toEqual([
      0, 4, 6, 10,
    ])
    expect(
      await Promise.all([0, times[2]!, times[2]! + 1, 10 ** 14].map((time) => ask({ time, edge: 'upper' }))),
    ).toEqual([0, 5, 5, 9])
    const missing = bench.run<'queryOffset'>({ kind: 'queryOffset', queue, at: { group: 'g' } })
    expect(await faultOf(missing)).toEqual({ code: 'notFound', about: 'offset' })
    await bench.run<'commitOffset'>({ kind: 'commitOffset', queue, group: 'g', offset: 0 })
    expect(await ask({ group: 'g' })).toBe(0)
    await bench.run<'commitOffset'>({ kind: 'commitOffset', queue, group: 'g', offset: 6 })
    await bench.reopen()
    expect(await ask({ group: 'g' })).toBe(6)
    const { offsets } = await admin<'resetOffset'>({
      do: 'resetOffset',
      topic: 'T',
      group: 'g',
      to: { time: times[1]! },
    })
    expect(offsets).toEqual([{ queue, offset: 2 }])
    expect(bench.notices.at(-1)).toMatchObject({ kind: 'resetOffset', group: 'g' })
    expect(bodies(await bench.pop('T', { max: 1 }))).toEqual(['1'])
    expect(await faultOf(bench.run<'commitOffset'>({ kind: 'commitOffset', queue, group: 'g', offset: -1 }))).toEqual({
      code: 'invalid',
      about: 'offset',
    })
  })

  it('reads with a wait, a filter and a commit, and answers offsets outside', async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    await bench.publish(
      message('T', '0', { tag: 'a' }),
      message('T', '1', { tag: 'b' }),
      message('T', '2', { tag: 'b' }),
    )
    const read = (offset: number, more: Partial<CommandOf<'read'>> = {}) =>
      bench.run<'read'>({
        kind: 'read',
        from: { by: 'offset', queue, offset, group: 'g' },
        max: 10,
        bytes: 1e6,
        wait: 0,
        ...more,
      })
    const filter = { kind: 'tag', expression: 'a' } as const
    const filtered = await read(1, { filter, commit: 1 })
    expect([filtered.batch.count, filtered.next]).toEqual([0, 3])
    expect((await bench.run<'queryOffset'>({ kind: 'queryOffset', queue, at: { group: 'g' } })).offset).toBe(1)
    expect([(await read(99)).next, (await read(0, { max: 0 })).next]).toEqual([3, 0])
    expect((await read(0, { bytes: 1 })).batch.count).toBe(1)
    const waiting = read(3, { filter, wait: 60_000 })
    await turn()
    await bench.publish(message('T', '3', { tag: 'b' }))
    await bench.publish(message('T', '4', { tag: 'a' }))
    expect(bodies((await waiting).batch)).toEqual(['4'])
    const idle = read(5, { wait: 1000 })
    await turn()
    await bench.clock.advance(1100)
    expect(await idle).toMatchObject({ next: 5, min: 0, max: 5 })
    const [one] = (await read(0)).batch
    const at = await bench.run<'read'>({
      kind: 'read',
      from: { by: 'place', node: '', place: one!.message.place },
      max: 1,
      bytes: 1,
      wait: 0,
    })
    expect(bodies(at.batch)).toEqual(['0'])
    for (const place of [one!.message.place + 1, 8, -5, 10 ** 9, Number.NaN])
      expect(
        await faultOf(
          bench.run<'read'>({ kind: 'read', from: { by: 'place', node: '', place }, max: 1, bytes: 1, wait: 0 }),
        ),
      ).toEqual({ code: 'notFound', about: 'place' })
  })

  it('looks without taking, and finds by key', async () => {
    bench = await Bench.start({ defaultQueues: 2 })
    await bench.publish(
      message('T', 'a', { id: 'A', keys: ['k', 'l'] }),
      message('T', 'b', { keys: ['k'] }),
      message('T', 'c'),
    )
    const source = { kind: 'group', topic: 'T', group: 'g' } as const
    const look = async () =>
      bodies(
        (await bench.run<'read'>({ kind: 'read', from: { by: 'source', source }, max: 10, bytes: 1e6, wait: 0 })).batch,
      ).sort()
    expect(await look()).toEqual(['a', 'b', 'c'])
    const popped = await bench.pop('T', { max: 1 })
    expect(await look()).toHaveLength(2)
    await bench.settle(popped, { kind: 'retry', after: 0, counts: false })
    expect(await look()).toEqual(['a', 'b', 'c'])
    const find = async (key: string, unique: boolean, before = 10 ** 14) =>
      bodies(
        (
          await bench.run<'read'>({
            kind: 'read',
            from: { by: 'key', topic: 'T', key, unique, after: 0, before },
            max: 10,
            bytes: 1e6,
            wait: 0,
          })
        ).batch,
      ).sort()
    expect([await find('k', false), await find('A', true), await find('A', false), await find('k', false, 5)]).toEqual([
      ['a', 'b'],
      ['a'],
      [],
      [],
    ])
  })

  it('knows its members, tells them of changes, shares queues and locks them', async () => {
    bench = await Bench.start()
    await put({ topic: 'T', queues: 5, type: 'mixed' })
    const beat = (client: string, groups: string[]) =>
      bench.run<'heartbeat'>(
        {
          kind: 'heartbeat',
          member: {
            produces: ['p'],
            consumes: groups.map((group) => ({
              group,
              mode: 'push',
              model: 'cluster',
              from: 'max',
              topics: [{ topic: 'T', version: 1 }],
            })),
          },
        },
        contextOf(client),
      )
    await beat('b', ['g'])
    await beat('a', ['g'])
    await beat('a', ['g'])
    expect(bench.notices.filter(({ kind }) => kind === 'rebalance')).toHaveLength(2)
    const clients = async (group?: string) =>
      (await bench.run<'members'>({ kind: 'members', ...(group !== undefined && { group }) })).members
        .map(({ client }) => client)
        .sort()
    expect([await clients('g'), await clients('p'), await clients(), await clients('none')]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
      ['a', 'b'],
      [],
    ])
    bench.broker.onNotice(async (to, notice) => ({ to, notice }))
    const notice = { kind: 'probe', ask: 'status' } as const
    const asked = await admin<'ask'>({ do: 'ask', client: 'a', notice })
    expect(asked.answer).toMatchObject({ to: { session: expect.any(String) }, notice })
    expect(await faultOf(admin<'ask'>({ do: 'ask', client: 'nobody', notice }))).toEqual({
      code: 'notFound',
      about: 'members',
    })
    const assign = async (client: string, strategy: string, model: 'cluster' | 'broadcast' = 'cluster') =>
      (
        await bench.run<'assign'>({ kind: 'assign', topic: 'T', group: 'g', strategy, model }, contextOf(client))
      ).queues?.map(({ queue }) => queue.index)
    expect([await assign('a', 'AVG'), await assign('b', 'AVG'), await assign('c', 'AVG')]).toEqual([
      [0, 1, 2],
      [3, 4],
      undefined,
    ])
    expect([await assign('a', 'AVG_BY_CIRCLE'), await assign('b', 'AVG', 'broadcast')]).toEqual([
      [0, 2, 4],
      [0, 1, 2, 3, 4],
    ])
    expect(await faultOf(assign('a', 'MAGIC'))).toEqual({ code: 'unsupported', about: 'strategy' })
    const queue = { topic: 'T', node: 'sluice-0', index: 0 }
    const lock = async (client: string, hold: boolean) =>
      (await bench.run<'lock'>({ kind: 'lock', group: 'g', queues: [queue], hold }, contextOf(client))).locked.length
    expect([await lock('a', true), await lock('b', true), await lock('a', true)]).toEqual([1, 0, 1])
    await bench.clock.advance(60_001)
    expect(await lock('b', true)).toBe(1)
    await lock('b', false)
    expect(await lock('a', true)).toBe(1)
    await bench.run<'leave'>({ kind: 'leave', what: { group: 'g' } }, contextOf('b'))
    expect(await clients('g')).toEqual(['a'])
    await bench.clock.advance(130_000)
    expect(await clients('g')).toEqual([])
  })

  it('refuses what it cannot do, and everything once it is closed', async () => {
    bench = await Bench.start()
    const command: CommandOf<Kind> = { kind: 'admin', action: { do: 'listUsers' } }
    expect(await faultOf(bench.run(command))).toMatchObject({ code: 'unsupported' })
    expect(await faultOf(bench.broker.execute('elsewhere', command, contextOf()))).toMatchObject({
      code: 'unavailable',
    })
    const parked = bench.pop('T', { wait: 60_000 })
    await turn()
    await bench.broker.close()
    expect(await parked).toEqual([])
    expect(await faultOf(bench.pop('T'))).toMatchObject({ code: 'unavailable' })
    await bench.broker.close()
  })

  it('keeps every bound', async () => {
    bench = await Bench.start({ defaultQueues: 1, bounds: { topics: 2, groups: 1, parked: 2, leases: 2, delayed: 1 } })
    await bench.publish(message('A', '1'), message('A', '2'), message('A', '3'), message('B', '1'))
    expect(await tried(message('C', 'x'))).toEqual(['limit', 'topic'])
    expect(await tried(message('A', 'x', { deliverAt: bench.clock.now() + 1000 }))).toBe('stored')
    expect(await tried(message('A', 'x', { deliverAt: bench.clock.now() + 1000 }))).toEqual(['limit', 'deliverAt'])
    const first = await bench.pop('A')
    expect(bodies(first)).toEqual(['1', '2'])
    const parked = [bench.pop('A', { wait: 60_000 }), bench.pop('B', { wait: 60_000, max: 0 })]
    expect(await bench.pop('A')).toEqual([])
    void parked[1]!.catch(() => undefined)
    await turn()
    const other = bench.pop('A', { wait: 60_000 })
    await turn()
    expect(await faultOf(bench.pop('A', { wait: 60_000 }))).toEqual({ code: 'limit', about: 'poll' })
    expect(await faultOf(bench.pop('A', { group: 'h' }))).toEqual({ code: 'limit', about: 'group' })
    await bench.settle(first)
    expect(bodies(await parked[0]!)).toEqual(['3'])
    await bench.broker.close()
    await other
  })

  it('comes up with more than it would make today', async () => {
    bench = await Bench.start({ defaultQueues: 1 })
    await bench.publish(message('A', '1'), message('B', '1'))
    for (const group of ['g', 'h']) await bench.pop('A', { group })
    await bench.reopen({ bounds: { topics: 1, groups: 1 } })
    expect(bench.broker.stats()).toMatchObject({ topics: 2, groups: 2 })
    expect(bench.lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
