import { openBroker } from '@sluice/broker'
import type { CommandOf, ReplyTo } from '@sluice/core'
import { contextOf, sessionOf } from '@sluice/testkit'

/** Fills the log of a data directory with one topic, by the broker itself, and closes it. */
interface Options {
  readonly dir: string
  readonly node: string
  readonly topic: string
  readonly queues: number
  readonly bytes: number
  readonly bodyBytes: number
}

const { dir, node, topic, queues, bytes, bodyBytes } = JSON.parse(process.argv[2]!) as Options
const BATCH = 256

const broker = await openBroker({ dir, node, flush: 'async', defaultQueues: queues })
const body = Buffer.alloc(bodyBytes, 'sluice ')
const command: CommandOf<'publish'> = {
  kind: 'publish',
  messages: Array.from({ length: BATCH }, () => ({ topic, body, properties: {} })),
  oneway: false,
}
const context = contextOf(sessionOf('bench/1'))
const began = performance.now()
let messages = 0
for (; broker.stats().end < bytes; messages += BATCH) {
  const { stored } = (await broker.execute<'publish'>(broker.node, command, context)) as ReplyTo<'publish'>
  if (stored[0] instanceof Error) throw stored[0]
}
const took = (performance.now() - began) / 1_000
const { end } = broker.stats()
await broker.close()
console.log(JSON.stringify({ messages, MB: end / 2 ** 20, MBPerSecond: end / 2 ** 20 / took }))
