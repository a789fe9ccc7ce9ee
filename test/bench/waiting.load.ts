import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Broker, openBroker } from '@sluice/broker'
import type { CommandOf, Context, Kind, ReplyTo } from '@sluice/core'

/** Many that wait in one broker: what each costs, and how soon one of them hears of its message. Prints a sample. */
interface Options {
  readonly of: 'pops' | 'inboxes' | 'timers'
  readonly count: number
  readonly wakes: number
}

const options = JSON.parse(process.argv[2]!) as Options
const { count, wakes } = options
/** Parked pops of one group. */
const PER_GROUP = 100
const FAR = 10 ** 9

const principal = { name: 'b', tenant: '', super: true }
const context: Context = {
  session: {
    id: 'bench/1',
    client: 'bench',
    principal,
    protocol: 'bench',
    language: 'js',
    version: 1,
    remoteAddress: '127.0.0.1:1',
    localAddress: '127.0.0.1:2',
    notify: async () => undefined,
  },
  principal,
  deadline: Number.MAX_SAFE_INTEGER,
}

const dir = await mkdtemp(join(tmpdir(), 'sluice-waiting-'))
const broker: Broker = await openBroker({ dir, flush: 'async', defaultQueues: 1 })
const run = <K extends Kind>(command: CommandOf<K>): Promise<ReplyTo<K>> =>
  broker.execute<K>(broker.node, command, context)

const turn = () => new Promise((resolve) => setImmediate(resolve))
const rss = async (): Promise<number> => {
  for (let times = 0; times < 4; times++) {
    globalThis.gc?.()
    await turn()
  }
  return process.memoryUsage.rss()
}

let heard: (at: number) => void = () => undefined
const publish = (topic: string, path?: string) =>
  run<'publish'>({
    kind: 'publish',
    messages: [{ topic, body: Buffer.from('x'), properties: {}, ...(path !== undefined && { path }) }],
    oneway: false,
  })

type Source = CommandOf<'pop'>['source']

const sources = new Map<string, Source>()
/** Pops, hears, settles and pops again. One promise a pop is the load's own, and no closure: the rest is the broker's. */
const waitFor = (source: Source): void => {
  void run<'pop'>({ kind: 'pop', source, max: 1, invisible: 60_000, wait: FAR, fifo: false }).then(hear, ignore)
}
const ignore = () => undefined
const hear = async ({ batch }: ReplyTo<'pop'>): Promise<void> => {
  const at = performance.now()
  const [one] = [...batch]
  if (!one) return
  const receipt = one.receipt!
  waitFor(sources.get(receipt.of === 'group' ? receipt.topic : receipt.inbox)!)
  await run<'settle'>({ kind: 'settle', receipts: [receipt], outcome: { kind: 'accept' } })
  heard(at)
}

const makePops = async (): Promise<void> => {
  const groups = Math.max(1, count / PER_GROUP)
  const topics = Array.from({ length: groups }, (_, at) => ({ topic: `t${at}`, queues: 1, type: 'mixed' as const }))
  await run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics } })
  for (const { topic } of topics) sources.set(topic, { kind: 'group', topic, group: `g-${topic}` })
  for (let at = 0; at < count; at++) {
    waitFor(sources.get(`t${at % groups}`)!)
    if (at % 1000 === 0) await turn()
  }
}

const makeInboxes = async (): Promise<void> => {
  for (let at = 0; at < count; at++) {
    const inbox = `inbox-${at}`
    const { epoch } = await run<'open'>({ kind: 'open', inbox, fresh: true, expiry: 0 })
    await run<'bind'>({ kind: 'bind', inbox, epoch, add: [{ pattern: `t0/${at}`, retained: 'skip' }], remove: [] })
    sources.set(inbox, { kind: 'inbox', inbox, epoch })
    waitFor(sources.get(inbox)!)
  }
}

const makeTimers = async (): Promise<void> => {
  const deliverAt = Date.now() + FAR
  for (let at = 0; at < count; at += 1000) {
    const messages = Array.from({ length: 1000 }, (_, next) => ({
      topic: 't0',
      body: Buffer.from('x'),
      properties: {},
      deliverAt: deliverAt + at + next,
    }))
    await run<'publish'>({ kind: 'publish', messages, oneway: false })
  }
}

const wakeOnce = async (number: number): Promise<number> => {
  const hears = new Promise<number>((resolve) => {
    heard = resolve
  })
  const which = (number * 7919) % count
  const began = performance.now()
  await (options.of === 'pops' ? publish(`t${which % Math.max(1, count / PER_GROUP)}`) : publish('t0', String(which)))
  return (await hears) - began
}

await publish('t0', 'warm')
// The young generation grows to its full size once, whatever waits afterwards.
let live: object[] = []
for (let made = 0; made < 2_000_000; made++) {
  if (live.length === 100_000) live = []
  live.push({ made })
}
live = []
const before = await rss()
await { pops: makePops, inboxes: makeInboxes, timers: makeTimers }[options.of]()
const bytesEach = ((await rss()) - before) / count
const times: number[] = []
for (let number = 0; options.of !== 'timers' && number < wakes * 2; number++) {
  const took = await wakeOnce(number)
  // The first half warms up.
  if (number >= wakes) times.push(took)
  await turn()
}
times.sort((a, b) => a - b)
await broker.close()
await rm(dir, { recursive: true, force: true })
console.log(
  JSON.stringify({
    bytesEach: Math.round(bytesEach),
    ...(times.length > 0 && { wakeUs: times[times.length >> 1]! * 1000 }),
  }),
)
process.exit(0)
