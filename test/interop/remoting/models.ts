import type { Listening } from './agent.ts'
import {
  allSent,
  type Behaviour,
  base64,
  fresh,
  isWarm,
  late,
  must,
  numbered,
  pause,
  REBALANCED_MS,
  same,
  sameTexts,
  textOf,
  until,
  warmUp,
} from './common.ts'
import { popping } from './popping.ts'

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
      must(await consumer.has(4, REBALANCED_MS), () => `heard ${consumer.heard.length} of 4`)
      await pause(500)
      await consumer.stop()
      const dead = await agent.consume({ nameserver, group: fresh('CG'), topic: `%DLQ%${group}`, from: 'first' })
      must(await dead.has(2, REBALANCED_MS), () => `heard ${dead.heard.length} of 2 dead letters`)
      await dead.stop()
      same(dead.heard, ['m0', 'm1'])
    },
  },
  {
    feature: 'timer',
    name: 'a message comes after a delay in milliseconds and not before',
    async run(bench) {
      await late(bench, { delayMs: 1_500 }, 1_500)
    },
  },
  {
    feature: 'litePull',
    name: 'a lite pull consumer polls every message once',
    async run({ agent, nameserver }) {
      const topic = fresh('pulled')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(50) }))
      const fields = { nameserver, group: fresh('CG'), topic, count: 50, ms: REBALANCED_MS }
      const got = await agent.results<string>('pull', fields)
      sameTexts(
        got,
        Array.from({ length: 50 }, (_, n) => `m${n}`),
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
    async run(bench) {
      const { agent, nameserver, mate } = bench
      const [topic, group] = [fresh('broadcast'), fresh('CG')]
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const fields = { nameserver, group, topic, broadcast: true }
      const one = await agent.consume({ ...fields, instance: fresh('one') })
      const other = await (await mate()).consume({ ...fields, instance: fresh('other') })
      await warmUp(bench, topic, [one, other])
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(20) }))
      const news = ({ heard }: Listening) => heard.filter((message) => !isWarm(message))
      await until(() => [one, other].every((consumer) => news(consumer).length >= 20), REBALANCED_MS)
      await one.stop()
      await other.stop()
      for (const consumer of [one, other])
        same(
          news(consumer),
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
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first', reply: true })
      for (let n = 0; n < 3; n++) {
        const fields = { nameserver, group: 'askers', topic, body: base64(`ask${n}`), timeout: REBALANCED_MS }
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
      must(await consumer.has(5, REBALANCED_MS), () => `heard ${consumer.heard.length} of 5`)
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
        must(await consumer.has(20, REBALANCED_MS), () => `heard ${consumer.heard.length} of 20`)
        await consumer.stop()
        same(consumer.heard, wanted)
        const group = fresh('CG')
        await popping(port, topic, group)
        const popped = await agent.consume({ nameserver, group, topic, from: 'first', pop: true }).catch((error) => {
          if (String(error).includes('has no setClientRebalance')) return undefined
          throw error
        })
        if (!popped) return
        must(await popped.has(20, REBALANCED_MS), () => `popped ${popped.heard.length} of 20`)
        await popped.stop()
        same(popped.heard, wanted)
      } finally {
        await agent.close()
      }
    },
  },
]
