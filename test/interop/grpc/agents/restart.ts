/**
 * The Node client's part in restarts; what it says on stdout is told at the head of ../restart.ts.
 *   node restart.ts <host:port> <topic> <sends at once>
 */
import sdk from 'rocketmq-client-nodejs'

const { Producer, SimpleConsumer } = sdk as typeof import('rocketmq-client-nodejs')
const [endpoints, topic, width] = process.argv.slice(2) as [string, string, string]
const logger = { info() {}, warn() {}, error() {}, debug() {} } as never
const common = { endpoints, namespace: '', logger }
const say = (line: object) => console.log(JSON.stringify(line))
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const producer = new Producer({ ...common, topics: [topic] })
const consumer = new SimpleConsumer({
  ...common,
  consumerGroup: `${topic}-g`,
  subscriptions: new Map([[topic, '*']]),
  awaitDuration: 2_000,
})
await Promise.all([producer.startup(), consumer.startup()])
let stopped = false
process.stdin.on('data', () => {
  stopped = true
})
let count = 0
let busy = 0

const sender = async (): Promise<void> => {
  while (!stopped) {
    const body = `m-${++count}`
    busy++
    await producer.send({ topic, body: Buffer.from(body) }).then(
      () => say({ acked: body }),
      () => pause(100),
    )
    busy--
    await pause(200)
  }
}
const receiver = async (): Promise<never> => {
  for (;;) {
    const views = await consumer.receive(32, 10_000).catch(() => pause(200).then(() => []))
    for (const view of views) {
      say({ got: view.body.toString() })
      // Whether this was done is not known when the answer does not come: then it may come again.
      await consumer.ack(view).catch(() => undefined)
    }
  }
}
setInterval(() => say({ busy }), 20)
void receiver()
void receiver()
say({ started: true })
await Promise.all(Array.from({ length: Number(width) }, sender))
say({ stopped: true })
