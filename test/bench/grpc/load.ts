import protobuf from 'protobufjs'
import { descriptor } from '../../../protocols/grpc/src/descriptor.ts'
import { Latencies } from '../statistics.ts'
import { GrpcClient, prefixed } from './client.ts'

interface Options {
  readonly port: number
  readonly kind: 'send' | 'receive'
  readonly inflight: number
  readonly warmMs: number
  readonly runMs: number
  /** The server gives back what it got. */
  readonly echo: boolean
}

const { port, kind, inflight, warmMs, runMs, echo } = JSON.parse(process.argv[2] ?? '{}') as Options
const BATCH = 32
const service = '/apache.rocketmq.v2.MessagingService/'
const root = protobuf.Root.fromJSON(descriptor as protobuf.INamespace, new protobuf.Root())
const lookup = (name: string) => root.lookupType(`apache.rocketmq.v2.${name}`)
const types = {
  send: lookup('SendMessageRequest'),
  sent: lookup('SendMessageResponse'),
  receive: lookup('ReceiveMessageRequest'),
  received: lookup('ReceiveMessageResponse'),
  ack: lookup('AckMessageRequest'),
  acked: lookup('AckMessageResponse'),
}
const packed = (as: protobuf.Type, value: object): Buffer =>
  prefixed(Buffer.from(as.encode(as.fromObject(value)).finish()))

const topic = { name: 'bench' }
const group = { name: 'bench' }
const OK = 20_000
/** A broker that has no time drops what waited for 200 ms: not counted as a message. */
const BUSY = 42_900
const MESSAGE_NOT_FOUND = 40_401

const client = await GrpcClient.connect(port, {
  'x-mq-client-id': 'bench@1',
  'x-mq-language': 'JAVA',
  'x-mq-client-version': '5.2.0',
  'x-mq-protocol': 'v2',
  'x-mq-date-time': '20260101T000000Z',
  'x-mq-namespace': '',
  'grpc-timeout': '60S',
})

const from = performance.now() + warmMs
const until = from + runMs
setTimeout(() => console.log('measuring'), warmMs)
const latencies = new Latencies()
let measured = 0
let open = inflight
let refusals = 0

const count = (messages: number, sentAt: number): boolean => {
  const now = performance.now()
  if (now >= from) {
    measured += messages
    latencies.record((now - sentAt) * 1_000)
  }
  return again()
}

/** After an answer that does not count. */
const again = (): boolean => {
  if (performance.now() < until) return true
  if (--open === 0) finish()
  return false
}

const finish = (): void => {
  client.close()
  const took = (performance.now() - from) / 1_000
  console.log(
    JSON.stringify({
      messages: measured,
      perSecond: measured / took,
      p50Ms: latencies.percentile(0.5) / 1_000,
      p99Ms: latencies.percentile(0.99) / 1_000,
      ...(refusals > 0 && { busy: refusals }),
    }),
  )
}

const statusOf = (as: protobuf.Type, message: Buffer): number =>
  (as.decode(message) as unknown as { status?: { code: number } }).status?.code ?? 0

/** Requests stand ready; each has a message id of its own, as the clients give. */
const requests = Array.from({ length: 1_024 }, (_, index) =>
  packed(types.send, {
    messages: [
      {
        topic,
        body: Buffer.alloc(1_024, 'sluice '),
        system_properties: {
          message_id: `01E4B97BFAB7EC1C7C0700${index.toString(16).toUpperCase().padStart(12, '0')}`,
          message_type: 1,
          born_timestamp: { seconds: Math.floor(Date.now() / 1_000) },
          born_host: 'bench',
          queue_id: index % 4,
        },
      },
    ],
  }),
)
let next = 0

const send = (): void => {
  const sentAt = performance.now()
  client.call(`${service}SendMessage`, requests[next++ % requests.length]!, ([message]) => {
    const status = echo ? OK : statusOf(types.sent, message!)
    if (status === BUSY) refusals += performance.now() >= from ? 1 : 0
    else if (status !== OK) throw new Error(JSON.stringify(types.sent.decode(message!)))
    if (status === OK ? count(1, sentAt) : again()) send()
  })
}

interface Received {
  readonly message?: { readonly system_properties: { readonly message_id: string; readonly receipt_handle: string } }
  readonly status?: { readonly code: number; readonly message: string }
}

const polling = packed(types.receive, {
  group,
  message_queue: { topic, id: 0 },
  filter_expression: { type: 1, expression: '*' },
  batch_size: BATCH,
  invisible_duration: { seconds: 60 },
  long_polling_timeout: { seconds: 1 },
})

const receive = (): void => {
  const sentAt = performance.now()
  client.call(`${service}ReceiveMessage`, polling, (messages) => {
    const all = messages.map((message) => types.received.decode(message) as unknown as Received)
    const refused = all.find(({ status }) => status && status.code !== OK && status.code !== MESSAGE_NOT_FOUND)
    if (refused) throw new Error(JSON.stringify(refused))
    const entries = all.flatMap(({ message }) => message?.system_properties ?? [])
    if (entries.length === 0) {
      if (count(0, sentAt)) receive()
      return
    }
    client.call(`${service}AckMessage`, packed(types.ack, { group, topic, entries }), ([answer]) => {
      if (statusOf(types.acked, answer!) !== OK) throw new Error(JSON.stringify(types.acked.decode(answer!)))
      if (count(entries.length, sentAt)) receive()
    })
  })
}

/** The proxy of RocketMQ gives messages only to clients whose settings it has. */
const introduce = (): Promise<void> => {
  const expression = { type: 1, expression: '*' }
  const subscription = { group, subscriptions: [{ topic, expression }], long_polling_timeout: { seconds: 1 } }
  const settings = { client_type: 3, subscription, request_timeout: { seconds: 3 }, user_agent: { language: 1 } }
  return client.open(`${service}Telemetry`, packed(lookup('TelemetryCommand'), { settings }))
}

if (kind === 'receive') await introduce()
for (let index = 0; index < inflight; index++) (kind === 'send' ? send : receive)()
