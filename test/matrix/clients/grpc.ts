import { names } from '@sluice/core'
import type {
  MessageView,
  Producer as ProducerClient,
  SimpleConsumer as SimpleConsumerClient,
} from 'rocketmq-client-nodejs'
import { Inbox, type MatrixClient } from '../client.ts'
import type { Sample } from '../samples.ts'

/** Loaded late: its TLS roots are read from the environment when it is. */
const sdk = async () => (await import('rocketmq-client-nodejs')).default as typeof import('rocketmq-client-nodejs')

/** The client writes to a log file in the home directory unless it is given a logger. */
const logger = { info() {}, warn() {}, error() {}, debug() {} }

const send = (producer: ProducerClient, topic: string, sample: Sample) =>
  producer.send({
    topic,
    tag: sample.tag,
    keys: [...sample.keys],
    body: sample.body,
    properties: new Map(Object.entries(sample.properties)),
  })

export const grpc: MatrixClient = {
  name: 'grpc',
  column: 'grpc',
  refusesEmpty: true,
  keepsOrder: false,
  givesId: true,
  async producer(target, topic) {
    const { Producer } = await sdk()
    const endpoints = `${target.host}:${target.port}`
    const producer = new Producer({ endpoints, topic, sslEnabled: target.tls, logger: logger as never, namespace: '' })
    await producer.startup()
    return {
      async send(samples) {
        for (let at = 0; at < samples.length; at += 32) {
          await Promise.all(samples.slice(at, at + 32).map((sample) => send(producer, topic, sample)))
        }
      },
      sendEmpty: () =>
        producer.send({ topic, body: Buffer.alloc(0) }).then(
          () => true,
          () => false,
        ),
      close: () => producer.shutdown(),
    }
  },
  async consumer(target, topic, group) {
    const { SimpleConsumer } = await sdk()
    const consumer: SimpleConsumerClient = new SimpleConsumer({
      endpoints: `${target.host}:${target.port}`,
      consumerGroup: group,
      subscriptions: new Map([[topic, '*']]),
      awaitDuration: 2_000,
      sslEnabled: target.tls,
      logger: logger as never,
      namespace: '',
    })
    await consumer.startup()
    const inbox = new Inbox()
    let running = true
    const loop = async () => {
      while (running) {
        const views = await consumer.receive(32, 60_000)
        await Promise.all(views.map((view) => consumer.ack(view)))
        for (const view of views) inbox.push(received(topic, view))
      }
    }
    const looping = loop()
    looping.catch(() => undefined)
    return {
      received: inbox.received,
      wait: (count, ms) => Promise.race([inbox.wait(count, ms), looping]),
      async close() {
        running = false
        await looping
        await consumer.shutdown()
      },
    }
  },
}

const received = (topic: string, view: MessageView) => {
  const { [names.path]: full, [names.contentType]: contentType, ...properties } = Object.fromEntries(view.properties)
  return {
    body: view.body,
    ...(view.tag !== undefined && { tag: view.tag }),
    keys: view.keys,
    ...(full !== undefined && { path: full.slice(topic.length + 1) }),
    ...(contentType !== undefined && { contentType }),
    properties,
    id: view.messageId,
    attempt: view.deliveryAttempt ?? 1,
  }
}
