import { grown, held, lone, turn } from './waiting.ts'

/** One broker with few or many topics, or groups: what each costs, and what a message does. Prints a sample. */
interface Options {
  /** topics: a message is published. groups: each of a topic of its own; a message is published, popped and settled. */
  readonly of: 'topics' | 'groups'
  readonly count: number
  readonly messages: number
}

const { of, count, messages } = JSON.parse(process.argv[2]!) as Options
/** In flight. */
const BURST = 64
const RUN = 1000
const body = Buffer.alloc(1024)

const { run, end } = await lone()

const makeTopics = async (): Promise<void> => {
  for (let from = 0; from < count; from += RUN) {
    const length = Math.min(RUN, count - from)
    const topics = Array.from({ length }, (_, at) => ({ topic: `t${from + at}`, queues: 1, type: 'mixed' as const }))
    await run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics } })
  }
}

const sourceOf = (number: number) => ({ kind: 'group', topic: `t${number}`, group: `g${number}` }) as const
const pop = (number: number) =>
  run<'pop'>({ kind: 'pop', source: sourceOf(number), max: 1, invisible: 60_000, wait: 0, fifo: false })

const makeGroups = async (): Promise<void> => {
  for (let from = 0; from < count; from += BURST)
    await Promise.all(Array.from({ length: Math.min(BURST, count - from) }, (_, at) => pop(from + at)))
}

/** Neighbours in time are far apart. */
const which = (number: number): number => (number * 7919) % count

const publish = (topic: string) =>
  run<'publish'>({ kind: 'publish', messages: [{ topic, body, properties: {} }], oneway: false })

const one = async (number: number): Promise<void> => {
  if (of === 'topics') {
    await publish(`t${which(number)}`)
    return
  }
  const group = which(number)
  await publish(`t${group}`)
  const [delivered] = [...(await pop(group)).batch]
  const receipts = [delivered!.receipt!]
  await run<'settle'>({ kind: 'settle', receipts, outcome: { kind: 'accept' } })
}

/** @returns CPU time a message, µs */
const measure = async (): Promise<number> => {
  const { user, system } = process.cpuUsage()
  for (let from = 0; from < messages; from += BURST) {
    await Promise.all(Array.from({ length: BURST }, (_, at) => one(from + at)))
    await turn()
  }
  const spent = process.cpuUsage({ user, system })
  return (spent.user + spent.system) / messages
}

if (of === 'groups') await makeTopics()
const before = await held()
await (of === 'topics' ? makeTopics() : makeGroups())
const memory = grown(before, await held(), count)
await measure()
await end({ ...memory, cpuUs: await measure() })
