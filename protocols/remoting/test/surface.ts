import { Fault, type Notice } from '@sluice/core'
import { type Frame, request, response, splitRecords, viewRecord } from '@sluice/remoting'
import type { FakeGateway } from '@sluice/testkit'
import { expect } from 'vitest'
import { type As, consumer, heartbeatBody, popFields, pullFields, type RemotingClient, sendFields } from './client.ts'

type Fields = Readonly<Record<string, string | number>>

/** A client of its own gateway: topic `T` with two queues, one message `m0` in queue 0, and it consumes in `G`. */
export interface Bench {
  readonly gateway: FakeGateway
  readonly client: RemotingClient
  readonly as: As
  /** Of the message: its place, and where it was popped. */
  readonly place: number
  readonly popped: string
}

/** One request as clients send it. What is listed here is what docs/remoting.md says is served. */
export interface Served {
  readonly code: number
  readonly name: string
  /** For the page. */
  readonly does: string
  /** Fields that stand in every such request. */
  readonly ext?: Fields | ((bench: Bench) => Fields)
  readonly body?: Buffer | object
  prepare?(bench: Bench): unknown
  /** Default: 0. */
  readonly answers?: number
  check?(answer: Frame, bench: Bench): unknown
}

/** What is sent to clients. */
export interface Pushed {
  readonly code: number
  readonly name: string
  readonly does: string
  push(bench: Bench): Promise<unknown>
  check?(told: Frame, bench: Bench): unknown
}

const json = ({ body }: Frame): unknown => JSON.parse(String(body))
const texts = ({ body }: Frame) => (body ? splitRecords(body).map((record) => String(viewRecord(record, '').body)) : [])
const lastOf = (bench: Bench, kind: 'admin') => bench.gateway.of(kind).at(-1)?.action
const place = { topic: 'T', queueId: 0 }
const receipt = ({ popped }: Bench) => ({
  consumerGroup: 'G',
  topic: 'T',
  queueId: 0,
  offset: 0,
  extraInfo: popped,
})
const long = {
  producerGroup: 'PG',
  topic: 'T',
  defaultTopic: 'TBW102',
  defaultTopicQueueNums: 4,
  queueId: 0,
  sysFlag: 0,
  bornTimestamp: 1_700_000_000_000,
  flag: 0,
  properties: '',
}
const batch = (() => {
  const entry = Buffer.alloc(23)
  entry.writeInt32BE(23, 0)
  entry.writeInt32BE(1, 16)
  entry.write('b', 20)
  return Buffer.concat([entry, entry])
})()
const queues = { consumerGroup: 'G', clientId: 'c1', mqSet: [{ topic: 'T', brokerName: 'sluice', queueId: 0 }] }
const sent = (body: Buffer = Buffer.from('x')) => body
const reply = 'UNIQ_KEY\x01R\x02MSG_TYPE\x01reply\x02CORRELATION_ID\x017\x02REPLY_TO_CLIENT\x01c1\x02'
const openInbox = ({ client }: Bench) =>
  client.send('T', 'ask', { i: 'UNIQ_KEY\x01Q\x02CORRELATION_ID\x017\x02REPLY_TO_CLIENT\x01c1\x02' })

