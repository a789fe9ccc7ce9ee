import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { type Frame, request, response, splitRecords, viewRecord } from '@sluice/remoting'
import { Wire } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { consumer, popFields, RemotingClient, receiptFields, sendFields } from '../../protocols/remoting/test/client.ts'

let data: string
let gateway: RunningGateway
const start = () =>
  startGateway({ data, listeners: [{ port: 0 }], backend: { embedded: { queues: 1, flush: 'async' } } })

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), 'sluice-e2e-'))
  gateway = await start()
})
afterEach(async () => {
  await gateway.close()
  rmSync(data, { recursive: true, force: true })
})

const client = () => new RemotingClient(new Wire(net.connect(gateway.port, '127.0.0.1')))
const messagesOf = ({ body }: Frame) => (body ? splitRecords(body).map((record) => viewRecord(record, '')) : [])
const textsOf = (frame: Frame) => messagesOf(frame).map(({ body }) => String(body))

describe('remoting and the broker', () => {
  it('gives back what was sent, by offset and by the tags that the heartbeat said', async () => {
    const one = client()
    for (const [n, tag] of ['a', 'b', 'a', 'c'].entries())
      expect((await one.send('T', `m${n}`, { i: `TAGS\x01${tag}\x02UNIQ_KEY\x01K${n}\x02` })).code).toBe(0)
    const all = await one.pull('T', 'other', { queueOffset: 1, sysFlag: 4, subscription: '*' })
    expect(textsOf(all)).toEqual(['m1', 'm2', 'm3'])
    expect(all.ext).toMatchObject({ nextBeginOffset: '4', minOffset: '0', maxOffset: '4' })
    expect(messagesOf(all).map(({ id, tag, offset }) => [id, tag, offset])).toEqual([
      ['K1', 'b', 1],
      ['K2', 'a', 2],
      ['K3', 'c', 3],
    ])
    const tagged = consumer('G', [], { subscriptionDataSet: [{ topic: 'T', subString: 'a', subVersion: 1 }] })
    await one.heartbeat('c1', [tagged])
    expect(textsOf(await one.pull('T', 'G', { subVersion: 1 }))).toEqual(['m0', 'm2'])
    const filtered = await one.pull('T', 'G', { subVersion: 1, queueOffset: 3 })
    expect(filtered).toMatchObject({ code: response.pullRetryImmediately, ext: { nextBeginOffset: '4' } })
    expect((await one.pull('T', 'G', { subVersion: 1, queueOffset: 4 })).code).toBe(response.pullNotFound)
    expect(await one.pull('T', 'G', { subVersion: 1, queueOffset: 9 })).toMatchObject({
      code: response.pullOffsetMoved,
      ext: { nextBeginOffset: '4' },
    })
  })

  it('wakes a pull that waits by a message that another one sends', async () => {
    const [one, other] = [client(), client()]
    await other.send('T', 'first')
    await one.heartbeat('c1', [consumer('G', ['T'])])
    const pull = one.pull('T', 'G', { sysFlag: 2, subVersion: 1, queueOffset: 1 })
    expect((await one.ask(request.getMaxOffset, { topic: 'T', queueId: 0 })).ext).toEqual({ offset: '1' })
    await other.send('T', 'now')
    expect(textsOf(await pull)).toEqual(['now'])
  })

  it('keeps offsets and messages over a restart', async () => {
    const one = client()
    await one.send('T', 'kept')
    const offset = { consumerGroup: 'G', topic: 'T', queueId: 0, setZeroIfNotFound: 'false' }
    expect((await one.ask(request.queryConsumerOffset, offset)).code).toBe(response.queryNotFound)
    await one.ask(request.updateConsumerOffset, { ...offset, commitOffset: 1 })
    await gateway.close()
    gateway = await start()
    const again = client()
    expect((await again.ask(request.queryConsumerOffset, offset)).ext).toEqual({ offset: '1' })
    expect(textsOf(await again.pull('T', 'G'))).toEqual(['kept'])
  })

  it('retries a message that is sent back', async () => {
    const one = client()
    await one.send('T', 'again', { i: 'UNIQ_KEY\x01K\x02' })
    await one.heartbeat('c1', [consumer('G', ['T', '%RETRY%G'])])
    const [message] = messagesOf(await one.pull('T', 'G', { subVersion: 1 }))
    const back = { group: 'G', offset: message?.place ?? -1, originTopic: 'T', delayLevel: 1, maxReconsumeTimes: 16 }
    expect((await one.ask(request.consumerSendMsgBack, back)).code).toBe(0)
    const retry = await one.pull('%RETRY%G', 'G', { sysFlag: 2, subVersion: 1 })
    const [retried] = messagesOf(retry)
    expect([String(retried?.body), retried?.id, retried?.property('RETRY_TOPIC')]).toEqual(['again', 'K', 'T'])
    expect(retried?.reconsumeTimes).toBe(1)
    const unknown = await one.ask(request.consumerSendMsgBack, { ...back, offset: 1 })
    expect(unknown.code).toBe(response.systemError)
  })

  it('lets a group pop: each message under a lease of its own, and again when that is over', async () => {
    const [one, other] = [client(), client()]
    for (let n = 0; n < 5; n++) await other.send('T', `m${n}`)
    const mode = { topic: 'T', consumerGroup: 'G', mode: 'POP', popShareQueueNum: 0 }
    expect((await one.ask(request.setMessageRequestMode, {}, mode)).code).toBe(0)
    await one.heartbeat('c1', [consumer('G', ['T'], { consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET' })])
    const query = { topic: 'T', consumerGroup: 'G', clientId: 'c1', strategyName: 'AVG', messageModel: 'CLUSTERING' }
    const { body } = await one.ask(request.queryAssignment, {}, query)
    const messageQueue = { topic: 'T', brokerName: 'sluice', queueId: -1 }
    expect(JSON.parse(String(body)).messageQueueAssignments).toEqual([{ messageQueue, mode: 'POP', attachments: null }])
    const pop = (who: RemotingClient, more: object) => who.ask(request.popMessage, { ...popFields('T', 'G'), ...more })
    const first = await pop(one, { maxMsgNums: 3, invisibleTime: 200 })
    expect(textsOf(first)).toEqual(['m0', 'm1', 'm2'])
    const [kept, given] = messagesOf(first).map((message) => message.property('POP_CK') ?? '')
    expect((await one.ask(request.ackMessage, receiptFields('G', 'T', kept ?? ''))).code).toBe(0)
    const change = { ...receiptFields('G', 'T', given ?? ''), invisibleTime: 60_000 }
    expect((await one.ask(request.changeMessageInvisibleTime, change)).code).toBe(0)
    expect((await one.ask(request.changeMessageInvisibleTime, change)).code).toBe(response.noMessage)
    expect(textsOf(await pop(other, {}))).toEqual(['m3', 'm4'])
    const again = messagesOf(await pop(other, { pollTime: 5_000 }))
    expect(again.map(({ body, reconsumeTimes }) => [String(body), reconsumeTimes])).toEqual([['m2', 1]])
  })

  it('delivers of transactions what is committed, also by a client that does not name the topic', async () => {
    const one = client()
    const half = (id: string) =>
      one.send('T', id, { f: 4, i: `UNIQ_KEY\x01${id}\x02TRAN_MSG\x01true\x02PGROUP\x01PG\x02` })
    const end = async (id: string, commitOrRollback: number) => {
      const { ext } = await half(id)
      const commitLogOffset = Number.parseInt((ext.msgId ?? '').slice(16), 16)
      const fields = { producerGroup: 'PG', tranStateTableOffset: ext.queueOffset ?? '', commitLogOffset, msgId: id }
      return one.ask(request.endTransaction, { ...fields, commitOrRollback, transactionId: id })
    }
    expect((await end('committed', 8)).code).toBe(0)
    expect((await end('undone', 12)).code).toBe(0)
    await one.send('T', 'after')
    const pulled = messagesOf(await one.pull('T', 'G', { sysFlag: 4, subscription: '*' }))
    expect(pulled.map(({ body }) => String(body))).toEqual(['committed', 'after'])
    expect(pulled[0]?.property('TRAN_MSG')).not.toBe('true')
  })

  it('brings a reply to the client that asked, and says so when there is none', async () => {
    const [asker, replier] = [client(), client()]
    await asker.heartbeat('c1', [], ['PG'])
    const told = new Promise<Frame>((resolve) => asker.onAsked(resolve))
    await asker.send('T', 'ask', { i: 'UNIQ_KEY\x01Q\x02CORRELATION_ID\x017\x02REPLY_TO_CLIENT\x01c1\x02' })
    const [asked] = messagesOf(await replier.pull('T', 'G', { sysFlag: 4, subscription: '*' }))
    expect([asked?.property('CLUSTER'), asked?.replyTo, asked?.correlationId]).toEqual([
      'sluice',
      '%INBOX%remoting/c1',
      '7',
    ])
    const reply = (to: string) =>
      replier.ask(
        request.sendReplyMessageV2,
        sendFields('sluice_REPLY_TOPIC', {
          i: `UNIQ_KEY\x01R\x02MSG_TYPE\x01reply\x02CORRELATION_ID\x017\x02REPLY_TO_CLIENT\x01${to}\x02`,
        }),
        Buffer.from('answer'),
      )
    expect((await reply('c1')).code).toBe(0)
    const { code, ext, body } = await told
    expect([code, String(body)]).toEqual([request.pushReplyMessageToClient, 'answer'])
    expect(ext.properties).toContain('CORRELATION_ID\x017')
    expect((await reply('c9')).code).toBe(response.systemError)
  })

  it('tells the members of a group when others come and go', async () => {
    const [one, other] = [client(), client()]
    await one.heartbeat('c1', [consumer('G', ['T'])])
    await other.heartbeat('c2', [consumer('G', ['T'])])
    const list = () => one.ask(request.getConsumerListByGroup, { consumerGroup: 'G' })
    expect(JSON.parse(String((await list()).body))).toEqual({ consumerIdList: ['c1', 'c2'] })
    const before = one.told.length
    expect(before).toBeGreaterThan(0)
    other.wire.destroy()
    await other.wire.closed
    await vi.waitFor(() => expect(one.told.length).toBeGreaterThan(before))
    expect(JSON.parse(String((await list()).body))).toEqual({ consumerIdList: ['c1'] })
  })

  it('drains: pulls are answered, requests are sent away, nothing is forced', async () => {
    const one = client()
    await one.send('T', 'x')
    await one.heartbeat('c1', [consumer('G', ['T'])])
    const pull = one.pull('T', 'G', { sysFlag: 2, subVersion: 1, queueOffset: 1 })
    await one.ask(request.getMaxOffset, { topic: 'T', queueId: 0 })
    const draining = gateway.drain({ leavingMs: 0, announceMs: 100, settleMs: 5_000 })
    expect((await pull).code).toBe(response.pullNotFound)
    expect((await one.send('T', 'y')).code).toBe(response.goAway)
    const verdict = await draining
    await one.wire.closed
    expect(verdict).toMatchObject({ clean: true, byProtocol: { remoting: { told: 1, obeyed: 1, forced: 0 } } })
  })
})
