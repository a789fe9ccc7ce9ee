import { type Frame, request, response, splitRecords, viewRecord } from '@sluice/remoting'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { type As, consumer, popFields, RemotingClient, receiptFields } from '../test/client.ts'
import { remoting } from './index.ts'
import { ACKS_MAX } from './requests/pop.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

const open = async (options: FakeGatewayOptions = {}) => {
  const gateway = fakeGateway({ autoCreate: false, topics: [{ topic: 'T', queues: 2, type: 'normal' }], ...options })
  gateways.push(gateway)
  const protocol = remoting()
  await serverOf(protocol, gateway)
  const client = () => RemotingClient.connect(protocol, gateway)
  return { gateway, client, one: await client() }
}

const messagesOf = ({ body }: Frame) => (body ? splitRecords(body).map((record) => viewRecord(record, '')) : [])
const receiptsOf = (frame: Frame) => messagesOf(frame).map((message) => message.property('POP_CK') ?? '')
const textsOf = (frame: Frame) => messagesOf(frame).map(({ body }) => String(body))
const pop = (client: RemotingClient, more: Record<string, string | number> = {}, as: As = {}) =>
  client.ask(request.popMessage, popFields('T', 'G', more), undefined, as)
const fill = async (client: RemotingClient, queues: readonly number[]) => {
  for (const [n, e] of queues.entries()) await client.send('T', `m${n}`, { e, i: `UNIQ_KEY\x01K${n}\x02` })
}

describe.each([false, true])('a pop, binary headers: %s', (binary) => {
  it('brings each record with its receipt, and each queue once in what clients look offsets up by', async () => {
    const { one } = await open()
    await fill(one, [0, 1, 0, 0])
    const answer = await pop(one, {}, { binary })
    expect(answer.code).toBe(0)
    expect(textsOf(answer).sort()).toEqual(['m0', 'm1', 'm2', 'm3'])
    const { startOffsetInfo = '', msgOffsetInfo = '', popTime, invisibleTime, reviveQid } = answer.ext
    expect(startOffsetInfo.split(';').sort()).toEqual(['0 0 0', '0 1 0'])
    expect(msgOffsetInfo.split(';').sort()).toEqual(['0 0 0,1,2', '0 1 0'])
    expect([invisibleTime, reviveQid]).toEqual(['60000', '0'])
    for (const message of messagesOf(answer)) {
      const { index } = message.queue
      const [, ...rest] = message.property('POP_CK')?.split(' ') ?? []
      expect(rest.join(' ')).toBe(`${popTime} 60000 0 0 sluice ${index} ${message.offset}`)
      expect(message.reconsumeTimes).toBe(0)
    }
    expect((await pop(one, {}, { binary })).code).toBe(response.pollingTimeout)
  })

  it('is settled by its receipts, alone or in a batch, and once', async () => {
    const { gateway, one } = await open()
    await fill(one, [0, 0, 0, 0])
    const receipts = receiptsOf(await pop(one, {}, { binary }))
    const ack = (receipt = '') => one.ask(request.ackMessage, receiptFields('G', 'T', receipt), undefined, { binary })
    expect((await ack(receipts[1])).code).toBe(0)
    expect((await ack(receipts[1])).code).toBe(response.noMessage)
    const [so, pt, it, rq, r, , q] = receipts[0]?.split(' ') ?? []
    const acks = [
      { c: 'G', t: 'T', r, so: Number(so), q: Number(q), rq: Number(rq), pt: Number(pt), it: Number(it), b: 'DQ==' },
    ]
    const batch = await one.ask(request.batchAckMessage, {}, { brokerName: 'sluice', acks }, { binary })
    expect(batch.code).toBe(0)
    const settled = gateway.of('settle').at(-1)?.receipts
    expect(settled?.map((receipt) => receipt.of === 'group' && receipt.offset)).toEqual([0, 2, 3])
    const forged = (receipts[0] ?? '').replace(pt ?? '', String(Number(pt) - 1))
    expect((await ack(forged)).code).toBe(response.noMessage)
  })

  it('comes again one attempt further after the time that was asked for, under a new receipt', async () => {
    const { gateway, one } = await open()
    await fill(one, [0])
    const [receipt = ''] = receiptsOf(await pop(one, {}, { binary }))
    const changed = await one.ask(
      request.changeMessageInvisibleTime,
      { ...receiptFields('G', 'T', receipt), invisibleTime: 10_000 },
      undefined,
      { binary },
    )
    expect(changed).toMatchObject({ code: 0, ext: { invisibleTime: '10000' } })
    const { popTime, reviveQid } = changed.ext
    const rebuilt = `0 ${popTime} 10000 ${reviveQid} 0 sluice 0 0`
    const again = pop(one, { pollTime: 15_000 }, { binary })
    await turns()
    gateway.clock.advance(10_000)
    const [message] = messagesOf(await again)
    expect([String(message?.body), message?.reconsumeTimes]).toEqual(['m0', 1])
    const late = await one.ask(request.ackMessage, receiptFields('G', 'T', rebuilt), undefined, { binary })
    expect(late.code).toBe(response.noMessage)
  })

  it('waits for messages, and takes none for a client that is gone', async () => {
    const { gateway, one, client } = await open()
    const other = await client()
    const waiting = pop(one, { pollTime: 15_000 }, { binary })
    await turns()
    expect((await other.ask(request.pollingInfo, popFields('T', 'G'), undefined, { binary })).ext.pollingNum).toBe('1')
    await fill(other, [1])
    expect(textsOf(await waiting)).toEqual(['m0'])
    expect((await other.ask(request.pollingInfo, popFields('T', 'G'))).ext.pollingNum).toBe('0')
    const held = gateway.hold('pop')
    void pop(one, { pollTime: 15_000 }, { binary })
    await turns()
    await fill(other, [0])
    one.wire.destroy()
    await turns()
    held.release()
    await turns()
    expect(textsOf(await pop(other, {}, { binary }))).toEqual(['m0'])
  })

  it('can be told of messages, and look at them, without taking any', async () => {
    const { gateway, one } = await open()
    const notify = (pollTime: number) =>
      one.ask(request.notification, popFields('T', 'G', { pollTime }), undefined, { binary })
    expect((await notify(0)).ext).toMatchObject({ hasMsg: 'false', pollingFull: 'false' })
    const waiting = notify(15_000)
    await turns()
    await fill(one, [0])
    expect((await waiting).ext).toMatchObject({ hasMsg: 'true' })
    const look = () => one.ask(request.peekMessage, popFields('T', 'G'), undefined, { binary })
    expect(textsOf(await look())).toEqual(['m0'])
    expect(textsOf(await pop(one, {}, { binary }))).toEqual(['m0'])
    expect((await look()).code).toBe(response.pullNotFound)
    expect(gateway.parked).toBe(0)
  })

  it('is answered by a drain and at its bound', async () => {
    const { gateway, one } = await open({ limits: { parked: 1 } })
    const waiting = pop(one, { pollTime: 15_000 }, { binary })
    await turns()
    expect((await pop(one, { pollTime: 15_000 }, { binary })).code).toBe(response.pollingFull)
    expect((await one.ask(request.notification, popFields('T', 'G', { pollTime: 9 }))).ext.pollingFull).toBe('true')
    gateway.clock.advance(15_000)
    expect((await waiting).code).toBe(response.pollingTimeout)
    gateway.failNext('pop', Object.assign(new Error('x')))
    expect((await pop(one, {}, { binary })).code).toBe(response.systemError)
  })

  it('is assigned by the broker: any queue where the group pops, and nothing that unsettles a client', async () => {
    const { gateway, one } = await open()
    gateway.answer('assign', ({ topic }) => ({ queues: [{ queue: { topic, node: 'n', index: -1 }, mode: 'pop' }] }))
    const body = { topic: 'T', consumerGroup: 'G', clientId: 'c1', strategyName: 'AVG', messageModel: 'CLUSTERING' }
    const ask = async (more: object) =>
      JSON.parse(String((await one.ask(request.queryAssignment, {}, { ...body, ...more }, { binary })).body))
    expect(await ask({})).toEqual({
      messageQueueAssignments: [
        { messageQueue: { topic: 'T', brokerName: 'sluice', queueId: -1 }, mode: 'POP', attachments: null },
      ],
    })
    expect(gateway.commands.at(-1)?.context.session.client).toBe('c1')
    gateway.answer('assign', () => ({ queues: undefined }))
    expect(await ask({})).toEqual({ messageQueueAssignments: null })
  })

  it('is what a group does once it was told so', async () => {
    const { gateway, one } = await open()
    await one.heartbeat('c1', [consumer('G', ['T'])])
    const set = (more: object = {}) =>
      one.ask(
        request.setMessageRequestMode,
        {},
        { topic: 'T', consumerGroup: 'G', mode: 'POP', popShareQueueNum: 2, ...more },
        { binary },
      )
    expect((await set()).code).toBe(0)
    const { action } = gateway.of('admin').at(-1) ?? {}
    expect(action).toMatchObject({ do: 'putGroup', spec: { group: 'G', modes: { T: { mode: 'pop', share: 2 } } } })
    expect((await set({ topic: '%RETRY%G' })).code).toBe(response.noPermission)
    expect((await set({ topic: 'nowhere' })).code).toBe(response.topicNotExist)
  })
})

