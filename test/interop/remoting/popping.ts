import { request } from '@sluice/remoting'
import type { Heard, Listening } from './agent.ts'
import {
  allSent,
  ask,
  type Behaviour,
  type Bench,
  base64,
  fresh,
  must,
  numbered,
  pause,
  REBALANCED_MS,
  same,
  textOf,
  until,
  warmUp,
} from './common.ts'
import { type Leases, readLeases } from './leases.ts'

/** The least that the Java client lets one ask for. */
const INVISIBLE_MS = 5_000
/** Longer than its lease: what such a consumer has comes to another. */
const SLOW_MS = INVISIBLE_MS + 2_000
const SENT_AT_A_TIME = 500

export const popping = (port: number, topic: string, group: string): Promise<unknown> => {
  const body = Buffer.from(JSON.stringify({ topic, consumerGroup: group, mode: 'POP', popShareQueueNum: 0 }))
  return ask(port, request.setMessageRequestMode, {}, body).then(({ code, remark }) =>
    must(code === 0, () => `mode: ${code} ${remark}`),
  )
}

/** When it was popped and until when it was held, as its receipt has it. */
const leaseOf = ({ properties }: Heard): { readonly from: number; readonly to: number } => {
  const [, poppedAt, invisible] = (properties.POP_CK ?? '').split(' ').map(Number)
  return { from: poppedAt ?? 0, to: (poppedAt ?? 0) + (invisible ?? 0) }
}

/** Leases of one message that overlap: it was held by two at once. */
const heldTwice = (heard: readonly Heard[]): readonly string[] => {
  const leases = new Map<string, { readonly from: number; readonly to: number }[]>()
  for (const one of heard) leases.set(textOf(one), [...(leases.get(textOf(one)) ?? []), leaseOf(one)])
  return [...leases].flatMap(([text, list]) => {
    const order = list.sort((a, b) => a.from - b.from)
    return order.some(({ from }, at) => at > 0 && from < (order[at - 1]?.to ?? 0)) ? [text] : []
  })
}

/** Each delivery that a consumer heard of stands in the log, with its time. */
const strangers = (heard: readonly Heard[], { messages }: Leases): readonly string[] =>
  heard.flatMap((one) => {
    const { from } = leaseOf(one)
    const known = messages.get(`${one.queueId} ${one.queueOffset}`)
    return known?.deliveries.some(({ poppedAt }) => poppedAt === from) ? [] : [`${textOf(one)} at ${from}`]
  })

/** Consumers of one group in a process, each a client of its own. */
class Consumers {
  readonly all: Listening[] = []
  readonly #bench: Bench
  readonly #fields: { readonly topic: string; readonly group: string; readonly nameserver: string }

  constructor(bench: Bench, topic: string, group: string) {
    this.#bench = bench
    this.#fields = { nameserver: bench.nameserver, topic, group }
  }

  async join(more: object = {}): Promise<Listening> {
    const instance = fresh('pops')
    const fields = { ...this.#fields, from: 'first', pop: true, popInvisibleMs: INVISIBLE_MS, instance, ...more }
    this.all.push(await this.#bench.agent.consume(fields))
    return this.all.at(-1)!
  }

  get heard(): Heard[] {
    return this.all.flatMap((one) => one.heard as Heard[])
  }
}

const send = async ({ agent, nameserver }: Bench, topic: string, from: number, count: number): Promise<void> => {
  const messages = Array.from({ length: count }, (_, k) => ({ body: base64(`m${from + k}`) }))
  for (let at = 0; at < count; at += SENT_AT_A_TIME) {
    const some = messages.slice(at, at + SENT_AT_A_TIME)
    allSent(await agent.produce({ nameserver, group: 'PG', topic, mode: 'async', messages: some }))
  }
}

/**
 * Two consumers share a topic; time and again one leaves and another joins, and one is slower than its leases. No message
 * is lost, none is held by two at once, and each that came again had an expired lease in the broker's log.
 */
const popTogether = async (bench: Bench): Promise<void> => {
  const { agent, nameserver, port, full, logDir } = bench
  const [topic, group] = [fresh('pop'), fresh('CG')]
  const [total, waves] = full ? [20_000, 8] : [2_000, 2]
  allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
  await popping(port, topic, group)
  const consumers = new Consumers(bench, topic, group)
  let oldest = await consumers.join()
  must(await oldest.has(1, REBALANCED_MS), () => 'the first consumer pops nothing')
  const slow = await consumers.join({ holdMs: SLOW_MS, threads: 4 })
  // What it holds too long is what there is to prove.
  const sent = 1 + (await warmUp(bench, topic, [slow], ([heard]) => heard!.length > 0))
  for (let wave = 0; wave < waves; wave++) {
    const next = await consumers.join()
    await Promise.all([send(bench, topic, (wave * total) / waves, total / waves), pause(full ? 2_000 : 500)])
    await oldest.stop()
    oldest = next
  }
  await pause(SLOW_MS)
  await slow.stop()
  const distinct = () => new Set(consumers.heard.map(textOf)).size
  await until(() => distinct() >= sent + total, REBALANCED_MS)
  const leases = async () => readLeases(logDir, group, topic)
  const settled = async () => [...(await leases()).messages.values()].filter(({ isSettled }) => isSettled).length
  await until(async () => (await settled()) >= sent + total, REBALANCED_MS)
  await oldest.stop()
  report(consumers, await leases(), sent + total)
}

const report = (consumers: Consumers, leases: Leases, total: number): void => {
  const { heard, all } = consumers
  const lost = total - new Set(heard.map(textOf)).size
  must(lost === 0, () => `${lost} of ${total} are lost`)
  const settled = [...leases.messages.values()].filter(({ isSettled }) => isSettled).length
  must(settled === total, () => `of ${total} the log ends ${settled}`)
  must(leases.wrong.length === 0, () => `in the log: ${leases.wrong.slice(0, 10)}`)
  must(leases.again > 0, () => 'no lease has expired: nothing is proven')
  const twice = heldTwice(heard)
  must(twice.length === 0, () => `held by two at once: ${twice.slice(0, 10)}`)
  const unknown = strangers(heard, leases)
  must(unknown.length === 0, () => `not in the log: ${unknown.slice(0, 10)}`)
  const shares = all.map((one) => one.heard.length)
  console.log(
    `     ${total} messages to ${all.length} consumers (${shares}), heard ${heard.length} times; in the log ${leases.again} came again, each after its lease`,
  )
}

export const poppingTogether: readonly Behaviour[] = [
  { feature: 'pop', name: 'push consumers that pop share a topic while they join and leave', run: popTogether },
  {
    feature: 'pop',
    name: 'a popped message that is answered "later" comes again, one attempt further',
    async run({ agent, nameserver, port }) {
      const [topic, group] = [fresh('popAgain'), fresh('CG')]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(2) }))
      await popping(port, topic, group)
      const fields = { nameserver, group, topic, from: 'first', pop: true, fail: 1, delayLevel: 1 }
      const consumer = await agent.consume(fields)
      must(await consumer.has(4, REBALANCED_MS), () => `heard ${consumer.heard.length} of 4`)
      await consumer.stop()
      same(
        consumer.heard.filter(({ reconsumeTimes }) => reconsumeTimes === 1),
        ['m0', 'm1'],
      )
    },
  },
]
