import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { type Frame, request, response, splitRecords, viewRecord } from '@sluice/remoting'
import { Wire } from '@sluice/testkit'
import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { RemotingClient, sendFields } from '../../protocols/remoting/test/client.ts'
import { type BrokerProcess, startBroker } from '../run/process.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-link-'))
const SECRET = 'of sixteen characters'
let broker: BrokerProcess
const gateways: RunningGateway[] = []
const closing: (() => unknown)[] = []

const runBroker = async (listen: string, ...set: string[]): Promise<void> => {
  broker = await startBroker({ data: join(folder, 'broker'), listen, set: ['backend.embedded.queues=1', ...set] })
}
const gateway = async (backend: object = {}): Promise<RunningGateway> => {
  const data = join(folder, `g${gateways.length}`)
  const one = await startGateway({ data, backend: { brokers: [broker.address], ...backend } })
  gateways.push(one)
  return one
}
const endBroker = async (): Promise<void> => {
  await Promise.all(gateways.splice(0).map((one) => one.close()))
  broker.kill('SIGTERM')
  expect(await broker.exited).toBe(0)
}

afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const remoting = ({ port }: RunningGateway): RemotingClient => {
  const client = new RemotingClient(new Wire(net.connect(port, '127.0.0.1')))
  closing.push(() => client.wire.destroy())
  return client
}
const textsOf = ({ body }: Frame) =>
  body ? splitRecords(body).map((record) => String(viewRecord(record, '').body)) : []

interface Mqtt {
  readonly client: MqttClient
  readonly received: IPublishPacket[]
  readonly resumed: boolean
  readonly ends: unknown[]
}
const mqtt = async ({ port }: RunningGateway, options: IClientOptions): Promise<Mqtt> => {
  const client = connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, protocolVersion: 5, ...options })
  closing.push(() => client.endAsync(true))
  const received: IPublishPacket[] = []
  const ends: unknown[] = []
  client.on('message', (_topic, _payload, packet) => received.push(packet))
  client.on('disconnect', ({ reasonCode }) => ends.push(reasonCode))
  client.on('close', () => ends.push('close'))
  const connack = await new Promise<IConnackPacket>((resolve) => client.once('connect', resolve))
  return { client, received, ends, resumed: connack.sessionPresent }
}
/** A client that reads and never acknowledges. */
const withoutAcks = (client: MqttClient): void => {
  const inner = client as unknown as { _sendPacket(packet: { cmd: string }, done?: () => void): unknown }
  const send = inner._sendPacket.bind(client)
  inner._sendPacket = (packet, done) => (packet.cmd === 'puback' ? done?.() : send(packet, done))
}
const kept: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 600 } }
const textOf = ({ payload }: IPublishPacket) => payload.toString()
const PATIENCE = { timeout: 8_000, interval: 5 }
const until = (so: () => boolean) => vi.waitFor(() => expect(so()).toBe(true), PATIENCE)

