import { Fault, type Queue } from '@sluice/core'
import { type Frame, parseOffsetMsgId, request, response } from '@sluice/remoting'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { consumer, RemotingClient, sendFields } from '../test/client.ts'
import { remoting } from './index.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

const open = async (options: FakeGatewayOptions = {}) => {
  const gateway = fakeGateway({ autoCreate: false, topics: [{ topic: 'T', queues: 4, type: 'mixed' }], ...options })
  gateways.push(gateway)
  const protocol = remoting()
  const connect = () => RemotingClient.connect(protocol, gateway)
  return { gateway, connect, one: await connect() }
}

const jsonOf = ({ body }: Frame): unknown => JSON.parse(String(body))

describe('a send', () => {
  it('is answered when it is stored, with all that clients look for', async () => {
    const { gateway, one } = await open()
    const answer = await one.send('T', 'hello', { e: 2, i: 'UNIQ_KEY\x01ID\x02' })
    const [message] = gateway.messages('T')
    expect(answer).toMatchObject({ code: 0, flag: 1 })
    expect(answer.ext).toEqual({
      msgId: answer.ext.msgId,
      queueId: '2',
      queueOffset: '0',
      transactionId: message?.id,
      MSG_REGION: 'DefaultRegion',
      TRACE_ON: 'false',
    })
    expect(parseOffsetMsgId(answer.ext.msgId as string)).toEqual({ host: '127.0.0.1:8081', place: message?.place })
    expect(gateway.of('publish')[0]).toMatchObject({
      group: 'PG',
      oneway: false,
      into: { topic: 'T', node: 'memory', index: 2 },
    })
  })

  it('goes to any queue when it names none', async () => {
    const { gateway, one } = await open()
    await one.send('T', 'x', { e: -1 })
    expect(gateway.of('publish')[0]).not.toHaveProperty('into')
  })

  it('is never answered when nobody waits for it', async () => {
    const { gateway, one } = await open()
    one.tell(request.sendMessageV2, sendFields('T'), Buffer.from('x'))
    one.tell(request.sendMessageV2, sendFields('nowhere'), Buffer.from('x'))
    one.tell(999)
    await one.send('T', 'y')
    await turns()
    expect(gateway.of('publish').filter(({ oneway }) => oneway)).toHaveLength(2)
    expect(one.told).toEqual([])
    expect(one.wire.total).toBeLessThan(400)
  })

  it('may make its topic, or is refused with 17', async () => {
    const { gateway, one } = await open({ autoCreate: true, topics: [] })
    gateway.failNext('topic', new Fault('topicNotFound', 'no such topic'), 2)
    expect((await one.send('new', 'x', { e: 3 })).code).toBe(0)
    expect(gateway.messages('new')).toHaveLength(1)
    const { one: other } = await open()
    expect((await other.send('new', 'x')).code).toBe(response.topicNotExist)
  })

  it('that makes its topic goes into the queue that it named', async () => {
    const { gateway, one } = await open({ autoCreate: true, queues: 4, topics: [] })
    gateway.failNext('topic', new Fault('topicNotFound', 'no such topic'))
    expect((await one.send('new', 'x', { e: 3 })).ext.queueId).toBe('3')
    expect(gateway.of('publish')[0]?.into).toEqual({ topic: 'new', node: 'memory', index: 3 })
  })

  it('to a queue that is not there is refused', async () => {
    const { one } = await open()
    expect((await one.send('T', 'x', { e: 4 })).code).toBe(response.invalidParameter)
  })

  it('of a batch is stored as one command and answered with the ids of all', async () => {
    const { gateway, one } = await open()
    const message = (body: string) => {
      const bytes = Buffer.alloc(22 + body.length)
      bytes.writeInt32BE(bytes.length, 0)
      bytes.writeInt32BE(body.length, 16)
      bytes.write(body, 20)
      return bytes
    }
    const body = Buffer.concat(['one', 'two', 'three'].map(message))
    const { code, ext } = await one.ask(request.sendBatchMessage, sendFields('T', { e: 1, m: 'true' }), body)
    expect({ code, queueId: ext.queueId, queueOffset: ext.queueOffset }).toEqual({
      code: 0,
      queueId: '1',
      queueOffset: '0',
    })
    expect(ext.msgId?.split(',').map((id) => parseOffsetMsgId(id)?.place)).toEqual([0, 1, 2])
    expect(gateway.of('publish')).toHaveLength(1)
    gateway.answer('publish', () => ({ stored: [new Fault('busy', 'full')] }))
    expect((await one.ask(request.sendBatchMessage, sendFields('T', { m: 'true' }), body)).code).toBe(
      response.systemBusy,
    )
  })

  it.each([
    ['flushTimeout', response.flushDiskTimeout],
    ['replicaTimeout', response.flushSlaveTimeout],
    ['noReplica', response.slaveNotAvailable],
  ] as const)('that is stored with %s is told so', async (durable, code) => {
    const { gateway, one } = await open()
    const queue: Queue = { topic: 'T', node: 'memory', index: 0 }
    gateway.answer('publish', () => ({
      stored: [{ id: 'ID', queue, offset: 3, place: 9, durable, recallHandle: 'handle' }],
    }))
    const { ext, code: said } = await one.send('T', 'x')
    expect([said, ext.queueOffset]).toEqual([code, '3'])
    const handle = Buffer.from('handle').toString('base64url')
    expect(String(Buffer.from(ext.recallHandle ?? '', 'base64url'))).toBe(`v1 T sluice 0 ID ${handle}`)
  })

  it.each([
    [new Fault('throttled', 'slower'), response.flowControl],
    [new Fault('forbidden', 'no'), response.noPermission],
    [new Fault('circuitOpen', 'later'), response.serviceNotAvailable],
    [new Fault('outcomeUnknown', 'who knows'), response.systemError],
    [new Fault('invalid', 'wrong type', { about: 'type' }), response.messageIllegal],
  ])('that is refused is told why: %s', async (fault, code) => {
    const { gateway, one } = await open()
    gateway.failNext('publish', fault)
    expect(await one.send('T', 'x')).toMatchObject({ code, remark: fault.message })
  })

  it('that meets a bug is told nothing of it', async () => {
    const { gateway, one } = await open()
    gateway.failNext('publish', new Error('secret'))
    expect(await one.send('T', 'x')).toMatchObject({ code: response.systemError, remark: 'internal error' })
    expect(gateway.logs).toMatchObject([{ level: 'error', event: 'request.failed' }])
  })
})

