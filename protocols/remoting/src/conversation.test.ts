import { createHmac } from 'node:crypto'
import { Fault } from '@sluice/core'
import { type Frame, request, response } from '@sluice/remoting'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { consumer, RemotingClient, sendFields } from '../test/client.ts'
import { remoting } from './index.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

const open = async (options: FakeGatewayOptions = {}) => {
  const gateway = fakeGateway({ autoCreate: false, topics: ['T'], ...options })
  gateways.push(gateway)
  const protocol = remoting()
  const client = () => RemotingClient.connect(protocol, gateway)
  return { gateway, client, server: await serverOf(protocol, gateway) }
}

const jsonOf = ({ body }: Frame): unknown => JSON.parse(String(body))

describe('routes', () => {
  it('are one broker at the address that was dialled, written so that every client can read it', async () => {
    const { client } = await open({ topics: [{ topic: 'T', queues: 3, type: 'normal' }] })
    const answer = await (await client()).ask(request.getRouteInfoByTopic, { topic: 'T' })
    expect(answer.code).toBe(0)
    expect(String(answer.body)).toBe(
      '{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:8081"},"brokerName":"sluice","cluster":"sluice","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"sluice","perm":6,"readQueueNums":3,"topicSysFlag":0,"writeQueueNums":3}]}',
    )
  })

  it('count the queues that can be read and written, up to the last of each', async () => {
    const { gateway, client } = await open()
    const at = (number: number, readable: boolean, writable: boolean) => ({
      queue: { topic: 'T', node: `n${number % 2}`, index: number >> 1 },
      number,
      readable,
      writable,
    })
    gateway.answer('topic', ({ topic }) => ({
      topic,
      queues: 4,
      type: 'normal',
      routes: [at(0, true, true), at(1, true, false), at(2, true, true), at(3, true, false)],
    }))
    const one = await client()
    const { queueDatas } = jsonOf(await one.ask(request.getRouteInfoByTopic, { topic: 'T' })) as {
      queueDatas: object[]
    }
    expect(queueDatas[0]).toMatchObject({ readQueueNums: 4, writeQueueNums: 3, perm: 6 })
    await one.send('T', 'x', { e: 2 })
    expect(gateway.of('publish')[0]?.into).toEqual({ topic: 'T', node: 'n0', index: 1 })
  })

  it('of an unknown topic are 17, also of the topic that stands for new ones', async () => {
    const { client } = await open()
    const one = await client()
    for (const topic of ['nowhere', 'TBW102', 'RMQ_SYS_TRACE_TOPIC'])
      expect((await one.ask(request.getRouteInfoByTopic, { topic })).code).toBe(response.topicNotExist)
  })

  it('of the retries of a group are there once the group is', async () => {
    const { gateway, client } = await open()
    gateway.answer('group', () => {
      throw new Fault('groupNotFound', 'no such group')
    })
    const one = await client()
    const ask = () => one.ask(request.getRouteInfoByTopic, { topic: '%RETRY%G' })
    expect((await ask()).code).toBe(response.topicNotExist)
    await one.heartbeat('c1', [consumer('G', ['T'])])
    expect(jsonOf(await ask())).toMatchObject({ queueDatas: [{ readQueueNums: 1, writeQueueNums: 1, perm: 6 }] })
  })

  it('of a broker advertised elsewhere, and the cluster, say that address', async () => {
    const { client } = await open({ advertised: { host: 'gate.example', port: 9876 } })
    const one = await client()
    expect(String((await one.ask(request.getRouteInfoByTopic, { topic: 'T' })).body)).toContain(
      '"0":"gate.example:9876"',
    )
    expect(jsonOf(await one.ask(request.getBrokerClusterInfo))).toMatchObject({
      brokerAddrTable: { sluice: { brokerAddrs: { 0: 'gate.example:9876' } } },
      clusterAddrTable: { sluice: ['sluice'] },
    })
    expect(jsonOf(await one.ask(request.getAllTopicListFromNameServer))).toEqual({ topicList: ['T'] })
    // A message id holds an IP address: of a name it is the one that the client dialled.
    expect((await one.send('T', 'x')).ext.msgId).toMatch(/^7F00000100001F91[0-9A-F]{16}$/)
  })
})

