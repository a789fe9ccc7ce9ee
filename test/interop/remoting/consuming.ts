import { request } from '@sluice/remoting'
import type { Heard } from './agent.ts'
import {
  allSent,
  ask,
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
  TOLD_MS,
  textOf,
  until,
  warmUp,
} from './common.ts'

/** All of the eight came, each once, to two that each have queues and none in common. */
const areParted = (heard: readonly (readonly Heard[])[]): boolean => {
  const queues = heard.map((some) => new Set(some.map(({ queueId }) => queueId)))
  return (
    heard.flat().length === 8 &&
    queues.every(({ size }) => size > 0) &&
    new Set(heard.flat().map(textOf)).size === 8 &&
    queues.reduce((sum, { size }) => sum + size, 0) === new Set(heard.flat().map(({ queueId }) => queueId)).size
  )
}

/** Sending, and push consumers. */
export const consuming: readonly Behaviour[] = [
  {
    feature: 'sync',
    name: 'sync sends to a topic that does not exist yet, consumed from the first',
    async run({ agent, nameserver }) {
      const topic = fresh('created')
      const messages = [
        { body: base64('a'), tag: 'x', keys: 'k1 k2', properties: { color: 'red', size: '7' } },
        { body: base64('b') },
      ]
      const results = await agent.produce({ nameserver, group: 'PG', topic, messages })
      allSent(results)
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      must(await consumer.has(2, REBALANCED_MS), () => `heard ${consumer.heard.length} of 2`)
      await consumer.stop()
      const one = consumer.heard.find((heard) => textOf(heard) === 'a')
      must(one?.tag === 'x' && one.keys === 'k1 k2', () => `tag and keys are ${one?.tag} and ${one?.keys}`)
      must(one?.properties.color === 'red' && one.properties.size === '7', () => JSON.stringify(one?.properties))
      must(one?.msgId === results[0]?.msgId, () => `message id ${one?.msgId} instead of ${results[0]?.msgId}`)
      must(one?.queueId === results[0]?.queueId && one?.queueOffset === results[0]?.queueOffset, () => 'another queue')
      must(one?.bornHost.split(':')[0] === '127.0.0.1', () => `born at ${one?.bornHost}`)
    },
  },
  {
    feature: 'modes',
    name: 'async, oneway and batch sends all arrive, once',
    async run({ agent, nameserver }) {
      const topic = fresh('kinds')
      const send = (mode: string, count: number) =>
        agent.produce({ nameserver, group: 'PG', topic, mode, messages: numbered(count, mode) })
      allSent(await send('sync', 3))
      allSent(await send('async', 50))
      const batch = await send('batch', 20)
      allSent(batch)
      must(batch[0]?.offsetMsgId?.split(',').length === 20, () => `batch ids: ${batch[0]?.offsetMsgId}`)
      must((await send('oneway', 30)).length === 30, () => 'oneway')
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      must(await consumer.has(103, REBALANCED_MS), () => `heard ${consumer.heard.length} of 103`)
      await consumer.stop()
      const wanted = [
        ['sync', 3],
        ['async', 50],
        ['batch', 20],
        ['oneway', 30],
      ] as const
      same(
        consumer.heard,
        wanted.flatMap(([mode, count]) => Array.from({ length: count }, (_, n) => `${mode}${n}`)),
      )
    },
  },
  {
    feature: 'compressed',
    name: 'a large body travels compressed and arrives whole',
    async run({ agent, nameserver }) {
      const topic = fresh('large')
      const body = 'lorem ipsum '.repeat(20_000)
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: [{ body: base64(body) }] }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      must(await consumer.has(1, REBALANCED_MS), () => 'not heard')
      await consumer.stop()
      must(textOf(consumer.heard[0] as Heard) === body, () => 'another body')
    },
  },
  {
    feature: 'tags',
    name: 'a tag filter lets through what it names',
    async run({ agent, nameserver }) {
      const topic = fresh('tags')
      const messages = Array.from({ length: 30 }, (_, n) => ({ body: base64(`m${n}`), tag: ['a', 'b', 'c'][n % 3] }))
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first', tag: 'a || c' })
      must(await consumer.has(20, REBALANCED_MS), () => `heard ${consumer.heard.length} of 20`)
      await consumer.stop()
      same(
        consumer.heard,
        Array.from({ length: 30 }, (_, n) => n).flatMap((n) => (n % 3 === 1 ? [] : `m${n}`)),
      )
    },
  },
  {
    feature: 'thousand',
    name: 'of 1,000 messages none is lost and none comes twice',
    async run({ agent, nameserver }) {
      const topic = fresh('thousand')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1) }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      const messages = numbered(1_000).slice(1)
      allSent(await agent.produce({ nameserver, group: 'PG', topic, mode: 'async', messages }))
      must(await consumer.has(1_000, REBALANCED_MS), () => `heard ${consumer.heard.length} of 1000`)
      await consumer.stop()
      same(
        consumer.heard,
        Array.from({ length: 1_000 }, (_, n) => `m${n}`),
      )
    },
  },
  {
    feature: 'return',
    name: 'a consumer that comes back goes on where it was, and has left its group in between',
    async run({ agent, nameserver, port }) {
      const topic = fresh('restart')
      const group = fresh('CG')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(40, 'before') }))
      const first = await agent.consume({ nameserver, group, topic, from: 'first' })
      must(await first.has(40, REBALANCED_MS), () => `heard ${first.heard.length} of 40`)
      const members = () => ask(port, request.getConsumerListByGroup, { consumerGroup: group })
      must((await members()).code === 0, () => 'the group has no member while it consumes')
      await first.stop()
      const left = async () => (await members()).code === 1
      must(await until(left, 20_000), () => 'the group still has members after its consumer has stopped')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(10, 'after') }))
      const second = await agent.consume({ nameserver, group, topic, from: 'first' })
      must(await second.has(10, REBALANCED_MS), () => `heard ${second.heard.length} of 10`)
      await second.stop()
      same(
        second.heard,
        Array.from({ length: 10 }, (_, n) => `after${n}`),
      )
    },
  },
  {
    feature: 'idle',
    name: 'an idle consumer hears a message within a second, each of five times',
    async run(bench) {
      const { agent, nameserver, full } = bench
      const topic = fresh('idle')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      await warmUp(bench, topic, [consumer])
      const before = consumer.heard.length
      for (let n = 0; n < 5; n++) {
        await pause(700)
        allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: [{ body: base64(`late${n}`) }] }))
        const inTime = await consumer.has(before + n + 1, full ? 1_000 : TOLD_MS)
        must(inTime, () => `message ${n} was not heard in time`)
      }
      await consumer.stop()
    },
  },
  {
    feature: 'share',
    name: 'two consumers of a group share its queues; when one leaves the other takes over',
    async run(bench) {
      const { agent, nameserver, mate } = bench
      const topic = fresh('shared')
      const group = fresh('CG')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const one = await agent.consume({ nameserver, group, topic, from: 'first' })
      await warmUp(bench, topic, [one])
      const other = await (await mate()).consume({ nameserver, group, topic, from: 'first' })
      await warmUp(bench, topic, [one, other], areParted)
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(40) }))
      const heard = () => [...one.heard, ...other.heard].filter((message) => !isWarm(message))
      await until(() => heard().length >= 40, REBALANCED_MS)
      same(
        heard(),
        Array.from({ length: 40 }, (_, n) => `m${n}`),
      )
      const queues = (messages: readonly Heard[]) =>
        new Set(messages.filter((message) => !isWarm(message)).map(({ queueId }) => queueId))
      const [mine, its] = [queues(one.heard), queues(other.heard)]
      must(mine.size > 0 && its.size > 0, () => `queues ${[...mine]} and ${[...its]}`)
      must(![...mine].some((queue) => its.has(queue)), () => `both had ${[...mine]} and ${[...its]}`)
      await one.stop()
      const before = other.heard.length
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(8, 'alone') }))
      must(await other.has(before + 8, REBALANCED_MS), () => `heard ${other.heard.length - before} of 8 alone`)
      await other.stop()
    },
  },
  {
    feature: 'early',
    name: 'a consumer from the last offset that came before its topic misses none of its messages',
    async run({ agent, nameserver }) {
      const topic = fresh('early')
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'last', routeMs: 1_000 })
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(20) }))
      must(await consumer.has(20, REBALANCED_MS), () => `heard ${consumer.heard.length} of 20`)
      await consumer.stop()
      same(
        consumer.heard,
        Array.from({ length: 20 }, (_, n) => `m${n}`),
      )
    },
  },
  {
    feature: 'delay',
    name: 'a delayed message comes after its delay and not before',
    async run(bench) {
      await late(bench, { delayLevel: 1 }, 1_000)
    },
  },
  {
    feature: 'ordered',
    name: 'an ordered consumer hears each shard in the order it was sent',
    async run({ agent, nameserver }) {
      const topic = fresh('ordered')
      const messages = Array.from({ length: 60 }, (_, n) => ({ body: base64(`${n % 3}:${n}`), shard: `s${n % 3}` }))
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first', order: true })
      must(await consumer.has(60, REBALANCED_MS), () => `heard ${consumer.heard.length} of 60`)
      await consumer.stop()
      for (const shard of ['0', '1', '2']) {
        const order = consumer.heard
          .map(textOf)
          .filter((text) => text.startsWith(shard))
          .map((text) => Number(text.slice(2)))
        must(
          order.every((n, at) => at === 0 || n > (order[at - 1] as number)),
          () => `shard ${shard}: ${order}`,
        )
      }
    },
  },
  {
    feature: 'retry',
    name: 'a message that is answered "later" comes again, one attempt further, and no other does',
    async run({ agent, nameserver }) {
      const topic = fresh('retried')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(3) }))
      const consumer = await agent.consume({
        nameserver,
        group: fresh('CG'),
        topic,
        from: 'first',
        fail: 1,
        delayLevel: 1,
      })
      must(await consumer.has(6, REBALANCED_MS), () => `heard ${consumer.heard.length} of 6`)
      await consumer.stop()
      const again = consumer.heard.filter(({ reconsumeTimes }) => reconsumeTimes === 1)
      same(again, ['m0', 'm1', 'm2'])
      must(
        again.every((heard) => heard.topic === topic),
        () => `topics ${again.map((heard) => heard.topic)}`,
      )
    },
  },
]
