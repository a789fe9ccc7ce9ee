import {
  allSent,
  type Behaviour,
  type Bench,
  base64,
  fresh,
  must,
  numbered,
  pause,
  REBALANCED_MS,
  same,
  sameTexts,
  textOf,
  until,
} from './common.ts'

const admin = <T>({ agent, nameserver }: Bench, what: string, fields: object = {}): Promise<readonly T[]> =>
  agent.results<T>('admin', { nameserver, do: what, ...fields })

const is = (got: unknown, wanted: unknown): void =>
  must(
    JSON.stringify(got) === JSON.stringify(wanted),
    () => `${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`,
  )

/** What an administrator does with the client's own tools. */
export const administering: readonly Behaviour[] = [
  {
    feature: 'topics',
    name: 'topics are made, listed and deleted',
    async run(bench) {
      const topic = fresh('administered')
      await admin(bench, 'topic', { topic, queues: 3 })
      is(await admin(bench, 'route', { topic }), [3])

      must((await admin<string>(bench, 'topics')).includes(topic), () => 'not in the list of topics')
      await admin(bench, 'deleteTopic', { topic })
      must(!(await admin<string>(bench, 'topics')).includes(topic), () => 'still in the list of topics')
    },
  },
  {
    feature: 'stats',
    name: "a topic's queues and the cluster are described",
    async run(bench) {
      const topic = fresh('described')
      allSent(await bench.agent.produce({ nameserver: bench.nameserver, group: 'PG', topic, messages: numbered(6) }))
      const [stats] = await admin<Record<string, number>>(bench, 'stats', { topic })
      is(
        Object.values(stats ?? {}).reduce((sum, one) => sum + one, 0),
        6,
      )
      is(await admin(bench, 'cluster'), ['sluice'])
    },
  },
  {
    feature: 'groups',
    name: 'groups are made, watched, told to begin again, and deleted',
    async run(bench) {
      const { agent, nameserver } = bench
      const [topic, group] = [fresh('watched'), fresh('CG')]
      await admin(bench, 'group', { group, retries: 3 })
      must((await admin<string>(bench, 'groups')).includes(group), () => 'not in the list of groups')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(10) }))
      const consumer = await agent.consume({ nameserver, group, topic, from: 'first' })
      must(await consumer.has(10, REBALANCED_MS), () => `heard ${consumer.heard.length} of 10`)
      is((await admin(bench, 'consumers', { group })).length, 1)
      must((await admin<string>(bench, 'who', { topic })).includes(group), () => 'not among who consumes it')
      must((await admin(bench, 'producers', { group: 'PG', topic })).length >= 1, () => 'no producer')
      const caughtUp = async () => (await admin<number>(bench, 'consumeStats', { group }))[0] === 0
      must(await until(caughtUp, REBALANCED_MS), () => 'its offsets are never told')
      await admin(bench, 'reset', { group, topic, timestamp: 1 })
      must(await consumer.has(20, REBALANCED_MS), () => `heard ${consumer.heard.length} of 20 after the reset`)
      await consumer.stop()
      await admin(bench, 'deleteGroup', { group })
      must(!(await admin<string>(bench, 'groups')).includes(group), () => 'still in the list of groups')
    },
  },
  {
    feature: 'lookup',
    name: 'messages are found by key, by unique id and by place',
    async run(bench) {
      const { agent, nameserver } = bench
      const topic = fresh('looked')
      const messages = [
        { body: base64('one'), keys: 'k1 shared' },
        { body: base64('two'), keys: 'k2 shared' },
      ]
      const sent = await agent.produce({ nameserver, group: 'PG', topic, messages })
      allSent(sent)
      sameTexts(await admin<string>(bench, 'byKey', { topic, key: 'k1' }), ['one'])
      sameTexts(await admin<string>(bench, 'byKey', { topic, key: 'shared' }), ['one', 'two'])
      is(await admin(bench, 'byId', { topic, msgId: sent[1]?.msgId }), ['two'])
      is(await admin(bench, 'byId', { topic, msgId: sent[0]?.offsetMsgId }), ['one'])
    },
  },
  {
    feature: 'probes',
    name: 'a consumer is asked how it is, and given one message to consume',
    async run(bench) {
      const { agent, nameserver } = bench
      const [topic, group] = [fresh('probed'), fresh('CG')]
      const sent = await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1) })
      allSent(sent)
      const consumer = await agent.consume({ nameserver, group, topic, from: 'first' })
      must(await consumer.has(1, REBALANCED_MS), () => 'not heard')
      const [client] = await admin<string>(bench, 'consumers', { group })
      const [subscriptions] = await admin<number>(bench, 'running', { group, client })
      must((subscriptions ?? 0) >= 1, () => `it says ${subscriptions} subscriptions`)
      is(await admin(bench, 'direct', { group, client, topic, msgId: sent[0]?.offsetMsgId }), ['CR_SUCCESS'])
      must(await consumer.has(2, 20_000), () => 'the message did not come to its listener')
      await consumer.stop()
    },
  },
  {
    feature: 'recall',
    name: 'a delayed message is recalled before its time',
    async run({ agent, nameserver }) {
      const topic = fresh('recalled')
      allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
      const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
      const messages = [
        { body: base64('never'), delayMs: 5_000 },
        { body: base64('later'), delayMs: 5_000 },
      ]
      const sent = await agent.produce({ nameserver, group: 'PG', topic, messages })
      allSent(sent)
      await agent.results('recall', { nameserver, group: 'PG', topic, handle: sent[0]?.recallHandle })
      must(await consumer.has(2, REBALANCED_MS), () => `heard ${consumer.heard.map(textOf)}`)
      await pause(2_000)
      await consumer.stop()
      same(consumer.heard, ['warm0', 'later'])
    },
  },
]