describe('who a client is', () => {
  it('is said by its heartbeat, and by its socket before', async () => {
    const { gateway, client } = await open()
    const one = await client()
    await one.ask(request.getRouteInfoByTopic, { topic: 'T' })
    expect(gateway.commands.at(-1)?.context.session.client).toBe(`127.0.0.1:${one.wire.peer.port}`)
    const answer = await one.heartbeat('10.0.0.1@7', [consumer('G', ['T'])], ['PG'])
    expect(answer).toMatchObject({ code: 0, version: 479, language: 'JAVA' })
    expect(gateway.of('heartbeat')[0]?.member).toMatchObject({ produces: ['PG'], consumes: [{ group: 'G' }] })
    await one.ask(request.getRouteInfoByTopic, { topic: 'T' })
    expect(gateway.commands.at(-1)?.context.session.client).toBe('10.0.0.1@7')
    expect(gateway.sessions.size).toBe(1)
  })

  it('is one session however many requests come first', async () => {
    const { gateway, client } = await open()
    const one = await client()
    await Promise.all([
      one.ask(request.getRouteInfoByTopic, { topic: 'T' }),
      one.heartbeat('c1', [], ['PG']),
      one.heartbeat('c1', [], ['PG']),
      one.send('T', 'x'),
    ])
    expect(gateway.sessions.size).toBe(1)
    expect(new Set(gateway.of('heartbeat').map(({ member }) => member.produces.join())).size).toBe(1)
  })

  it('stays on its second connection when the first one closes', async () => {
    const { gateway, client } = await open()
    const [first, second] = [await client(), await client()]
    await first.heartbeat('c1', [consumer('G', ['T'])])
    await second.heartbeat('c1', [consumer('G', ['T'])])
    first.wire.destroy()
    await first.wire.closed
    await turns()
    expect(gateway.sessions.size).toBe(1)
    const list = await second.ask(request.getConsumerListByGroup, { consumerGroup: 'G' })
    expect(jsonOf(list)).toEqual({ consumerIdList: ['c1'] })
  })

  it('asks a client that left its subscriptions out to say them', async () => {
    const { gateway, client } = await open()
    const body = { clientID: 'c1', withoutSub: true, heartbeatFingerprint: 7 }
    expect((await (await client()).ask(request.heartBeat, {}, body)).ext).toEqual({ IS_SUB_CHANGE: 'true' })
    expect(gateway.of('heartbeat')).toEqual([])
  })

  it('is gone from a group that it leaves, but not from its other role there', async () => {
    const { gateway, client } = await open()
    const one = await client()
    await one.heartbeat('c1', [consumer('G', ['T']), consumer('H', ['T'])], ['G'])
    const leave = (ext: Record<string, string>) => one.ask(request.unregisterClient, { clientID: 'c1', ...ext })
    expect((await leave({ producerGroup: 'G' })).code).toBe(0)
    expect(gateway.of('leave')).toEqual([])
    expect(gateway.of('heartbeat').at(-1)?.member).toMatchObject({ produces: [], consumes: [{}, {}] })
    await leave({ consumerGroup: 'G' })
    await leave({ consumerGroup: 'unknown' })
    expect(gateway.of('leave').map(({ what }) => what)).toEqual([{ group: 'G' }])
  })

  it('is proved request by request where requests are signed', async () => {
    const { gateway, client } = await open({ users: { ada: 'secret' } })
    const signed = (ext: Record<string, string | number>, body: string, secret = 'secret') => {
      const fields: Record<string, string | number> = { ...ext, AccessKey: 'ada' }
      const content = Object.keys(fields)
        .sort()
        .map((name) => fields[name])
        .join('')
      const Signature = createHmac('sha1', secret).update(content).update(body).digest('base64')
      return { ...fields, Signature }
    }
    const one = await client()
    const publish = (ext: Record<string, string | number>) => one.ask(request.sendMessageV2, ext, Buffer.from('body'))
    expect((await publish(sendFields('T'))).code).toBe(response.noPermission)
    expect((await publish(signed(sendFields('T'), 'body', 'wrong'))).code).toBe(response.noPermission)
    expect((await publish(signed(sendFields('T'), 'other body'))).code).toBe(response.noPermission)
    expect((await publish(signed(sendFields('T'), 'body'))).code).toBe(0)
    expect(gateway.commands.at(-1)?.context.principal.name).toBe('ada')
    expect((await publish(signed(sendFields('T'), 'body', 'wrong'))).code).toBe(response.noPermission)
    // Whose connection it is proves nothing for what is not signed.
    expect((await publish(sendFields('T'))).code).toBe(response.noPermission)
    expect((await one.pull('T', 'G')).code).toBe(response.noPermission)
    expect((await one.heartbeat('c1')).code).toBe(response.noPermission)
  })
})

