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
  same,
  sameTexts,
  textOf,
  until,
} from './common.ts'

const popping = (port: number, topic: string, group: string): Promise<unknown> => {
  const body = Buffer.from(JSON.stringify({ topic, consumerGroup: group, mode: 'POP', popShareQueueNum: 0 }))
  return ask(port, request.setMessageRequestMode, {}, body).then(({ code, remark }) =>
    must(code === 0, () => `mode: ${code} ${remark}`),
  )
}

const INVISIBLE_MS = 15_000

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

/** Every message once and by one consumer, while consumers join and leave. */
const popTogether = async ({ agent, nameserver, port, full }: Bench): Promise<void> => {
  const [topic, group] = [fresh('pop'), fresh('CG')]
  const total = full ? 20_000 : 2_000
  const part = total / 4
  allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
  await popping(port, topic, group)
  const fields = { nameserver, group, topic, from: 'first', pop: true, popInvisibleMs: INVISIBLE_MS, instance: 'one' }
  const first = await agent.consume(fields)
  must(await first.has(1, 30_000), () => 'the first consumer pops nothing')
  const all: Listening[] = [first]
  const heard = () => all.flatMap((one) => one.heard.map(textOf))
  const sendPart = async (n: number) => {
    const messages = Array.from({ length: part }, (_, k) => ({ body: base64(`m${n * part + k}`) }))
    for (let from = 0; from < part; from += 500)
      allSent(
        await agent.produce({
          nameserver,
          group: 'PG',
          topic,
          mode: 'async',
          messages: messages.slice(from, from + 500),
        }),
      )
  }
  await sendPart(0)
  const second = await agent.consume({ ...fields, instance: 'two' })
  all.push(second)
  await Promise.all([sendPart(1), pause(500)])
  await first.stop()
  await sendPart(2)
  const third = await agent.consume({ ...fields, instance: 'three' })
  all.push(third)
  await sendPart(3)
  // What the first one held when it left comes again after its invisible time.
  await until(() => new Set(heard()).size >= total + 1, 90_000)
  await second.stop()
  await third.stop()
  const got = heard()
  const distinct = new Set(got)
  must(distinct.size === total + 1, () => `${total + 1 - distinct.size} of ${total} are lost`)
  const twice = heldTwice(all.flatMap((one) => one.heard))
  must(twice.length === 0, () => `held by two at once: ${twice.slice(0, 10)}`)
  const again = all.flatMap((one) => one.heard).filter(({ reconsumeTimes }) => reconsumeTimes > 0).length
  must(
    got.length - distinct.size <= again,
    () => `${got.length - distinct.size} came twice, ${again} as another attempt`,
  )
  console.log(
    `     ${total} messages, consumers' shares ${all.map((one) => one.heard.length)}, further attempts ${again}`,
  )
}

