/**
 * The Node client's part; what it says on stdout is told at the head of suite.ts.
 *   node peace.ts <host:port> <topic> <push topic> <group> <push group>
 */
import type { SimpleConsumer as Consumer, MessageView } from 'rocketmq-client-nodejs'
import sdk from 'rocketmq-client-nodejs'

const { Producer, PushConsumer, SimpleConsumer, ConsumeResult } = sdk as typeof import('rocketmq-client-nodejs')
const [endpoints, topic, pushTopic, group, pushGroup] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
]
const logger = { info() {}, warn() {}, error() {}, debug() {} } as never
const common = { endpoints, namespace: '', logger }
const say = (line: object) => console.log(JSON.stringify(line))
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const told = (view: MessageView) => ({
  body: view.body.toString(),
  tag: view.tag,
  keys: view.keys,
  properties: Object.fromEntries(view.properties),
  id: view.messageId,
  attempt: view.deliveryAttempt,
})

const one = async (consumer: Consumer): Promise<MessageView> => {
  for (;;) {
    const [view] = await consumer.receive(1, 10_000)
    if (view) return view
  }
}

const producer = new Producer({ ...common, topics: [topic, pushTopic] })
await producer.startup()
const consumer = new SimpleConsumer({
  ...common,
  consumerGroup: group,
  subscriptions: new Map([[topic, '*']]),
  awaitDuration: 2_000,
})
await consumer.startup()
say({ step: 'started' })

const sent = await producer.send({
  topic,
  tag: 'blue',
  keys: ['k1', 'k2'],
  body: Buffer.from('hello'),
  properties: new Map([['colour', 'red']]),
})
say({ step: 'sent', id: sent.messageId })
const view = await one(consumer)
say({ step: 'received', ...told(view) })
await consumer.changeInvisibleDuration(view, 3_000)
await consumer.ack(view)
await pause(3_500)
say({ step: 'after', messages: (await consumer.receive(1, 10_000)).length })

await producer.send({ topic, body: Buffer.from('again') })
await consumer.changeInvisibleDuration(await one(consumer), 1_000)
const again = await one(consumer)
say({ step: 'again', ...told(again) })
await consumer.ack(again)

const bodies = Array.from({ length: 200 }, (_, n) => `message-${n}`)
for (let at = 0; at < bodies.length; at += 20) {
  await Promise.all(bodies.slice(at, at + 20).map((body) => producer.send({ topic, body: Buffer.from(body) })))
}
const received: string[] = []
// A poll that a drain wakes is empty too: it ends with one that is empty after all have come.
for (const until = Date.now() + 60_000; ; ) {
  const views = await consumer.receive(32, 10_000)
  await Promise.all(views.map((each) => consumer.ack(each)))
  received.push(...views.map(({ body }) => body.toString()))
  if (views.length === 0 && (received.length >= bodies.length || Date.now() > until)) break
}
say({ step: 'many', received })

const pushed: string[] = []
const push = new PushConsumer({
  ...common,
  consumerGroup: pushGroup,
  subscriptions: new Map([[pushTopic, '*']]),
  longPollingTimeout: 5_000,
  messageListener: {
    async consume(message: MessageView) {
      pushed.push(message.body.toString())
      return ConsumeResult.SUCCESS
    },
  },
})
await push.startup()
for (let n = 0; n < 20; n++) await producer.send({ topic: pushTopic, body: Buffer.from(`push-${n}`) })
for (let turn = 0; turn < 600 && pushed.length < 20; turn++) await pause(100)
await pause(500)
say({ step: 'pushed', received: pushed })

await consumer.shutdown()
await producer.shutdown()
say({ step: 'bye' })
process.exit(0) // a push consumer's shutdown waits for its poll, up to 20 s, and leaves a timer behind