describe('the wire', () => {
  it('answers in the serialisation of the request', async () => {
    const { gateway, client } = await open()
    const one = await client()
    const answer = await one.send('T', 'x', {}, { binary: true })
    expect(answer).toMatchObject({ code: 0, binary: true, language: 'JAVA', version: 479, flag: 1 })
    await one.ask(request.heartBeat, {}, { clientID: 'c1', consumerDataSet: [consumer('G', ['T'])] }, { binary: true })
    await gateway.notify({ group: 'G', role: 'consumes', one: false }, { kind: 'rebalance', group: 'G' })
    await turns()
    expect(one.told[0]).toMatchObject({ binary: true, code: request.notifyConsumerIdsChanged })
    expect((await one.send('T', 'x')).binary).toBe(false)
  })

  it('refuses a code that it does not know, and a request that is not whole', async () => {
    const { client } = await open()
    const one = await client()
    expect((await one.ask(999)).code).toBe(response.requestCodeNotSupported)
    expect(await one.ask(request.getMaxOffset, { topic: 'T' })).toMatchObject({
      code: response.invalidParameter,
      remark: 'field queueId is missing',
    })
  })

  it('tells a group that its members changed, once and without asking for an answer', async () => {
    const { gateway, client } = await open()
    const one = await client()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    await turns()
    // Its own coming, at once; the second heartbeat is no news.
    expect(one.told.splice(0)).toMatchObject([{ code: 40, flag: 2, ext: { consumerGroup: 'G' } }])
    await one.heartbeat('c1', [consumer('G', ['T'])])
    await gateway.notify({ group: 'G', role: 'consumes', one: false }, { kind: 'rebalance', group: 'G' })
    await turns()
    expect(one.told).toMatchObject([{ code: 40, flag: 2, ext: { consumerGroup: 'G' } }])
  })

  it('ends a client that is to go', async () => {
    const { gateway, client } = await open()
    const one = await client()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    await gateway.notify({ group: 'G', role: 'consumes', one: true }, { kind: 'goAway', reason: 'kicked' })
    await one.wire.closed
    expect(gateway.sessions.size).toBe(0)
  })
})

describe('a drain', () => {
  const drain = async () => {
    const opened = await open()
    const one = await opened.client()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    const parked = one.pull('T', 'G', { sysFlag: 2, queueOffset: 0 })
    await opened.gateway.next('read')
    const [connection] = opened.server.connections()
    expect(connection!.busy).toBe(0)
    connection!.goAway('draining')
    return { ...opened, one, parked, connection: connection! }
  }

  it('answers pulls that wait at once, and does not count them as work', async () => {
    const { gateway, parked } = await drain()
    expect(await parked).toMatchObject({ code: response.pullNotFound, ext: { nextBeginOffset: '0' } })
    await turns()
    expect(gateway.parked).toBe(0)
  })

  it('sends clients away that understand it, except where they end something', async () => {
    const { one } = await drain()
    expect((await one.send('T', 'x')).code).toBe(response.goAway)
    expect((await one.pull('T', 'G', { sysFlag: 2 })).code).toBe(response.goAway)
    expect((await one.ask(request.getRouteInfoByTopic, { topic: 'T' })).code).toBe(response.goAway)
    expect((await one.heartbeat('c1', [consumer('G', ['T'])])).code).toBe(0)
    const offset = { consumerGroup: 'G', topic: 'T', queueId: 0, commitOffset: 1 }
    expect((await one.ask(request.updateConsumerOffset, offset)).code).toBe(0)
    expect((await one.ask(request.unregisterClient, { clientID: 'c1', consumerGroup: 'G' })).code).toBe(0)
    const back = { group: 'G', offset: 0, originTopic: 'T', delayLevel: 0 }
    expect((await one.ask(request.consumerSendMsgBack, back)).code).not.toBe(response.goAway)
    expect((await one.ask(request.unlockBatchMq, {}, { consumerGroup: 'G', mqSet: [] })).code).toBe(0)
  })

  it('takes what a client does not wait for', async () => {
    const { one, gateway } = await drain()
    one.tell(request.sendMessageV2, sendFields('T'), Buffer.from('oneway'))
    await gateway.next('publish')
    expect(gateway.messages('T')).toHaveLength(1)
  })

  it.each([
    { version: 475, language: 'JAVA', last: response.flowControl, closesItself: true },
    { version: 409, language: 'JAVA', last: response.flowControl, closesItself: true },
    { version: 399, language: 'JAVA', last: response.pullNotFound, closesItself: true },
    { version: 121, language: 'JAVA', last: response.pullNotFound, closesItself: true },
    { version: 317, language: 'GO', last: response.systemBusy, closesItself: false },
    { version: 479, language: 'CPP', last: response.pullNotFound, closesItself: false },
  ])('serves $language $version as before, and lets it go with its pulls answered', async (as) => {
    const { one, connection } = await drain()
    expect((await one.send('T', 'x', {}, as)).code).toBe(0)
    const parked = one.pull('T', 'G', { sysFlag: 2, queueOffset: 1, subVersion: 1 }, as)
    await turns()
    connection.end(false)
    expect(await parked).toMatchObject({ code: as.last, ext: { nextBeginOffset: '1' } })
    await one.wire.closed
    expect(one.closedItself).toBe(as.closesItself)
  })

  it('gives no messages any more to a client whose connection waits for its end', async () => {
    const { one, connection, gateway } = await drain()
    const as = { version: 409 }
    const hold = gateway.hold('publish')
    const before = one.pull('T', 'G', { sysFlag: 2, queueOffset: 0, subVersion: 1 }, as)
    const sent = one.send('T', 'x', {}, as)
    await gateway.next('publish')
    connection.end(false)
    const after = one.pull('T', 'G', { sysFlag: 2, queueOffset: 0, subVersion: 1 }, as)
    hold.release()
    expect((await sent).code).toBe(0)
    expect([await before, await after]).toMatchObject([{ code: response.flowControl }, { code: response.flowControl }])
    await one.wire.closed
    expect(gateway.parked).toBe(0)
  })
})
