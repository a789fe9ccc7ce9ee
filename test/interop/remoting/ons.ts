/** Speaks as Agent.java does, with the unmodified ali-ons of the folder that is named: produce, consume, stop, exit. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { createInterface } from 'node:readline'

interface OnsMessage {
  readonly topic: string
  readonly body: Buffer
  readonly tags?: string
  readonly keys?: string
  readonly properties: Record<string, string>
  readonly msgId: string
  readonly bornHost?: string
  readonly reconsumeTimes: number
  readonly queueId: number
  readonly queueOffset: number
  readonly bornTimestamp: number
  readonly storeTimestamp: number
  delayTimeLevel: number
  shardingKey: string
}
interface OnsResult {
  readonly sendStatus: string
  readonly msgId: string
  readonly offsetMsgId?: string
  readonly messageQueue: { readonly queueId: number }
  readonly queueOffset: number
}
interface OnsClient {
  ready(): Promise<void>
  close(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}
interface OnsProducer extends OnsClient {
  send(message: OnsMessage): Promise<OnsResult>
}
interface OnsConsumer extends OnsClient {
  subscribe(topic: string, expression: unknown, handler: (message: OnsMessage) => Promise<unknown>): void
}
interface Ons {
  readonly Producer: new (options: object) => OnsProducer
  readonly Consumer: new (options: object) => OnsConsumer
  readonly Message: new (topic: string, tag: string, body: Buffer) => OnsMessage
}
interface Op {
  readonly op: string
  readonly id: string
  readonly nameserver: string
  readonly group: string
  readonly topic: string
  readonly of?: string
  readonly tag?: string
  readonly sql?: string
  readonly from?: string
  readonly fail?: number
  readonly maxTimes?: number
  readonly broadcast?: boolean
  readonly routeMs?: number
  readonly mode?: string
  readonly messages?: readonly {
    readonly body: string
    readonly tag?: string
    readonly keys?: string
    readonly properties?: Readonly<Record<string, string>>
    readonly delayLevel?: number
  }[]
}

const folder = process.argv[2] as string
const { Producer, Consumer, Message } = createRequire(path.join(folder, 'package.json'))('ali-ons') as Ons
const quiet = { info() {}, debug() {}, warn() {}, error: (...words: unknown[]) => console.error(...words) }
const httpclient = { request: () => Promise.reject(new Error('no address server here')) }

const producers = new Map<string, Promise<OnsProducer>>()
const consumers = new Map<string, OnsConsumer>()

const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)
const failed = (error: unknown): object => ({
  error: error instanceof Error ? error.name : 'Error',
  message: error instanceof Error ? error.message : String(error),
})

const producerOf = ({ nameserver, group }: Op): Promise<OnsProducer> => {
  const key = `${nameserver} ${group}`
  let producer = producers.get(key)
  if (!producer) {
    producer = (async () => {
      const made = new Producer({ httpclient, logger: quiet, nameSrv: nameserver, producerGroup: group })
      made.on('error', (error) => console.error(error))
      await made.ready()
      return made
    })()
    producers.set(key, producer)
  }
  return producer
}

const send = async (producer: OnsProducer, topic: string, wanted: NonNullable<Op['messages']>[number]) => {
  try {
    const message = new Message(topic, wanted.tag ?? '', Buffer.from(wanted.body, 'base64'))
    Object.assign(message.properties, wanted.properties)
    if (wanted.keys !== undefined) message.properties.KEYS = wanted.keys
    if (wanted.delayLevel !== undefined) message.delayTimeLevel = wanted.delayLevel
    const { sendStatus, msgId, messageQueue, queueOffset } = await producer.send(message)
    const queueId = Number(messageQueue.queueId)
    return { msgId, status: sendStatus, queueId, queueOffset: Number(queueOffset) }
  } catch (error) {
    return failed(error)
  }
}

const timed = async (run: () => Promise<object>): Promise<object> => {
  const began = performance.now()
  const result = await run()
  return { ...result, took: Math.round(performance.now() - began) }
}

const produce = async (op: Op): Promise<void> => {
  const producer = await producerOf(op)
  const results: object[] = []
  const messages = op.messages ?? []
  if (op.mode === 'async') results.push(...(await Promise.all(messages.map((one) => send(producer, op.topic, one)))))
  else for (const one of messages) results.push(await timed(() => send(producer, op.topic, one)))
  say({ id: op.id, results })
}

const consume = async (op: Op): Promise<void> => {
  const { id, nameserver, group, topic, fail = 0 } = op
  const consumer = new Consumer({
    ...{ httpclient, logger: quiet, nameSrv: nameserver, consumerGroup: group },
    consumeFromWhere: op.from === 'first' ? 'CONSUME_FROM_FIRST_OFFSET' : 'CONSUME_FROM_LAST_OFFSET',
    isBroadcast: op.broadcast === true,
    ...(op.routeMs !== undefined && { pollNameServerInteval: op.routeMs }),
    ...(op.maxTimes !== undefined && { maxReconsumeTimes: op.maxTimes }),
  })
  consumer.on('error', (error) => console.error(error))
  await consumer.ready()
  const expression = op.sql === undefined ? (op.tag ?? '*') : { expressionType: 'SQL92', subString: op.sql }
  consumer.subscribe(topic, expression, async (message) => {
    const {
      tags: tag,
      keys,
      properties,
      msgId,
      bornHost,
      reconsumeTimes,
      queueId,
      queueOffset,
      storeTimestamp,
    } = message
    const told = { topic: message.topic, body: message.body.toString('base64'), tag, keys, properties, msgId }
    const where = { bornHost, reconsumeTimes, queueId, queueOffset: Number(queueOffset), storeTimestamp }
    say({ id, message: { ...told, ...where } })
    // Its own handler of retries passes an error on and forgets what was returned: ACTION_RETRY works once a message.
    if (reconsumeTimes < fail) throw new Error('not this time')
  })
  consumers.set(id, consumer)
  say({ id, started: true })
}

const run = async (op: Op): Promise<void> => {
  try {
    if (op.op === 'produce') await produce(op)
    else if (op.op === 'consume') await consume(op)
    else if (op.op === 'stop') {
      const consumer = consumers.get(op.of ?? '')
      consumers.delete(op.of ?? '')
      await consumer?.close()
      say({ id: op.id, stopped: consumer !== undefined })
    } else throw new Error(`no operation ${op.op}`)
  } catch (error) {
    say({ id: op.id, ...failed(error) })
  }
}

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const op = JSON.parse(line) as Op
  if (op.op === 'exit') process.exit(0)
  void run(op)
})
lines.on('close', () => process.exit(0))