describe('offsets', () => {
  const place = { topic: 'T', queueId: 1 }
  const query = { ...place, consumerGroup: 'G' }

  it('of a group are what it committed, 22 before', async () => {
    const { one } = await open()
    expect((await one.ask(request.queryConsumerOffset, query)).code).toBe(response.queryNotFound)
    expect((await one.ask(request.updateConsumerOffset, { ...query, commitOffset: 5 })).code).toBe(0)
    expect(await one.ask(request.queryConsumerOffset, query)).toMatchObject({ code: 0, ext: { offset: '5' } })
  })

  it('of the retries of a new group are 22, although there is no such topic yet', async () => {
    const { one } = await open()
    const answer = await one.ask(request.queryConsumerOffset, { ...query, topic: '%RETRY%G', queueId: 0 })
    expect(answer.code).toBe(response.queryNotFound)
    expect((await one.ask(request.queryConsumerOffset, { ...query, topic: 'nowhere' })).code).toBe(
      response.topicNotExist,
    )
  })

  it('of a group that begins at the end do not skip what came since it subscribed', async () => {
    const { gateway, one } = await open()
    const send = () => one.send('T', 'x', { e: 1 })
    await send()
    expect(await one.ask(request.queryConsumerOffset, query)).toMatchObject({ code: 0, ext: { offset: '0' } })
    gateway.clock.advance(60_000)
    expect((await one.ask(request.queryConsumerOffset, query)).code).toBe(response.queryNotFound)
    await one.heartbeat('c1', [
      consumer('G', ['T']),
      consumer('H', ['T'], { consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET' }),
    ])
    const ask = (more: object = {}) => one.ask(request.queryConsumerOffset, { ...query, ...more })
    expect(await ask()).toMatchObject({ code: 0, ext: { offset: '1' } })
    gateway.clock.advance(10)
    await send()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    expect(await ask()).toMatchObject({ code: 0, ext: { offset: '1' } })
    expect((await ask({ setZeroIfNotFound: 'false' })).code).toBe(response.queryNotFound)
    expect((await ask({ consumerGroup: 'H' })).code).toBe(response.queryNotFound)
  })

  it('of a queue are its ends, and where a time is', async () => {
    const { gateway, one } = await open()
    const ask = async (code: number, more: object = {}) => (await one.ask(code, { ...place, ...more })).ext
    expect(await ask(request.getEarliestMsgStoreTime)).toEqual({ timestamp: '-1' })
    const first = gateway.clock.now()
    await one.send('T', 'x', { e: 1 })
    gateway.clock.advance(1_000)
    await one.send('T', 'y', { e: 1 })
    expect(await ask(request.getMinOffset)).toEqual({ offset: '0' })
    expect(await ask(request.getMaxOffset)).toEqual({ offset: '2' })
    expect(await ask(request.searchOffsetByTimestamp, { timestamp: first + 1 })).toEqual({ offset: '1' })
    expect(await ask(request.getEarliestMsgStoreTime)).toEqual({ timestamp: String(first) })
    expect(gateway.of('queryOffset').at(-2)?.at).toEqual({ time: first + 1, edge: 'lower' })
    await ask(request.searchOffsetByTimestamp, { timestamp: 1, boundaryType: 'UPPER' })
    expect(gateway.of('queryOffset').at(-1)?.at).toEqual({ time: 1, edge: 'upper' })
  })

  it('are asked for by the Go client with capitals, and by time with code 30', async () => {
    const { gateway, one } = await open()
    const go = { Topic: 'T', QueueId: 1 }
    expect((await one.ask(request.getMaxOffset, go)).ext).toEqual({ offset: '0' })
    await one.ask(request.getMaxOffset, { ...go, Timestamp: 7 })
    expect(gateway.of('queryOffset').at(-1)?.at).toEqual({ time: 7, edge: 'lower' })
  })
})

describe('a group', () => {
  it('lists all its consumers, the one that asks included', async () => {
    const { gateway, connect, one } = await open()
    const other = await connect()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    await other.heartbeat('c2', [consumer('G', ['T'])], ['PG'])
    const list = () => one.ask(request.getConsumerListByGroup, { consumerGroup: 'G' })
    expect(jsonOf(await list())).toEqual({ consumerIdList: ['c1', 'c2'] })
    gateway.answer('members', () => ({ members: [] }))
    expect(jsonOf(await list())).toEqual({ consumerIdList: ['c1'] })
    expect((await one.ask(request.getConsumerListByGroup, { consumerGroup: 'PG' })).code).toBe(response.systemError)
  })

  it('locks queues for one client and gives them back as they were named', async () => {
    const { connect, one } = await open()
    const other = await connect()
    const mqSet = [0, 1, 9].map((queueId) => ({ topic: 'T', brokerName: 'sluice', queueId }))
    const body = (clientId: string) => ({ consumerGroup: 'G', clientId, onlyThisBroker: false, mqSet })
    const lock = async (client: RemotingClient, id: string) =>
      jsonOf(await client.ask(request.lockBatchMq, {}, body(id)))
    expect(await lock(one, 'c1')).toEqual({ lockOKMQSet: mqSet.slice(0, 2) })
    expect(await lock(other, 'c2')).toEqual({ lockOKMQSet: [] })
    expect((await one.ask(request.unlockBatchMq, {}, body('c1'))).code).toBe(0)
    expect(await lock(other, 'c2')).toEqual({ lockOKMQSet: mqSet.slice(0, 2) })
  })

  it('names a bounded number of queues to lock', async () => {
    const { one } = await open()
    const mqSet = Array.from({ length: 10_001 }, (_, queueId) => ({ topic: 'T', queueId }))
    expect((await one.ask(request.lockBatchMq, {}, { consumerGroup: 'G', mqSet })).code).toBe(response.systemBusy)
    expect((await one.ask(request.lockBatchMq, {}, { mqSet })).code).toBe(response.invalidParameter)
  })

  it('has its filter checked before it starts', async () => {
    const { one } = await open()
    const check = async (expressionType: string, subString: string) =>
      (await one.ask(request.checkClientConfig, {}, { subscriptionData: { topic: 'T', subString, expressionType } }))
        .code
    expect(await check('TAG', 'a || b')).toBe(0)
    expect(await check('TAG', 'a ||')).toBe(response.subscriptionParseFailed)
    expect((await one.ask(request.checkClientConfig)).code).toBe(0)
  })
})

describe('what is given back', () => {
  const back = { group: 'G', offset: 0, originTopic: 'T', delayLevel: 0, maxReconsumeTimes: 16 }

  it('is retried by the broker', async () => {
    const { gateway, one } = await open()
    gateway.answer('settle', () => ({ failed: [] }))
    expect((await one.ask(request.consumerSendMsgBack, { ...back, offset: 42 })).code).toBe(0)
    expect(gateway.of('settle')[0]).toMatchObject({
      receipts: [{ node: 'memory', topic: 'T', group: 'G', place: 42, poppedAt: 0 }],
      outcome: { kind: 'retry', counts: true, limit: 17 },
    })
  })

  it.each([
    [new Fault('unsupported', 'not here'), response.systemError],
    [new Fault('receiptExpired', 'gone'), response.systemError],
    [new Fault('groupNotFound', 'who'), response.subscriptionGroupNotExist],
    [new Fault('forbidden', 'no'), response.noPermission],
  ])('or refused so that the client can help itself: %s', async (fault, code) => {
    const { gateway, one } = await open()
    gateway.answer('settle', () => ({ failed: [{ at: 0, fault }] }))
    expect((await one.ask(request.consumerSendMsgBack, back)).code).toBe(code)
  })

  it('by the client itself is a send to the retry topic', async () => {
    const { gateway, one } = await open()
    const sent = await one.send('%RETRY%G', 'x', { i: 'RETRY_TOPIC\x01T\x02DELAY\x013\x02', j: 1, l: 16, e: -1 })
    expect(sent.code).toBe(0)
    const [message] = gateway.of('publish')[0]?.messages ?? []
    expect(message?.deliverAt).toBe(gateway.clock.now() + 10_000)
  })

  it('from several nodes has no known home', async () => {
    const { gateway, one } = await open()
    const route = (node: string, number: number) => ({
      queue: { topic: 'T', node, index: 0 },
      number,
      readable: true,
      writable: true,
    })
    gateway.answer('topic', ({ topic }) => ({
      topic,
      queues: 2,
      type: 'mixed',
      routes: [route('a', 0), route('b', 1)],
    }))
    expect((await one.ask(request.consumerSendMsgBack, back)).code).toBe(response.systemError)
    expect(gateway.of('settle')).toEqual([])
  })
})

describe('a transaction', () => {
  it('is ended by what its send was answered with', async () => {
    const { gateway, one } = await open()
    const sent = await one.send('T', 'x', { i: 'TRAN_MSG\x01true\x02PGROUP\x01PG\x02UNIQ_KEY\x01ID\x02', f: 4 })
    const end = {
      topic: 'T',
      producerGroup: 'PG',
      tranStateTableOffset: sent.ext.queueOffset as string,
      commitLogOffset: parseOffsetMsgId(sent.ext.msgId as string)?.place ?? -1,
      msgId: 'ID',
      transactionId: sent.ext.transactionId as string,
    }
    gateway.answer('endTransaction', () => ({}))
    for (const [commitOrRollback, resolution] of [
      [8, 'commit'],
      [12, 'rollback'],
      [0, 'unknown'],
    ] as const) {
      one.tell(request.endTransaction, { ...end, commitOrRollback, fromTransactionCheck: 'true' })
      expect(await gateway.next('endTransaction')).toMatchObject({
        half: { node: 'memory', topic: 'T', group: 'PG', place: 0, offset: 0 },
        resolution,
        byCheck: true,
      })
    }
  })
})
