import { gzipSync } from 'node:zlib'
import { Fault, type Limits, type Message, names, type Replies } from '@sluice/core'
import { encodeRecord, noHost, propertyText, request, response, splitRecords, viewRecord } from '@sluice/remoting'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { consumer, RemotingClient } from '../test/client.ts'
import { remoting } from './index.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

const open = async (limits: Partial<Limits> = {}, options: FakeGatewayOptions = {}) => {
  const gateway = fakeGateway({ autoCreate: false, topics: ['T'], limits, ...options })
  gateways.push(gateway)
  const protocol = remoting()
  const server = await serverOf(protocol, gateway)
  const one = await RemotingClient.connect(protocol, gateway)
  return { gateway, server, one, connect: () => RemotingClient.connect(protocol, gateway) }
}

const record = (offset: number, message: Partial<Message> = {}): Buffer =>
  encodeRecord({ topic: 'T', body: Buffer.from(`m${offset}`), properties: {}, ...message }, noHost, {
    queue: 0,
    offset,
    place: offset * 1000,
    storedAt: 1,
  })

const reading = (records: readonly Buffer[], next: number, min: number, max: number): Replies['read'] => ({
  batch: {
    count: records.length,
    bytes: records,
    *[Symbol.iterator]() {
      for (const one of records) yield { message: viewRecord(one, 'n'), attempt: 1 }
    },
  },
  next,
  min,
  max,
})

describe('a pull', () => {
  it('is answered with the records as they are stored', async () => {
    const { gateway, one } = await open()
    const records = [record(5), record(6)]
    gateway.answer('read', () => reading(records, 7, 1, 9))
    const answer = await one.pull('T', 'G', { queueOffset: 5 })
    expect(answer.code).toBe(0)
    expect(answer.body).toEqual(Buffer.concat(records))
    expect(answer.ext).toEqual({ suggestWhichBrokerId: '0', nextBeginOffset: '7', minOffset: '1', maxOffset: '9' })
    expect(gateway.of('read')[0]).toEqual({
      kind: 'read',
      from: { by: 'offset', queue: { topic: 'T', node: 'memory', index: 0 }, offset: 5, group: 'G' },
      max: 32,
      bytes: 262_144,
      wait: 0,
    })
  })

  it('is answered with records also where the broker has none', async () => {
    const { one } = await open()
    await one.send('T', 'first', { i: 'UNIQ_KEY\x01ID\x02' })
    const { body } = await one.pull('T', 'G')
    const [only] = splitRecords(body as Buffer)
    const message = viewRecord(only as Buffer, '')
    expect([message.topic, String(message.body), message.id, message.offset]).toEqual(['T', 'first', 'ID', 0])
  })

  it.each([
    [{ next: 5, min: 0, max: 5 }, response.pullNotFound],
    [{ next: 8, min: 0, max: 9 }, response.pullRetryImmediately],
    [{ next: 7, min: 7, max: 9 }, response.pullOffsetMoved],
    [{ next: 3, min: 0, max: 3 }, response.pullOffsetMoved],
    [{ next: 0, min: 0, max: 0 }, response.pullOffsetMoved],
  ])('at 5 with nothing to give, %j, is answered with %i and all four fields', async ({ next, min, max }, code) => {
    const { gateway, one } = await open()
    gateway.answer('read', () => reading([], next, min, max))
    const answer = await one.pull('T', 'G', { queueOffset: 5 })
    expect(answer.code).toBe(code)
    expect(answer.ext).toEqual({
      suggestWhichBrokerId: '0',
      nextBeginOffset: String(next),
      minOffset: String(min),
      maxOffset: String(max),
    })
  })

  it('is refused by what is not there', async () => {
    const { gateway, one } = await open()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    const code = async (topic: string, group: string, more = {}) => (await one.pull(topic, group, more)).code
    expect(await code('nowhere', 'other')).toBe(response.topicNotExist)
    expect(await code('T', 'G', { queueId: 7 })).toBe(response.invalidParameter)
    expect(await code('S', 'G')).toBe(response.subscriptionNotExist)
    gateway.failNext('read', new Fault('groupNotFound', 'who'))
    expect(await code('T', 'other')).toBe(response.subscriptionGroupNotExist)
  })

  it('uses the filter of the heartbeat, its own where it says one, the group as registered elsewhere', async () => {
    const { gateway, one } = await open()
    const tagged = consumer('G', [], { subscriptionDataSet: [{ topic: 'T', subString: 'a || b', subVersion: 3 }] })
    await one.heartbeat('c1', [tagged, consumer('H', [])])
    await one.pull('T', 'G', { subVersion: 3 })
    await one.pull('T', 'G', { subVersion: 9, sysFlag: 4, subscription: 'c' })
    await one.pull('T', 'H')
    await one.pull('T', 'stranger', { sysFlag: 1, commitOffset: 3 })
    expect(gateway.of('read').map(({ filter, commit }) => [filter?.expression, commit])).toEqual([
      ['a || b', undefined],
      ['c', undefined],
      [undefined, undefined],
      [undefined, 3],
    ])
  })

  it('is read without a filter while a newer version of it is not known, and refused where only the broker filters', async () => {
    const { gateway, one } = await open()
    const say = (group: string, expressionType: string) =>
      consumer(group, [], { subscriptionDataSet: [{ topic: 'T', subString: 'a', subVersion: 1, expressionType }] })
    await one.heartbeat('c1', [say('G', 'TAG'), say('H', 'SQL92')])
    await one.pull('T', 'G', { subVersion: 2 })
    expect(gateway.of('read')[0]?.filter).toEqual({ kind: 'tag', expression: '*' })
    expect((await one.pull('T', 'H', { subVersion: 2 })).code).toBe(response.subscriptionNotLatest)
  })

  it('counts what only another protocol understands, and looks at no other message', async () => {
    const { gateway, one } = await open()
    let looked = 0
    const answer = (records: readonly Buffer[]) => {
      const reply = reading(records, 2, 0, 2)
      gateway.answer('read', () => ({
        ...reply,
        batch: {
          ...reply.batch,
          *[Symbol.iterator]() {
            looked++
            yield* reply.batch
          },
        },
      }))
    }
    answer([record(0), record(1)])
    await one.pull('T', 'G')
    expect([looked, gateway.losses.length]).toEqual([0, 0])
    const original = { protocol: 'amqp', bytes: Buffer.from('types') }
    answer([record(0), record(1, { via: 'amqp', original })])
    await one.pull('T', 'G')
    expect([looked, gateway.losses]).toEqual([1, [{ from: 'amqp', to: 'remoting', field: 'original' }]])
    expect(propertyText({ topic: 'T', body: Buffer.alloc(0), properties: {}, original })).toContain(names.original)
  })
})