describe('a pop', () => {
  it('in order says how often each message was tried', async () => {
    const { one, gateway } = await open()
    await fill(one, [0])
    await pop(one, { order: 'true', invisibleTime: 1_000 })
    gateway.clock.advance(1_001)
    const again = await pop(one, { order: 'true' })
    expect(again.ext.orderCountInfo).toBe('0 qo0%0 1')
  })

  it('gives back what does not fit in a frame', async () => {
    const { one, gateway } = await open({ limits: { frameBytes: 16 << 20, bodyBytes: 4 << 20 } })
    for (let n = 0; n < 3; n++) await one.send('T', Buffer.alloc(4_000_000, n))
    const first = messagesOf(await pop(one))
    expect(first).toHaveLength(2)
    await turns()
    const [third] = messagesOf(await pop(one))
    expect([third?.body[0], third?.reconsumeTimes]).toEqual([2, 0])
    expect(gateway.of('settle')[0]?.outcome).toEqual({ kind: 'retry', after: 0, counts: false })
  })

  it('takes no batch of acks beyond its bound', async () => {
    const { one } = await open()
    const b = Buffer.alloc(ACKS_MAX / 8 + 1, 0xff).toString('base64')
    const acks = [{ c: 'G', t: 'T', r: '0', so: 0, q: 0, rq: 0, pt: 1, it: 1, b }]
    expect((await one.ask(request.batchAckMessage, {}, { acks })).code).toBe(response.systemBusy)
  })
})