const clients: readonly Served[] = [
  {
    code: 10,
    name: 'SEND_MESSAGE',
    does: 'answered once the message is stored; oneway never',
    ext: long,
    body: sent(),
  },
  { code: 310, name: 'SEND_MESSAGE_V2', does: 'the same with short names', ext: sendFields('T'), body: sent() },
  {
    code: 320,
    name: 'SEND_BATCH_MESSAGE',
    does: 'one write; refused as a whole',
    ext: sendFields('T', { m: 'true' }),
    body: batch,
    check: (answer) => expect(answer.ext.msgId?.split(',')).toHaveLength(2),
  },
  {
    code: 324,
    name: 'SEND_REPLY_MESSAGE',
    does: 'to the client that asked, wherever it is connected',
    prepare: openInbox,
    ext: { ...long, topic: 'sluice_REPLY_TOPIC', properties: reply },
    body: sent(),
  },
  {
    code: 325,
    name: 'SEND_REPLY_MESSAGE_V2',
    does: 'the same with short names',
    prepare: openInbox,
    ext: sendFields('sluice_REPLY_TOPIC', { i: reply }),
    body: sent(),
  },
  {
    code: 11,
    name: 'PULL_MESSAGE',
    does: 'see below',
    ext: pullFields('T', 'G'),
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  {
    code: 361,
    name: 'LITE_PULL_MESSAGE',
    does: 'the same',
    ext: pullFields('T', 'G'),
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  {
    code: 12,
    name: 'QUERY_MESSAGE',
    does: 'by key, or by unique id; 22 where there is none',
    ext: {
      topic: 'T',
      key: 'K0',
      maxNum: 32,
      beginTimestamp: 0,
      endTimestamp: 9_000_000_000_000,
      _UNIQUE_KEY_QUERY: 'true',
    },
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  {
    code: 14,
    name: 'QUERY_CONSUMER_OFFSET',
    does: '22 where the group has none, with one exception below',
    ext: { consumerGroup: 'G', ...place, setZeroIfNotFound: 'false' },
    answers: response.queryNotFound,
  },
  { code: 15, name: 'UPDATE_CONSUMER_OFFSET', does: '', ext: { consumerGroup: 'G', ...place, commitOffset: 1 } },
  {
    code: 29,
    name: 'SEARCH_OFFSET_BY_TIMESTAMP',
    does: 'also with `Topic` and `QueueId`, as the Go client writes them',
    ext: { ...place, timestamp: 1 },
    check: (answer) => expect(answer.ext.offset).toBe('0'),
  },
  { code: 30, name: 'GET_MAX_OFFSET', does: '', ext: place, check: ({ ext }) => expect(ext.offset).toBe('1') },
  { code: 31, name: 'GET_MIN_OFFSET', does: '', ext: place, check: ({ ext }) => expect(ext.offset).toBe('0') },
  { code: 32, name: 'GET_EARLIEST_MSG_STORETIME', does: '', ext: place },
  {
    code: 33,
    name: 'VIEW_MESSAGE_BY_ID',
    does: 'by its place',
    ext: ({ place: offset }) => ({ offset, topic: 'T' }),
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  {
    code: 34,
    name: 'HEART_BEAT',
    does: 'a membership; other members are told (40) when it changes',
    body: heartbeatBody('c1', [consumer('G', ['T'])], ['PG']),
  },
  {
    code: 35,
    name: 'UNREGISTER_CLIENT',
    does: 'leaves a group',
    ext: { clientID: 'c1', consumerGroup: 'G' },
    check: (_, { gateway }) => expect(gateway.of('leave').at(-1)?.what).toEqual({ group: 'G' }),
  },
  {
    code: 36,
    name: 'CONSUMER_SEND_MSG_BACK',
    does: 'a later try, or the dead letters; refused with 1, at which clients send it to `%RETRY%group` themselves',
    ext: ({ place: offset }) => ({ group: 'G', offset, originTopic: 'T', delayLevel: 0, maxReconsumeTimes: 16 }),
    check: (_, { gateway }) => expect(gateway.of('settle').at(-1)?.outcome.kind).toBe('retry'),
  },
  {
    code: 37,
    name: 'END_TRANSACTION',
    does: 'commit, rollback, or not known yet',
    prepare: ({ client }) =>
      client.send('T', 'half', { i: 'UNIQ_KEY\x01H\x02TRAN_MSG\x01true\x02PGROUP\x01PG\x02', f: 4 }),
    ext: { producerGroup: 'PG', tranStateTableOffset: 0, commitLogOffset: 1, commitOrRollback: 8, msgId: 'H' },
    check: (_, { gateway }) => expect(gateway.of('endTransaction')[0]).toMatchObject({ resolution: 'commit' }),
  },
  {
    code: 38,
    name: 'GET_CONSUMER_LIST_BY_GROUP',
    does: 'all members, the one that asks always among them',
    ext: { consumerGroup: 'G' },
    check: (answer) => expect(json(answer)).toEqual({ consumerIdList: ['c1'] }),
  },
  {
    code: 41,
    name: 'LOCK_BATCH_MQ',
    does: 'for ordered consumers',
    body: queues,
    check: (answer) => expect(json(answer)).toEqual({ lockOKMQSet: queues.mqSet }),
  },
  { code: 42, name: 'UNLOCK_BATCH_MQ', does: '', body: queues },
  {
    code: 46,
    name: 'CHECK_CLIENT_CONFIG',
    does: '23 for a filter that cannot be understood',
    body: { clientId: 'c1', group: 'G' },
  },
  {
    code: 370,
    name: 'RECALL_MESSAGE',
    does: 'a delayed message, by the handle of its send; 604 for a handle that is none',
    prepare: ({ gateway }) => gateway.answer('recall', ({ handle }) => ({ id: `of ${handle}` })),
    ext: { topic: 'T', recallHandle: Buffer.from('v1 T sluice 0 ID aGFuZGxl').toString('base64url') },
    check: ({ ext }) => expect(ext.msgId).toBe('of handle'),
  },
]

const pops: readonly Served[] = [
  {
    code: 400,
    name: 'QUERY_ASSIGNMENT',
    does: 'which queues to pull or pop',
    body: { topic: 'T', consumerGroup: 'G', clientId: 'c1', strategyName: 'AVG', messageModel: 'CLUSTERING' },
    check: (answer) => expect(json(answer)).toHaveProperty('messageQueueAssignments'),
  },
  {
    code: 401,
    name: 'SET_MESSAGE_REQUEST_MODE',
    does: 'whether a group pulls or pops a topic',
    body: { topic: 'T', consumerGroup: 'G', mode: 'POP', popShareQueueNum: 0 },
    check: (_, bench) => expect(lastOf(bench, 'admin')).toMatchObject({ do: 'putGroup' }),
  },
  {
    code: 200_050,
    name: 'POP_MESSAGE',
    does: 'see below',
    ext: popFields('T', 'other'),
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  { code: 200_051, name: 'ACK_MESSAGE', does: '208 where it is not held any more, or never was', ext: receipt },
  {
    code: 200_151,
    name: 'BATCH_ACK_MESSAGE',
    does: '',
    body: { acks: [{ c: 'G', t: 'T', r: '0', so: 0, q: 0, rq: 0, pt: 1_767_225_600_000, it: 60_000, b: 'AQ==' }] },
  },
  {
    code: 200_053,
    name: 'CHANGE_MESSAGE_INVISIBLETIME',
    does: 'there again after this time, one attempt further',
    ext: (bench) => ({ ...receipt(bench), invisibleTime: 10_000 }),
    check: ({ ext }) => expect(ext.invisibleTime).toBe('10000'),
  },
  {
    code: 200_052,
    name: 'PEEK_MESSAGE',
    does: 'takes nothing',
    ext: { ...place, consumerGroup: 'other', maxMsgNums: 1 },
    check: (answer) => expect(texts(answer)).toEqual(['m0']),
  },
  {
    code: 200_054,
    name: 'NOTIFICATION',
    does: 'whether there is something; takes nothing',
    ext: popFields('T', 'other'),
    check: ({ ext }) => expect(ext.hasMsg).toBe('true'),
  },
  {
    code: 200_055,
    name: 'POLLING_INFO',
    does: 'how many pops wait at this gateway',
    ext: { ...place, consumerGroup: 'G' },
    check: ({ ext }) => expect(ext.pollingNum).toBe('0'),
  },
]

const topics: readonly Served[] = [
  {
    code: 105,
    name: 'GET_ROUTEINFO_BY_TOPIC',
    does: "the name server's part",
    ext: { topic: 'T' },
    check: (answer) => expect(json(answer)).toHaveProperty('queueDatas'),
  },
  {
    code: 106,
    name: 'GET_BROKER_CLUSTER_INFO',
    does: '',
    check: (answer) => expect(json(answer)).toHaveProperty('brokerAddrTable'),
  },
  {
    code: 206,
    name: 'GET_ALL_TOPIC_LIST_FROM_NAMESERVER',
    does: '',
    check: (answer) => expect(json(answer)).toEqual({ topicList: ['T'] }),
  },
  {
    code: 224,
    name: 'GET_TOPICS_BY_CLUSTER',
    does: '',
    ext: { cluster: 'sluice' },
    check: (answer) => expect(json(answer)).toEqual({ topicList: ['T'] }),
  },
  {
    code: 101,
    name: 'GET_KV_CONFIG',
    does: '22: there are none',
    ext: { namespace: 'N', key: 'K' },
    answers: response.queryNotFound,
  },
  {
    code: 219,
    name: 'GET_KVLIST_BY_NAMESPACE',
    does: '22: there are none',
    ext: { namespace: 'N' },
    answers: response.queryNotFound,
  },
  {
    code: 17,
    name: 'UPDATE_AND_CREATE_TOPIC',
    does: 'queues and `message.type`; a number of queues never shrinks',
    ext: {
      topic: 'N',
      defaultTopic: 'TBW102',
      readQueueNums: 3,
      writeQueueNums: 3,
      perm: 6,
      topicFilterType: 'SINGLE_TAG',
      attributes: '+message.type=FIFO',
    },
    check: (_, bench) =>
      expect(lastOf(bench, 'admin')).toEqual({ do: 'putTopics', topics: [{ topic: 'N', queues: 3, type: 'fifo' }] }),
  },
  {
    code: 215,
    name: 'DELETE_TOPIC_IN_BROKER',
    does: '',
    ext: { topic: 'T' },
    check: (_, bench) => expect(lastOf(bench, 'admin')).toEqual({ do: 'deleteTopic', topic: 'T' }),
  },
  {
    code: 216,
    name: 'DELETE_TOPIC_IN_NAMESRV',
    does: 'there is one list, and it is gone from it',
    ext: { topic: 'gone' },
  },
  {
    code: 21,
    name: 'GET_ALL_TOPIC_CONFIG',
    does: '',
    check: (answer) => expect(json(answer)).toMatchObject({ topicConfigTable: { T: { readQueueNums: 2 } } }),
  },
  {
    code: 351,
    name: 'GET_TOPIC_CONFIG',
    does: '',
    ext: { topic: 'T' },
    check: (answer) => expect(json(answer)).toMatchObject({ topicName: 'T', perm: 6 }),
  },
  {
    code: 202,
    name: 'GET_TOPIC_STATS_INFO',
    does: 'first and next offset of each queue',
    ext: { topic: 'T' },
    check: ({ body }) =>
      expect(String(body)).toContain('{"brokerName":"sluice","queueId":0,"topic":"T"}:{"minOffset":0,"maxOffset":1'),
  },
  {
    code: 26,
    name: 'GET_BROKER_CONFIG',
    does: 'its names',
    check: ({ body }) => expect(String(body)).toContain('brokerName=sluice'),
  },
  {
    code: 28,
    name: 'GET_BROKER_RUNTIME_INFO',
    does: 'its version',
    check: (answer) => expect(json(answer)).toHaveProperty('table'),
  },
]

const groups: readonly Served[] = [
  {
    code: 200,
    name: 'UPDATE_AND_CREATE_SUBSCRIPTIONGROUP',
    does: 'order, attempts and back-off',
    body: {
      groupName: 'G',
      consumeMessageOrderly: true,
      retryMaxTimes: 3,
      groupRetryPolicy: { type: 'CUSTOMIZED', customizedRetryPolicy: { next: [1, 2, 3000, 4000] } },
    },
    check: (_, bench) =>
      expect(lastOf(bench, 'admin')).toMatchObject({
        spec: { group: 'G', fifo: true, maxAttempts: 4, backoff: [3000, 4000] },
      }),
  },
  {
    code: 201,
    name: 'GET_ALL_SUBSCRIPTIONGROUP_CONFIG',
    does: '',
    check: (answer) => expect(json(answer)).toHaveProperty('subscriptionGroupTable'),
  },
  {
    code: 352,
    name: 'GET_SUBSCRIPTIONGROUP_CONFIG',
    does: '',
    ext: { group: 'G' },
    check: (answer) => expect(json(answer)).toMatchObject({ groupName: 'G' }),
  },
  {
    code: 207,
    name: 'DELETE_SUBSCRIPTIONGROUP',
    does: '',
    ext: { groupName: 'G' },
    prepare: ({ gateway }) => gateway.answer('admin', () => ({})),
    check: (_, bench) => expect(lastOf(bench, 'admin')).toEqual({ do: 'deleteGroup', group: 'G' }),
  },
  {
    code: 208,
    name: 'GET_CONSUME_STATS',
    does: 'how far a group is in each queue',
    ext: { consumerGroup: 'G', topic: 'T' },
    prepare: ({ gateway }) =>
      gateway.answer('group', ({ group }) => ({
        ...{ group, fifo: false, maxAttempts: 17, backoff: [1] },
        progress: [{ queue: { topic: 'T', node: 'n', index: 0 }, committed: 1, max: 5, leased: 2 }],
      })),
    check: ({ body }) =>
      expect(String(body)).toContain(
        '"topic":"T"}:{"brokerOffset":5,"consumerOffset":1,"lastTimestamp":0,"pullOffset":3}',
      ),
  },
  {
    code: 203,
    name: 'GET_CONSUMER_CONNECTION_LIST',
    does: '206 where nobody consumes',
    ext: { consumerGroup: 'G' },
    check: (answer) =>
      expect(json(answer)).toMatchObject({ connectionSet: [{ clientId: 'c1' }], consumeType: 'CONSUME_PASSIVELY' }),
  },
  {
    code: 204,
    name: 'GET_PRODUCER_CONNECTION_LIST',
    does: '',
    ext: { producerGroup: 'PG' },
    check: (answer) => expect(json(answer)).toMatchObject({ connectionSet: [{ clientId: 'c1' }] }),
  },
  {
    code: 300,
    name: 'QUERY_TOPIC_CONSUME_BY_WHO',
    does: '',
    ext: { topic: 'T' },
    check: (answer) => expect(json(answer)).toEqual({ groupList: ['G'] }),
  },
  {
    code: 343,
    name: 'QUERY_TOPICS_BY_CONSUMER',
    does: '',
    ext: { group: 'G' },
    check: (answer) => expect(json(answer)).toHaveProperty('topicList'),
  },
  {
    code: 345,
    name: 'QUERY_SUBSCRIPTION_BY_CONSUMER',
    does: '',
    ext: { group: 'G', topic: 'T' },
    check: (answer) => expect(json(answer)).toMatchObject({ subscriptionData: { topic: 'T' } }),
  },
  {
    code: 222,
    name: 'INVOKE_BROKER_TO_RESET_OFFSET',
    does: 'its consumers are told (220)',
    ext: { topic: 'T', group: 'G', timestamp: -1, isForce: 'true' },
    prepare: ({ gateway }) =>
      gateway.answer('admin', () => ({ offsets: [{ queue: { topic: 'T', node: 'n', index: 0 }, offset: 1 }] })),
    check: ({ body }, bench) => {
      expect(lastOf(bench, 'admin')).toEqual({ do: 'resetOffset', topic: 'T', group: 'G', to: 'max' })
      expect(String(body)).toBe('{"offsetTable":{{"brokerName":"sluice","queueId":0,"topic":"T"}:1}}')
    },
  },
  {
    code: 307,
    name: 'GET_CONSUMER_RUNNING_INFO',
    does: "of a client, in that client's words",
    ext: { consumerGroup: 'G', clientId: 'c1', jstackEnable: 'true' },
    prepare: ({ gateway }) => gateway.answer('admin', () => ({ answer: '{"jstack":"here"}' })),
    check: (answer, bench) => {
      expect(json(answer)).toEqual({ jstack: 'here' })
      expect(lastOf(bench, 'admin')).toEqual({ do: 'ask', client: 'c1', notice: { kind: 'probe', ask: 'stack' } })
    },
  },
  {
    code: 309,
    name: 'CONSUME_MESSAGE_DIRECTLY',
    does: 'has a client consume one message, by its place',
    ext: ({ place: at }) => ({
      consumerGroup: 'G',
      clientId: 'c1',
      topic: 'T',
      msgId: `7F00000100001F91${at.toString(16).padStart(16, '0')}`,
    }),
    prepare: ({ gateway }) => gateway.answer('admin', () => ({ answer: '{"consumeResult":"CR_SUCCESS"}' })),
    check: (answer) => expect(json(answer)).toEqual({ consumeResult: 'CR_SUCCESS' }),
  },
]

/** By part of the page. */
export const served: Readonly<Record<string, readonly Served[]>> = {
  'Producers and consumers': clients,
  POP: pops,
  'Routes, topics, cluster': topics,
  'Groups and clients': groups,
}

const asked = (bench: Bench, body: string) => {
  const answer = (frame: Frame) => bench.client.answer(frame, Buffer.from(body))
  bench.client.asked = answer
}
const tell = (notice: Notice) => (bench: Bench) =>
  bench.gateway.notify({ group: 'G', role: 'consumes', one: true }, notice)
const stored = async ({ gateway }: Bench) => {
  const [message] = gateway.messages('T')
  if (!message) throw new Fault('notFound', 'no message')
  return message
}

export const pushed: readonly Pushed[] = [
  {
    code: 39,
    name: 'CHECK_TRANSACTION_STATE',
    does: 'decide a transaction',
    push: async (bench) => {
      const message = await stored(bench)
      const half = { node: 'n', topic: 'T', group: 'PG', id: 'ID', place: message.place, offset: 0 }
      await bench.gateway.notify(
        { group: 'PG', role: 'produces', one: true },
        { kind: 'checkTransaction', message, half },
      )
    },
    check: ({ body }) => expect(viewRecord(body as Buffer, '').property('PGROUP')).toBe('PG'),
  },
  {
    code: 40,
    name: 'NOTIFY_CONSUMER_IDS_CHANGED',
    does: 'rebalance',
    push: tell({ kind: 'rebalance', group: 'G' }),
    check: ({ ext }) => expect(ext).toEqual({ consumerGroup: 'G' }),
  },
  {
    code: 220,
    name: 'RESET_CONSUMER_CLIENT_OFFSET',
    does: 'go on elsewhere',
    push: tell({
      kind: 'resetOffset',
      group: 'G',
      topic: 'T',
      offsets: [{ queue: { topic: 'T', node: 'n', index: 0 }, offset: 9 }],
    }),
    check: ({ body }) => expect(String(body)).toContain(':9}'),
  },
  {
    code: 307,
    name: 'GET_CONSUMER_RUNNING_INFO',
    does: 'how are you',
    push: async (bench) => {
      asked(bench, '{"jstack":"mine"}')
      expect(await tell({ kind: 'probe', ask: 'stack' })(bench)).toBe('{"jstack":"mine"}')
    },
    check: ({ ext }) => expect(ext).toEqual({ consumerGroup: 'G', clientId: 'c1', jstackEnable: 'true' }),
  },
  {
    code: 309,
    name: 'CONSUME_MESSAGE_DIRECTLY',
    does: 'consume this one',
    push: async (bench) => {
      asked(bench, '{"consumeResult":"CR_SUCCESS"}')
      const verify = await stored(bench)
      const notice = { kind: 'probe', ask: { verify, group: 'G' } } as const
      expect(await tell(notice)(bench)).toBe('{"consumeResult":"CR_SUCCESS"}')
    },
    check: (told) => expect(texts(told)).toEqual(['m0']),
  },
  {
    code: 326,
    name: 'PUSH_REPLY_MESSAGE_TO_CLIENT',
    does: 'the reply to a request of this client',
    push: async (bench) => {
      asked(bench, '')
      await openInbox(bench)
      const fields = sendFields('sluice_REPLY_TOPIC', { i: reply })
      const told = new Promise((resolve) => bench.client.onAsked(resolve))
      expect((await bench.client.ask(request.sendReplyMessageV2, fields, Buffer.from('answer'))).code).toBe(0)
      await told
    },
    check: ({ ext, body }) => {
      expect(String(body)).toBe('answer')
      expect(ext).toMatchObject({ producerGroup: 'PG', properties: expect.stringContaining('CORRELATION_ID\x017') })
    },
  },
]

/** The table of docs/remoting.md. */
export const surfaceTable = (): string => {
  const rows = (list: readonly (Served | Pushed)[]) =>
    list.map(({ code, name, does }) => `| ${code} | ${name} | yes | yes | \`surface.test.ts\` | ${does} |`)
  const head = ['| code | name | JSON | binary | test | what it does |', '|---|---|---|---|---|---|']
  const parts = Object.entries(served).map(([part, list]) => [`**${part}**`, '', ...head, ...rows(list), ''].join('\n'))
  return [...parts, ['**Sent by the gateway**', '', ...head, ...rows(pushed)].join('\n')].join('\n')
}