describe('a body in gzip', () => {
  const gzip = (body: Buffer) => record(0, { body, encoding: 'gzip', via: 'grpc', properties: { a: 'b' }, tag: 'x' })
  const pulled = async (stored: Buffer) => {
    const { gateway, one } = await open()
    gateway.answer('read', () => reading([stored], 1, 0, 1))
    const [only] = splitRecords((await one.pull('T', 'G')).body as Buffer)
    return { gateway, message: viewRecord(only as Buffer, '') }
  }

  it('is inflated, because no client of this wire could', async () => {
    const { gateway, message } = await pulled(gzip(gzipSync('hello')))
    expect([String(message.body), message.tag, message.properties]).toEqual(['hello', 'x', { a: 'b' }])
    expect(gateway.losses).toEqual([])
  })

  it('stays and is counted when it is none, or too large', async () => {
    for (const body of [Buffer.from('no gzip'), gzipSync(Buffer.alloc(17 * 1024 * 1024))]) {
      const { gateway, message } = await pulled(gzip(body))
      expect(message.body).toEqual(body)
      expect(gateway.losses).toEqual([{ from: 'grpc', to: 'remoting', field: 'encoding' }])
    }
  })
})

describe('a pull that waits', () => {
  const waiting = { sysFlag: 2, queueOffset: 0 }

  it('is answered as soon as there is a message, and nothing else waits for it', async () => {
    const { gateway, server, one } = await open()
    const pull = one.pull('T', 'G', waiting)
    await gateway.next('read')
    const [connection] = server.connections()
    expect(connection?.busy).toBe(0)
    expect((await one.ask(request.getMaxOffset, { topic: 'T', queueId: 0 })).code).toBe(0)
    await one.send('T', 'now')
    expect(await pull).toMatchObject({ code: 0, ext: { nextBeginOffset: '1' } })
  })

  it('is answered with 19 when its time is over', async () => {
    const { gateway, one } = await open()
    const pull = one.pull('T', 'G', { ...waiting, suspendTimeoutMillis: 15_000 })
    await gateway.next('read')
    await gateway.clock.pass(14_900)
    expect(one.open).toBe(1)
    await gateway.clock.pass(200)
    expect(await pull).toMatchObject({ code: response.pullNotFound, ext: { nextBeginOffset: '0', maxOffset: '0' } })
  })

  it('is one of limits.parked; the next ones are read at once and told to come later', async () => {
    const { gateway, one } = await open({ parked: 3 })
    const parked = [one.pull('T', 'G', waiting), one.pull('T', 'G', waiting), one.pull('T', 'G', waiting)]
    await turns()
    expect(gateway.parked).toBe(3)
    expect((await one.pull('T', 'G', waiting)).code).toBe(response.systemBusy)
    expect(gateway.parked).toBe(3)
    await one.send('T', 'x')
    await Promise.all(parked)
    expect((await one.pull('T', 'G', waiting)).code).toBe(0)
  })

  it('ends with its connection', async () => {
    const { gateway, one } = await open()
    for (let count = 0; count < 10; count++) void one.pull('T', 'G', waiting)
    await turns()
    expect(gateway.parked).toBe(10)
    one.wire.destroy()
    await one.wire.closed
    await turns()
    expect(gateway.parked).toBe(0)
  })

  it('is held and then told that there is nothing when it is throttled, whether it wanted to wait or not', async () => {
    const { gateway, server, one } = await open()
    gateway.failNext('read', new Fault('throttled', 'slower', { retryAfter: 4_000 }), 2)
    const pulls = [one.pull('T', 'G', waiting), one.pull('T', 'G', { queueOffset: 0 })]
    await turns()
    const [connection] = server.connections()
    expect([one.open, connection?.busy]).toEqual([2, 0])
    await gateway.clock.pass(1_100)
    expect(one.open).toBe(1)
    await gateway.clock.pass(3_000)
    expect((await Promise.all(pulls)).map(({ code }) => code)).toEqual([19, 19])
  })

  it('on a retry topic that does not exist yet is held', async () => {
    const { gateway, one } = await open()
    await one.heartbeat('c1', [consumer('G', ['T', '%RETRY%G'])])
    const pull = one.pull('%RETRY%G', 'G', { ...waiting, subVersion: 1 })
    await turns()
    expect(one.open).toBe(1)
    await gateway.clock.pass(6_000)
    expect((await pull).code).toBe(response.pullNotFound)
  })

  it('is not held beyond limits.parked either', async () => {
    const { gateway, one } = await open({ parked: 1 })
    gateway.failNext('read', new Fault('throttled', 'slower', { retryAfter: 9_000 }), 2)
    void one.pull('T', 'G', waiting)
    await turns()
    expect((await one.pull('T', 'G')).code).toBe(response.systemBusy)
  })

  it('is told nothing new while its reader does not keep up, and loses nothing', async () => {
    const { gateway, one, connect } = await open({ outboundBytes: 32 * 1024 })
    const producer = await connect()
    const pulls = Array.from({ length: 12 }, () => one.pull('T', 'G', waiting))
    await turns()
    expect(gateway.parked).toBe(12)
    one.wire.socket.pause()
    await producer.send('T', Buffer.alloc(64 * 1024))
    await turns(30)
    one.wire.socket.resume()
    const codes = (await Promise.all(pulls)).map(({ code }) => code)
    expect(codes.filter((code) => code === 0)).toHaveLength(1)
    expect(codes.filter((code) => code === response.pullNotFound)).toHaveLength(11)
    expect((await one.pull('T', 'G', waiting)).code).toBe(0)
  })
})