export const models: readonly Behaviour[] = [
  {
    feature: 'dead',
    name: 'a message that fails too often lies with the dead letters',
    async run({ agent, nameserver }) {
      const [topic, group] = [fresh('doomed'), fresh('CG')]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(2) }))
      const consumer = await agent.consume({
        nameserver,
        group,
        topic,
        from: 'first',
        fail: 9,
        delayLevel: 1,
        maxTimes: 1,
      })
      must(await consumer.has(4, 30_000), () => `heard ${consumer.heard.length} of 4`)
      await pause(500)
      await consumer.stop()
      const dead = await agent.consume({ nameserver, group: fresh('CG'), topic: `%DLQ%${group}`, from: 'first' })
      must(await dead.has(2, 40_000), () => `heard ${dead.heard.length} of 2 dead letters`)
      await dead.stop()
      same(dead.heard, ['m0', 'm1'])
    },
  },
  {
    feature: 'timer',
    name: 'a message comes after a delay in milliseconds and not before',
    async run({ agent, nameserver }) {
      const topic = fresh('timed')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      must(await consumer.has(1, 15_000), () => 'not heard')
      const at = Date.now()
      const messages = [{ body: base64('timed'), delayMs: 1_500 }]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages }))
      must(await consumer.has(2, 8_000), () => `heard ${consumer.heard.length} of 2`)
      await consumer.stop()
      const took = Date.now() - at
      must(took >= 1_400 && took < 5_000, () => `came after ${took} ms`)
    },
  },
  {
    feature: 'litePull',
    name: 'a lite pull consumer polls every message once',
    async run({ agent, nameserver }) {
      const topic = fresh('pulled')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(50) }))
      const fields = { nameserver, group: fresh('CG'), topic, count: 50, ms: 20_000 }
      const got = await agent.results<string>('pull', fields)
      sameTexts(
        got,
        Array.from({ length: 50 }, (_, n) => `m${n}`),
      )
    },
  },
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
      must(await consumer.has(4, 40_000), () => `heard ${consumer.heard.length} of 4`)
      await consumer.stop()
      same(
        consumer.heard.filter(({ reconsumeTimes }) => reconsumeTimes === 1),
        ['m0', 'm1'],
      )
    },
  },
  {
    feature: 'transaction',
    name: 'of transactions those that are committed arrive, at once or when asked about',
    async run({ agent, nameserver }) {
      const [topic, group] = [fresh('transacted'), fresh('TG')]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      const said = (body: string, then: string, checked?: string) => ({
        ...{ body: base64(body), then, checked },
        properties: { CHECK_IMMUNITY_TIME_IN_SECONDS: '1' },
      })
      const messages = [
        said('committed', 'commit'),
        said('undone', 'rollback'),
        said('late', 'unknown', 'commit'),
        said('lateUndone', 'unknown', 'rollback'),
      ]
      const sent = await agent.results<{ status?: string }>('transact', { nameserver, group, topic, messages })
      allSent(sent)
      must(await consumer.has(3, 90_000), () => `heard ${consumer.heard.map(textOf)}`)
      const checked = async () => (await agent.results<string>('checks', { of: group })).includes('lateUndone')
      must(await until(checked, 90_000), () => 'the fourth one was never asked about')
      await pause(500)
      await consumer.stop()
      same(consumer.heard, ['warm0', 'committed', 'late'])
      const again = consumer.heard.some(({ properties }) => properties.TRAN_MSG === 'true')
      must(!again, () => 'delivered as a half message still')
    },
  },
  {
    feature: 'broadcast',
    name: 'each consumer of a broadcast group hears every message',
    async run({ agent, nameserver, mate }) {
      const [topic, group] = [fresh('broadcast'), fresh('CG')]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const fields = { nameserver, group, topic, broadcast: true }
      const one = await agent.consume({ ...fields, instance: fresh('one') })
      const other = await (await mate()).consume({ ...fields, instance: fresh('other') })
      await pause(3_000)
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(20) }))
      for (const consumer of [one, other])
        must(await consumer.has(20, 15_000), () => `heard ${one.heard.length} and ${other.heard.length} of 20`)
      await one.stop()
      await other.stop()
      for (const consumer of [one, other])
        same(
          consumer.heard.filter((heard) => !textOf(heard).startsWith('warm')),
          Array.from({ length: 20 }, (_, n) => `m${n}`),
        )
    },
  },
  {
    feature: 'request',
    name: 'a request gets its reply from whoever consumes it',
    async run({ agent, nameserver }) {
      const topic = fresh('asked')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, reply: true })
      await pause(2_000)
      for (let n = 0; n < 3; n++) {
        const fields = { nameserver, group: 'askers', topic, body: base64(`ask${n}`), timeout: 10_000 }
        const [said] = await agent.results<{ reply: string }>('request', fields)
        const text = Buffer.from(said?.reply ?? '', 'base64').toString()
        must(text === `re:ask${n}`, () => `reply ${n} is ${text}`)
      }
      await consumer.stop()
    },
  },
  {
    feature: 'sql',
    name: 'an SQL92 filter lets through what it names',
    async run({ agent, nameserver }) {
      const topic = fresh('sql')
      const messages = Array.from({ length: 20 }, (_, n) => ({ body: base64(`m${n}`), properties: { n: String(n) } }))
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages }))
      const sql = 'n BETWEEN 5 AND 8 OR n = 15'
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first', sql })
      must(await consumer.has(5, 20_000), () => `heard ${consumer.heard.length} of 5`)
      await pause(500)
      await consumer.stop()
      same(consumer.heard, ['m5', 'm6', 'm7', 'm8', 'm15'])
    },
  },
  {
    feature: 'binary',
    name: 'a client with binary headers is served like the others, also when it pops',
    async run({ another, nameserver, port }) {
      const agent = await another(['-Drocketmq.serialize.type=ROCKETMQ'])
      try {
        const topic = fresh('binary')
        allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(20) }))
        const wanted = Array.from({ length: 20 }, (_, n) => `m${n}`)
        const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
        must(await consumer.has(20, 15_000), () => `heard ${consumer.heard.length} of 20`)
        await consumer.stop()
        same(consumer.heard, wanted)
        const group = fresh('CG')
        await popping(port, topic, group)
        const popped = await agent.consume({ nameserver, group, topic, from: 'first', pop: true }).catch((error) => {
          if (String(error).includes('has no setClientRebalance')) return undefined
          throw error
        })
        if (!popped) return
        must(await popped.has(20, 15_000), () => `popped ${popped.heard.length} of 20`)
        await popped.stop()
        same(popped.heard, wanted)
      } finally {
        await agent.close()
      }
    },
  },
]