const http = async (
  { port }: RunningGateway,
  path: string,
  body: object | string,
): Promise<Record<string, unknown>> => {
  const reply = await fetch(`http://127.0.0.1:${port}/v1/topics/${path}`, {
    method: 'POST',
    headers: { connection: 'close', ...(typeof body === 'object' && { 'content-type': 'application/json' }) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await reply.text()
  return { status: reply.status, ...(text === '' ? {} : (JSON.parse(text) as object)) }
}
const metrics = async (port: number): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()

describe('a broker that is killed under a gateway', () => {
  afterEach(endBroker)

  it('is a pause for clients of remoting, MQTT and HTTP: they stay connected and go on', async () => {
    const socket = `unix:${folder}/broker.sock`
    await runBroker(socket)
    const one = await gateway()
    const sender = remoting(one)
    const subscriber = await mqtt(one, { ...kept, clientId: 'stays' })
    await subscriber.client.subscribeAsync('T/#', { qos: 1 })
    const fleeting = await mqtt(one, { clientId: 'of this connection only' })
    await fleeting.client.subscribeAsync('T/#', { qos: 1 })
    expect((await sender.send('R', 'before')).code).toBe(0)
    await subscriber.client.publishAsync('T/a', 'before', { qos: 1 })
    await until(() => subscriber.received.length === 1)
    const polling = sender.pull('R', 'G', {
      sysFlag: 6,
      subscription: '*',
      queueOffset: 1,
      suspendTimeoutMillis: 15_000,
    })
    broker.kill('SIGKILL')
    expect(await broker.exited).toBe('SIGKILL')
    await vi.waitFor(async () => expect(await metrics(one.adminPort)).toMatch(/^sluice_link_connected 0$/m))
    // Done when it is back, or refused as certainly not done: that depends on how long it is away.
    const sent = sender.send('R', 'meanwhile')
    const posted = http(one, 'H/messages', 'meanwhile')
    expect((await fetch(`http://127.0.0.1:${one.adminPort}/livez`)).status).toBe(200)
    await runBroker(socket)
    expect([response.success, response.serviceNotAvailable]).toContain((await sent).code)
    expect([201, 503]).toContain((await posted).status)
    await vi.waitFor(async () => expect(await metrics(one.adminPort)).toMatch(/^sluice_link_connected 1$/m), PATIENCE)
    expect((await sender.send('R', 'after')).code).toBe(0)
    expect(await http(one, 'H/messages', 'after')).toMatchObject({ status: 201 })
    await subscriber.client.publishAsync('T/c', 'after', { qos: 1 })
    for (const { received } of [subscriber, fleeting]) {
      await until(() => received.length === 2)
      expect(received.map(textOf)).toEqual(['before', 'after'])
    }
    expect(textsOf(await polling).at(-1)).toMatch(/meanwhile|after/)
    expect([...subscriber.ends, ...fleeting.ends]).toEqual([])
    expect(await metrics(one.adminPort)).toMatch(/^sluice_link_connections_total 2$/m)
  }, 60_000)

  it('in the middle of it loses nothing that was acknowledged for a session that is kept, and subscribers stay', async () => {
    const socket = `unix:${folder}/broker.sock`
    await runBroker(socket)
    const [one, two] = [await gateway(), await gateway()]
    const subscribers = [await mqtt(one, { ...kept, clientId: 'kept' }), await mqtt(two, { clientId: 'fleeting' })]
    for (const { client } of subscribers) await client.subscribeAsync('traffic/#', { qos: 1 })
    // One whose publish is under way is sent away, and publishes it once more.
    const publisher = await mqtt(two, { ...kept, clientId: 'publisher', reconnectPeriod: 20 })
    const acknowledged: string[] = []
    let ends = false
    const publish = async (name: number): Promise<void> => {
      for (let n = 0; !ends; n++) {
        await publisher.client.publishAsync('traffic/x', `${name}.${n}`, { qos: 1 })
        acknowledged.push(`${name}.${n}`)
      }
    }
    const workers = [1, 2, 3, 4].map(publish)
    for (let kills = 0; kills < 2; kills++) {
      const before = acknowledged.length
      await until(() => acknowledged.length > before + 50)
      broker.kill('SIGKILL')
      await broker.exited
      await runBroker(socket)
    }
    const back = acknowledged.length
    await until(() => acknowledged.length > back + 50)
    ends = true
    await Promise.all(workers)
    const [lasting, passing] = subscribers
    const heard = async ({ received }: Mqtt, texts: readonly string[]): Promise<void> => {
      const missing = () => texts.filter((text) => !received.some((packet) => textOf(packet) === text))
      await vi.waitFor(() => expect(missing()).toEqual([]), PATIENCE)
    }
    await heard(lasting!, acknowledged)
    // The queue of a clean session ends with the broker; its subscriptions are there again before anything is published.
    await heard(passing!, acknowledged.slice(back))
    expect(subscribers.map(({ ends: ended }) => ended)).toEqual([[], []])
  }, 60_000)
})

describe('two gateways of one broker', () => {
  let one: RunningGateway
  let two: RunningGateway
  beforeAll(async () => {
    await runBroker('127.0.0.1:0', `backend.secret=${SECRET}`)
    one = await gateway({ secret: SECRET })
    two = await gateway({ secret: SECRET })
  })
  afterAll(endBroker)

  it('share topics, groups and receipts', async () => {
    for (const body of ['a', 'b', 'c']) expect(await http(one, 'jobs/messages', body)).toMatchObject({ status: 201 })
    const receive = async (at: RunningGateway, maxMessages: number) =>
      (await http(at, 'jobs/groups/g/messages:receive', { maxMessages, waitMs: 2_000, invisibleMs: 60_000 }))
        .messages as {
        body: string
        receiptHandle: string
      }[]
    const [first] = await receive(one, 1)
    const rest = await receive(two, 2)
    expect([first!, ...rest].map(({ body }) => body).sort()).toEqual(['a', 'b', 'c'])
    const handles = [first!, ...rest].map(({ receiptHandle }) => receiptHandle)
    expect(await http(two, 'jobs/groups/g/messages:ack', { receiptHandles: handles })).toMatchObject({ status: 200 })
    const waiting = receive(two, 1)
    await http(one, 'jobs/messages', 'd')
    expect((await waiting).map(({ body }) => body)).toEqual(['d'])
  })

  it('move an MQTT session: present, in order, under the same packet ids, and the old connection is told', async () => {
    const before = await mqtt(one, { ...kept, clientId: 'moves' })
    withoutAcks(before.client)
    await before.client.subscribeAsync('move/#', { qos: 1 })
    const publisher = await mqtt(two, { clientId: 'publisher' })
    for (const text of ['1', '2', '3']) await publisher.client.publishAsync(`move/${text}`, text, { qos: 1 })
    await until(() => before.received.length === 3)
    const held = before.received.map(({ messageId }) => messageId)
    const after = await mqtt(two, { ...kept, clientId: 'moves' })
    expect(after.resumed).toBe(true)
    await publisher.client.publishAsync('move/4', '4', { qos: 1 })
    await until(() => after.received.length === 4)
    expect(after.received.map(textOf)).toEqual(['1', '2', '3', '4'])
    expect(after.received.map(({ dup }) => dup)).toEqual([true, true, true, false])
    expect(after.received.slice(0, 3).map(({ messageId }) => messageId)).toEqual(held)
    await until(() => before.ends.length === 2)
    expect(before.ends).toEqual([0x8e, 'close'])
  })

  it('ask a producer for its decision at the gateway where it is', async () => {
    const [producer, other] = [remoting(one), remoting(two)]
    await producer.heartbeat('c1', [], ['PG'])
    const asked = new Promise<Frame>((resolve) => producer.onAsked(resolve))
    const properties = 'UNIQ_KEY\x01H\x02TRAN_MSG\x01true\x02PGROUP\x01PG\x02CHECK_IMMUNITY_TIME_IN_SECONDS\x010.1\x02'
    expect(
      (await other.ask(request.sendMessageV2, sendFields('TX', { f: 4, i: properties }), Buffer.from('h'))).code,
    ).toBe(0)
    const { code, ext } = await asked
    expect([code, ext.msgId]).toEqual([request.checkTransactionState, expect.any(String)])
    const end = {
      producerGroup: 'PG',
      tranStateTableOffset: ext.tranStateTableOffset ?? '',
      commitLogOffset: ext.commitLogOffset ?? '',
      commitOrRollback: 8,
      fromTransactionCheck: 'true',
      msgId: 'H',
      transactionId: 'H',
    }
    expect((await other.ask(request.endTransaction, end)).code).toBe(response.success)
    expect(textsOf(await other.pull('TX', 'G', { sysFlag: 4, subscription: '*' }))).toEqual(['h'])
  })

  it('see each other’s members, and a group is told when a gateway has gone', async () => {
    const leaves = await gateway({ secret: SECRET })
    const [here, there] = [remoting(one), remoting(leaves)]
    const consumes = { groupName: 'G', consumeType: 'CONSUME_PASSIVELY', messageModel: 'CLUSTERING' }
    const member = { ...consumes, subscriptionDataSet: [{ topic: 'T', subString: '*', subVersion: 1 }] }
    await here.heartbeat('c1', [member as never])
    await there.heartbeat('c2', [member as never])
    const list = async () =>
      JSON.parse(String((await here.ask(request.getConsumerListByGroup, { consumerGroup: 'G' })).body)).consumerIdList
    expect(await list()).toEqual(['c1', 'c2'])
    const told = here.told.length
    await gateways.pop()!.close()
    await vi.waitFor(() => expect(here.told.length).toBeGreaterThan(told))
    expect(await list()).toEqual(['c1'])
  })

  it('get a record once each, however many of their clients do', async () => {
    const clients = await Promise.all(
      Array.from({ length: 40 }, (_, n) => mqtt(n % 2 === 0 ? one : two, { clientId: `fan-${n}` })),
    )
    await Promise.all(clients.map(({ client }) => client.subscribeAsync('fan/#', { qos: 1 })))
    const count = async (name: string) =>
      Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await metrics(broker.adminPort))![1])
    expect(await count('sluice_gateways_connected')).toBe(2)
    const before = await count('sluice_link_records_total')
    await clients[0]!.client.publishAsync('fan/out', 'x'.repeat(2_000), { qos: 1 })
    await until(() => clients.every(({ received }) => received.length === 1))
    expect((await count('sluice_link_records_total')) - before).toBe(2)
    expect(await count('sluice_link_records_repeated_total')).toBe(38)
  })

  it('and the broker have each what they know on their admin ports', async () => {
    const admin = (port: number, path: string, method = 'GET') =>
      fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { connection: 'close' } })
    expect((await admin(one.adminPort, '/v1/topics/made', 'PUT')).status).toBe(200)
    expect(await (await admin(broker.adminPort, '/v1/topics/made')).json()).toMatchObject({ topic: 'made', queues: 4 })
    expect((await admin(broker.adminPort, '/readyz')).status).toBe(200)
    const [gatewayFigures, brokerFigures] = await Promise.all([metrics(one.adminPort), metrics(broker.adminPort)])
    expect(brokerFigures).toMatch(/^sluice_topics [1-9]/m)
    expect(brokerFigures).not.toMatch(/sluice_sessions/)
    expect(gatewayFigures).toMatch(/^sluice_link_connected 1$/m)
    expect(gatewayFigures).not.toMatch(/sluice_topics|sluice_log_bytes/)
  })

  it('are let in only if they know the secret', async () => {
    await expect(gateway({ secret: 'another of sixteen' })).rejects.toThrow('the secret is another one')
    await expect(gateway()).rejects.toThrow('the secret is another one')
  })
})

describe('sluice broker', () => {
  const main = new URL('../../packages/cli/src/main.ts', import.meta.url).pathname
  const said = (...args: string[]) =>
    new Promise<readonly [code: unknown, words: string]>((resolve) => {
      const all = ['--conditions=@sluice/source', main, 'broker', '--data', join(folder, 'none'), ...args]
      execFile(process.execPath, all, { timeout: 20_000 }, (error, _, words) => resolve([error?.code ?? 0, words]))
    })

  it('says what is wrong with its command line', async () => {
    const [nowhere, open, port] = await Promise.all([
      said(),
      said('--listen', '0.0.0.0:0'),
      said('--listen', 'unix:x', '--admin-port', '-1'),
    ])
    expect(nowhere).toEqual([2, expect.stringContaining('--listen <address>')])
    expect(open).toEqual([1, expect.stringContaining('a secret is needed that both ends know')])
    expect(port[0]).toBe(2)
  })
})
