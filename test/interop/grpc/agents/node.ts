/**
 * The Node client's part in the table; what it says on stdout is told at the head of behaviours.ts.
 *   node node.ts <host:port> <prefix>
 */
import type { SimpleConsumer as Consumer, MessageView } from 'rocketmq-client-nodejs'
import sdk from 'rocketmq-client-nodejs'

const client = sdk as typeof import('rocketmq-client-nodejs')
const { ConsumeResult, FilterExpression, Producer, PushConsumer, SimpleConsumer } = client
const COMMIT = 1
const SQL = 2
const [endpoints, prefix] = process.argv.slice(2) as [string, string]
const logger = { info() {}, warn() {}, error() {}, debug() {} } as never
const common = { endpoints, namespace: '', logger }
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const topicOf = (behaviour: string) => `${prefix}-${behaviour}`
const bodyOf = ({ body }: MessageView) => body.toString()

const names = (process.argv[4] ?? '').split(',')
const checker = { check: async () => COMMIT as never }
const producer = new Producer({ ...common, topics: names.map(topicOf), checker })
const send = (behaviour: string, body: string, more: object = {}) =>
  producer.send({ topic: topicOf(behaviour), body: Buffer.from(body), ...more })

const withConsumer = async <T>(
  behaviour: string,
  work: (consumer: Consumer) => Promise<T>,
  filter: string | InstanceType<typeof FilterExpression> = '*',
): Promise<T> => {
  const consumer = new SimpleConsumer({
    ...common,
    consumerGroup: `${topicOf(behaviour)}-g`,
    subscriptions: new Map([[topicOf(behaviour), filter]]) as never,
    awaitDuration: 1_000,
  })
  await consumer.startup()
  try {
    return await work(consumer)
  } finally {
    await consumer.shutdown()
  }
}

/** Takes and acknowledges until there are so many, or the time is over. */
const take = async (consumer: Consumer, count: number, ms = 60_000): Promise<MessageView[]> => {
  const views: MessageView[] = []
  for (const until = Date.now() + ms; views.length < count && Date.now() < until; ) {
    for (const view of await consumer.receive(16, 10_000)) {
      await consumer.ack(view)
      views.push(view)
    }
  }
  return views
}

const pushed = async (
  behaviour: string,
  consume: (view: MessageView, seen: string[]) => boolean,
  publish: () => Promise<unknown>,
  done: (seen: string[]) => boolean,
): Promise<string[]> => {
  const seen: string[] = []
  const push = new PushConsumer({
    ...common,
    consumerGroup: `${topicOf(behaviour)}-g`,
    subscriptions: new Map([[topicOf(behaviour), '*']]),
    longPollingTimeout: 5_000,
    messageListener: {
      consume: async (view: MessageView) => (consume(view, seen) ? ConsumeResult.SUCCESS : ConsumeResult.FAILURE),
    },
  })
  await push.startup()
  await publish()
  for (let turn = 0; turn < 600 && !done(seen); turn++) await pause(100)
  await pause(500)
  return seen
}

const behaviours: Readonly<Record<string, () => Promise<readonly unknown[]>>> = {
  normal: () =>
    withConsumer('normal', async (consumer) => {
      await send('normal', 'hello', { tag: 'blue', keys: ['k1'], properties: new Map([['colour', 'red']]) })
      const [view] = await take(consumer, 1)
      return [bodyOf(view!), view!.tag, view!.keys[0], view!.properties.get('colour'), view!.deliveryAttempt]
    }),
  fifo: () =>
    withConsumer('fifo', async (consumer) => {
      for (let n = 0; n < 6; n++) await send('fifo', String(n), { messageGroup: 'one' })
      return (await take(consumer, 6)).map(bodyOf)
    }),
  delay: () =>
    withConsumer('delay', async (consumer) => {
      const began = Date.now()
      await send('delay', 'later', { delay: 2_500 })
      await take(consumer, 1)
      return [Date.now() - began >= 2_400 ? 'in time' : 'early']
    }),
  recall: () =>
    withConsumer('recall', async (consumer) => {
      const { messageId, recallHandle } = await send('recall', 'never', { delay: 5_000 })
      const recalled = await producer.recallMessage(topicOf('recall'), recallHandle)
      return [recalled.messageId === messageId, (await take(consumer, 1, 6_000)).length]
    }),
  priority: () =>
    withConsumer('priority', async (consumer) => {
      await send('priority', 'urgent', { priority: 3 })
      const [view] = await take(consumer, 1)
      return [bodyOf(view!), view!.priority]
    }),
  transaction: () =>
    withConsumer('transaction', async (consumer) => {
      for (const end of ['rollback', 'commit'] as const) {
        const transaction = producer.beginTransaction()
        await producer.send({ topic: topicOf('transaction'), body: Buffer.from(end) }, transaction)
        await transaction[end]()
      }
      return (await take(consumer, 2, 3_000)).map(bodyOf)
    }),
  checkBack: () =>
    withConsumer('checkBack', async (consumer) => {
      const transaction = producer.beginTransaction()
      await producer.send({ topic: topicOf('checkBack'), body: Buffer.from('checked') }, transaction)
      return (await take(consumer, 1)).map(bodyOf)
    }),
  tagFilter: () =>
    withConsumer(
      'tagFilter',
      async (consumer) => {
        for (const tag of ['red', 'blue', 'green']) await send('tagFilter', tag, { tag })
        return (await take(consumer, 2)).map(bodyOf).sort()
      },
      'blue || green',
    ),
  sqlFilter: () =>
    withConsumer(
      'sqlFilter',
      async (consumer) => {
        for (const n of ['1', '2', '3', '4']) await send('sqlFilter', n, { properties: new Map([['n', n]]) })
        return (await take(consumer, 2)).map(bodyOf).sort()
      },
      new FilterExpression('n > 2', SQL as never),
    ),
  changeInvisible: () =>
    withConsumer('changeInvisible', async (consumer) => {
      await send('changeInvisible', 'again')
      let first: MessageView | undefined
      while (!first) [first] = await consumer.receive(1, 10_000)
      await consumer.changeInvisibleDuration(first, 1_000)
      const [second] = await take(consumer, 1)
      return [first.deliveryAttempt, second!.deliveryAttempt]
    }),
  push: async () =>
    (
      await pushed(
        'push',
        (view, seen) => seen.push(bodyOf(view)) > 0,
        async () => {
          for (let n = 0; n < 20; n++) await send('push', String(n))
        },
        (seen) => seen.length >= 20,
      )
    ).sort((a, b) => Number(a) - Number(b)),
  pushFifo: () =>
    pushed(
      'pushFifo',
      (view, seen) => seen.push(bodyOf(view)) !== 3,
      async () => {
        for (let n = 0; n < 6; n++) await send('pushFifo', String(n), { messageGroup: 'one' })
      },
      (seen) => seen.length >= 7,
    ),
  deadLetter: () =>
    pushed(
      'deadLetter',
      (view, seen) => {
        seen.push(String(view.deliveryAttempt))
        return false
      },
      () => send('deadLetter', 'hopeless'),
      (seen) => seen.length >= 2,
    ),
}

await producer.startup()
for (const step of names) {
  const line = await behaviours[step]!().then(
    (result) => ({ step, result: result.map(String) }),
    (error: Error) => ({ step, error: error.message }),
  )
  console.log(JSON.stringify(line))
}
process.exit(0) // a push consumer's shutdown waits for its poll, up to 20 s, and leaves a timer behind
