import type { CommandOf, ReplyTo } from '@sluice/core'
import { grown, held, lone, turn } from './waiting.ts'

/** Many that wait in one broker: what each costs, and how soon one of them hears of its message. Prints a sample. */
interface Options {
  /** bare: what the load itself holds of a hundred thousand inboxes with their pops, and no broker. */
  readonly of: 'pops' | 'pops with signals' | 'inboxes' | 'timers' | 'bare'
  readonly count: number
  readonly wakes: number
}

const options = JSON.parse(process.argv[2]!) as Options
const { count, wakes } = options
/** Parked pops of one group. */
const PER_GROUP = 100
const FAR = 10 ** 9

const { run, publish, end } = await lone()

let heard: (at: number) => void = () => undefined
type Pop = CommandOf<'pop'>
type Source = Pop['source']

const sources = new Map<string, Source>()
const popOf = (source: Source): Pop => ({ kind: 'pop', source, max: 1, invisible: 60_000, wait: FAR, fifo: false })
/** Pops, hears, settles and pops again. */
const waitFor = (source: Source): void => {
  const signal = options.of === 'pops with signals' ? new AbortController().signal : undefined
  void run<'pop'>(popOf(source), signal).then(hear, ignore)
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

/** The source, its name, and a promise that is waited for: what the makers above leave besides what the broker has. */
const bare: ((reply: ReplyTo<'pop'>) => void)[] = []
const makeBare = async (): Promise<void> => {
  for (let at = 0; at < count; at++) {
    const inbox = `inbox-${at}`
    sources.set(inbox, { kind: 'inbox', inbox, epoch: Date.now() + at })
    void new Promise<ReplyTo<'pop'>>((resolve) => bare.push(resolve)).then(hear, ignore)
  }
}

const wakeOnce = async (number: number): Promise<number> => {
  const hears = new Promise<number>((resolve) => {
    heard = resolve
  })
  const which = (number * 7919) % count
  const began = performance.now()
  await (options.of === 'inboxes'
    ? publish('t0', String(which))
    : publish(`t${which % Math.max(1, count / PER_GROUP)}`))
  return (await hears) - began
}

await publish('t0', 'warm')
const before = await held()
const makers = {
  pops: makePops,
  'pops with signals': makePops,
  inboxes: makeInboxes,
  timers: makeTimers,
  bare: makeBare,
}
await makers[options.of]()
const memory = grown(before, await held(), count)
const times: number[] = []
const isWoken = options.of === 'pops' || options.of === 'inboxes'
for (let number = 0; isWoken && number < wakes * 2; number++) {
  const took = await wakeOnce(number)
  // The first half warms up.
  if (number >= wakes) times.push(took)
  await turn()
}
times.sort((a, b) => a - b)
await end({ ...memory, ...(times.length > 0 && { wakeUs: times[times.length >> 1]! * 1000 }) })
