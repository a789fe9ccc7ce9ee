import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import type { MessageView } from 'rocketmq-client-nodejs'
import sdk from 'rocketmq-client-nodejs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeFiles, describeProto } from '../../protocols/grpc/scripts/describe.ts'
import { descriptor } from '../../protocols/grpc/src/descriptor.ts'
import { asking, Caller, message, type Reply } from '../../protocols/grpc/test/harness.ts'

const { Producer, SimpleConsumer } = sdk as typeof import('rocketmq-client-nodejs')
const require = createRequire(import.meta.url)

/** What of protobufjs is looked at. */
interface Field {
  readonly id: number
  readonly type: string
  readonly repeated: boolean
  readonly map: boolean
  readonly partOf?: { readonly name: string } | null
}
interface Node {
  readonly name: string
  readonly nestedArray?: readonly Node[]
  readonly fields?: Readonly<Record<string, Field>>
  readonly values?: Readonly<Record<string, number>>
  readonly methods?: Readonly<Record<string, object>>
}
interface Root {
  resolvePath: (origin: string, target: string) => string
  loadSync(file: string, options: object): Root
  resolveAll(): Root
  lookup(name: string): Node
}
const { Root } = createRequire(require.resolve('@grpc/proto-loader'))('protobufjs') as {
  Root: { new (): Root; fromJSON(json: object): Root }
}

/** Numbers, types and rules of everything in the package, by its name. */
const shapes = (root: Root): Readonly<Record<string, unknown>> => {
  const flat = (node: Node, path: string): [string, Node][] =>
    (node.nestedArray ?? []).flatMap((one) => [[path + one.name, one], ...flat(one, `${path}${one.name}.`)])
  const field = ({ id, type, repeated, map, partOf }: Field) =>
    [id, type.split('.').at(-1), repeated, map, partOf?.name].join()
  return Object.fromEntries(
    flat(root.resolveAll().lookup('apache.rocketmq.v2'), '').map(([name, { fields, values, methods }]) => [
      name,
      {
        ...(fields && { fields: Object.fromEntries(Object.entries(fields).map(([key, one]) => [key, field(one)])) }),
        ...(values && { values: { ...values } }),
        ...(methods && { methods: Object.keys(methods).sort() }),
      },
    ]),
  )
}

describe('our description of the protocol', () => {
  it('has the numbers and types of the one that the official Node client carries', () => {
    const official = new Root()
    const folder = `${require.resolve('rocketmq-client-nodejs/package.json').replace('package.json', '')}proto/`
    official.resolvePath = (_, target) =>
      target.startsWith('google/') || target.startsWith('/') ? target : folder + target
    official.loadSync(`${folder}apache/rocketmq/v2/service.proto`, { keepCase: true })
    expect(shapes(Root.fromJSON(descriptor))).toEqual(shapes(official))
  })

  it('is made of its text', () => {
    const text = (name: string) => readFileSync(new URL(`../../protocols/grpc/src/${name}.ts`, import.meta.url), 'utf8')
    expect([text('descriptor'), text('reflected')]).toEqual([describeProto(), describeFiles()])
  })
})

describe('the official Node client', () => {
  let gateway: RunningGateway
  const logger = { info() {}, warn() {}, error() {}, debug() {} } as never

  beforeAll(async () => {
    gateway = await startGateway({ listeners: [{ port: 0 }], backend: { embedded: { flush: 'async' } } })
  })
  afterAll(() => gateway.close())

  it('sends to two new topics, receives, shortens, gets again, acknowledges', async () => {
    const common = { endpoints: `127.0.0.1:${gateway.port}`, namespace: '', logger }
    const producer = new Producer({ ...common, topics: ['e2e-one', 'e2e-two'] })
    const consumer = new SimpleConsumer({
      ...common,
      consumerGroup: 'e2e-group',
      subscriptions: new Map([['e2e-one', 'blue']]),
      awaitDuration: 1_000,
    })
    await Promise.all([producer.startup(), consumer.startup()])
    const one = async (): Promise<MessageView> => {
      for (;;) for (const view of await consumer.receive(1, 10_000)) return view
    }
    await producer.send({ topic: 'e2e-one', tag: 'red', body: Buffer.from('filtered out') })
    const { messageId } = await producer.send({
      topic: 'e2e-one',
      tag: 'blue',
      keys: ['k'],
      body: Buffer.from('hello'),
      properties: new Map([['colour', 'sky']]),
    })
    const view = await one()
    expect([view.body.toString(), view.tag, view.keys, view.messageId, view.deliveryAttempt]).toEqual([
      'hello',
      'blue',
      ['k'],
      messageId,
      1,
    ])
    expect(view.properties.get('colour')).toBe('sky')
    await consumer.changeInvisibleDuration(view, 500)
    const again = await one()
    expect([again.messageId, again.deliveryAttempt]).toEqual([messageId, 2])
    await consumer.ack(again)
    await expect(consumer.ack(again)).rejects.toThrow('40013')
    await Promise.all([consumer.shutdown(), producer.shutdown()])
  })
})

