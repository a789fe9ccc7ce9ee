import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import type { MessageView } from 'rocketmq-client-nodejs'
import sdk from 'rocketmq-client-nodejs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeFiles, describeProto } from '../../protocols/grpc/scripts/describe.ts'
import { descriptor } from '../../protocols/grpc/src/descriptor.ts'

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