describe('with the embedded broker', () => {
  let gateway: RunningGateway
  let caller: Caller
  const OK = 20000
  const group = { name: 'e2e-g' }
  const code = async (rpc: string, request: object): Promise<number> => (await caller.call(rpc, request)).status.code
  const received = async (topic: string, who = 'e2e-g', ms = 1_000): Promise<Reply[]> => {
    const wait = { long_polling_timeout: { nanos: ms * 1e6 - 1e6 } }
    return (await caller.receive(asking(topic, who, wait))).flatMap(({ message }) => (message ? [message] : []))
  }
  const texts = (messages: readonly Reply[]) => messages.map(({ body }) => String(body))

  beforeAll(async () => {
    gateway = await startGateway({ listeners: [{ port: 0 }], backend: { embedded: { flush: 'async' } } })
    caller = new Caller(gateway.port, 'e2e', {})
  })
  afterAll(async () => {
    caller.close()
    await gateway.close()
  })

  it('ends transactions once', async () => {
    const topic = { name: 'e2e-transactions' }
    const half = async (body: string) =>
      (await caller.send(topic.name, body, { message_type: 'TRANSACTION' })).entries[0]
    const end = ({ message_id, transaction_id }: Reply, resolution: string) =>
      code('EndTransaction', { topic, message_id, transaction_id, resolution, source: 'SOURCE_CLIENT' })
    const [kept, dropped] = [await half('kept'), await half('dropped')]
    expect(await received(topic.name, 'e2e-g', 200)).toEqual([])
    expect([await end(kept, 'COMMIT'), await end(dropped, 'ROLLBACK')]).toEqual([OK, OK])
    expect(texts(await received(topic.name))).toEqual(['kept'])
    expect([await end(kept, 'ROLLBACK'), await end(dropped, 'COMMIT')]).toEqual([40008, 40008])
  })

  it('asks about a transaction that was left open', async () => {
    const topic = { name: 'e2e-open' }
    const stream = caller.telemetry()
    const next = () => new Promise<Reply>((resolve) => stream.once('data', resolve))
    stream.write({ settings: { client_type: 'PRODUCER', publishing: { topics: [topic] } } })
    await next()
    const asked = next()
    const orphaned_transaction_recovery_duration = { seconds: 1 }
    await caller.send(topic.name, 'open', { message_type: 'TRANSACTION', orphaned_transaction_recovery_duration })
    const { message, transaction_id } = (await asked).recover_orphaned_transaction_command
    expect(String(message.body)).toBe('open')
    const { message_id } = message.system_properties
    const end = { topic, message_id, transaction_id, resolution: 'COMMIT', source: 'SOURCE_SERVER_CHECK' }
    expect(await code('EndTransaction', end)).toBe(OK)
    expect(texts(await received(topic.name))).toEqual(['open'])
    stream.end()
  })

  it('recalls what was not delivered', async () => {
    const topic = { name: 'e2e-recall' }
    const delivery_timestamp = { seconds: Math.floor(Date.now() / 1_000) + 3_600 }
    const { recall_handle, message_id } = (await caller.send(topic.name, 'x', { delivery_timestamp })).entries[0]
    const recalled = await caller.call('RecallMessage', { topic, recall_handle })
    expect([recalled.status.code, recalled.message_id]).toEqual([OK, message_id])
    expect(await code('RecallMessage', { topic, recall_handle })).toBe(40400)
  })

  it('pulls and keeps offsets', async () => {
    const topic = { name: 'e2e-pull' }
    const { entries } = await caller.call('SendMessage', {
      messages: ['a', 'b', 'c'].map((body) => message(topic.name, body, { message_group: 'one' })),
    })
    expect(entries.length).toBe(3)
    const [first] = await received(topic.name, 'finds-the-queue')
    const { message_queues } = await caller.call('QueryRoute', { topic })
    const message_queue = message_queues.find(({ id }: Reply) => id === first.system_properties.queue_id)
    const parts: Reply[] = []
    for await (const part of caller.stream('PullMessage', { group, message_queue, offset: 1, batch_size: 8 }))
      parts.push(part)
    expect(texts(parts.flatMap((part) => (part.message ? [part.message] : [])))).toEqual(['b', 'c'])
    expect(parts.at(-1).next_offset).toBe(3)
    expect(await code('GetOffset', { group, message_queue })).toBe(40404)
    expect(await code('UpdateOffset', { group, message_queue, offset: 2 })).toBe(OK)
    expect((await caller.call('GetOffset', { group, message_queue })).offset).toBe(2)
    const end = await caller.call('QueryOffset', { message_queue, query_offset_policy: 'END' })
    expect(end.offset).toBe(3)
  })

  it('gives lite topics to those who named them', async () => {
    const topic = { name: 'e2e-lite' }
    const lite = new Caller(gateway.port, 'e2e-lite-client', {})
    try {
      await caller.send(topic.name, 'makes the topic')
      const stream = lite.telemetry()
      const subscription = { group, subscriptions: [{ topic, expression: { type: 'TAG', expression: '*' } }] }
      stream.write({ settings: { client_type: 'LITE_PUSH_CONSUMER', subscription } })
      await new Promise((resolve) => stream.once('data', resolve))
      const sync = { action: 'COMPLETE_ADD', topic, group, lite_topic_set: ['one', 'two'] }
      expect((await lite.call('SyncLiteSubscription', sync)).status.code).toBe(OK)
      for (const lite_topic of ['one', 'three', 'two']) await caller.send(topic.name, lite_topic, { lite_topic })
      const parts = await lite.receive(asking(topic.name, 'e2e-g', { long_polling_timeout: { seconds: 1 } }))
      const got = parts.flatMap((part) => (part.message ? [part.message] : []))
      expect(got.map(({ system_properties }) => system_properties.lite_topic).sort()).toEqual(['one', 'two'])
      const entries = got.map(({ system_properties: { receipt_handle } }) => ({ receipt_handle }))
      const ack = await lite.call('AckMessage', { group, topic, entries })
      expect(ack.status.code).toBe(OK)
      stream.end()
    } finally {
      lite.close()
    }
  })
})
