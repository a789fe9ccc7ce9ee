import {
  type CommandOf,
  type EpochMs,
  Fault,
  type Filter,
  type Lease,
  type Limits,
  type Message,
  type Ms,
  type Offset,
  type Outcome,
  type Queue,
} from '@sluice/core'
import {
  checkPropertyBytes,
  delayLevels,
  encodingOf,
  type Frame,
  PackedMessage,
  PROPERTIES_MAX,
  PropertyView,
  pullFlag,
  request,
} from '@sluice/remoting'
import { type Ext, either, integer, text } from './fields.ts'
import { filterOf } from './membership.ts'
import { CLUSTER } from './routes.ts'

export const RETRY = '%RETRY%'
export const DEAD = '%DLQ%'
/** The name under which clients ask what a topic of theirs would be. */
export const TEMPLATE = 'TBW102'

const TOPIC = /^[%|a-zA-Z0-9_-]+$/
const TOPIC_MAX = 127
/** Names that hold a group's name. */
const SYSTEM_TOPIC_MAX = 255
/** A client of this version or a later one means what it says by maxReconsumeTimes. */
const LIMITS_RETRIES = 121

// ── Send ──────────────────────────────────────────────────────────────────────────────────────

export interface Send {
  readonly group: string
  readonly topic: string
  /** The number of a queue; negative: any. */
  readonly queue: number
  readonly messages: readonly Message[]
  /** Of a request: the client that waits for its reply. Some make it before their first heartbeat. */
  readonly asker: string | undefined
}

export interface Arrival {
  /** `host:port` */
  readonly from: string
  readonly at: EpochMs
}

/**
 * SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320). The short names:
 *   a group · b topic · c default topic · d its queues · e queue · f system flag · g born at (ms) · h user flag ·
 *   i properties · j reconsume times · k unit mode · l most of them · m batch · n broker
 * Some clients use long names with code 320, so that `a` decides and not the code.
 * @throws Fault 'malformed', 'invalid', 'tooLarge'
 * Source: apache/rocketmq SendMessageRequestHeaderV2.java
 */
export const toSend = (frame: Frame, arrival: Arrival, limits: Pick<Limits, 'bodyBytes'>): Send => {
  const { ext } = frame
  const short = ext.a !== undefined
  const topic = topicOf(frame, short)
  const bornAt = integer(ext, short ? 'g' : 'bornTimestamp', arrival.at)
  const flag = integer(ext, short ? 'h' : 'flag', 0)
  const batch = frame.code === request.sendBatchMessage || ext[short ? 'm' : 'batch'] === 'true'
  const body = frame.body ?? empty
  if (body.length > limits.bodyBytes)
    throw new Fault('tooLarge', `a body of ${body.length} bytes; at most ${limits.bodyBytes}`, { about: 'body' })
  const said: Said = { topic, bornAt, bornHost: arrival.from, receivedAt: arrival.at }
  const properties = batch ? '' : (ext[short ? 'i' : 'properties'] ?? '')
  return {
    group: ext[short ? 'a' : 'producerGroup'] ?? '',
    topic,
    queue: integer(ext, short ? 'e' : 'queueId', -1),
    messages: batch ? splitBatch(body, said) : [toMessage(ext, short, body, properties, flag, said)],
    asker: askerOf(properties),
  }
}

const empty = Buffer.alloc(0)

/** What the messages of one send have in common. */
interface Said {
  readonly topic: string
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly receivedAt: EpochMs
}

const toMessage = (ext: Ext, short: boolean, body: Buffer, properties: string, flag: number, said: Said): Message => {
  const packed = packedOf(properties)
  const retried = said.topic.startsWith(RETRY) ? integer(ext, short ? 'j' : 'reconsumeTimes', 0) : 0
  const encoding = encodingOf(integer(ext, short ? 'f' : 'sysFlag', 0))
  return messageOf(said, body, retried > 0 ? withRetries(packed, retried) : packed, flag, encoding)
}

const messageOf = (
  { topic, bornAt, bornHost, receivedAt }: Said,
  body: Buffer,
  packed: Buffer | string,
  flag: number,
  encoding?: Message['encoding'],
): Message => {
  const message = new PackedMessage(topic, body, packed, receivedAt)
  message.bornAt = bornAt
  message.bornHost = bornHost
  message.encoding = encoding
  message.original = userFlag(flag)
  if (packed.includes(OURS)) message.sayOurs()
  return message as Message
}

/** Where this is not, none of our own properties is. */
const OURS = 'x-mq-'

const isRequest = (properties: string): boolean =>
  properties.includes('REPLY_TO_CLIENT\x01') && !properties.includes('MSG_TYPE\x01reply')

const askerOf = (properties: string): string | undefined =>
  isRequest(properties) ? new PropertyView(Buffer.from(properties)).get('REPLY_TO_CLIENT') : undefined

/** Who replies to a request looks for the cluster among its properties, where brokers put it. */
const packedOf = (properties: string): string => {
  if (properties.length > PROPERTIES_MAX) checkPropertyBytes(properties.length)
  const wellFormed = properties.isWellFormed() ? properties : properties.toWellFormed()
  if (!isRequest(properties) || properties.includes('CLUSTER\x01')) return wellFormed
  return `${closed(wellFormed)}CLUSTER\x01${CLUSTER}\x02`
}

const closed = (properties: string): string =>
  properties === '' || properties.endsWith('\x02') ? properties : `${properties}\x02`

/** How often it was tried already; a client that sends a message back itself says it here and nowhere else. */
const withRetries = (packed: string, times: number): string =>
  packed.includes('RECONSUME_TIME\x01') ? packed : `${closed(packed)}RECONSUME_TIME\x01${times}\x02`

const userFlag = (flag: number): Message['original'] => {
  if (flag === 0) return undefined
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(flag | 0)
  return { protocol: 'remoting', bytes }
}

/** The name that was found right last: producers say theirs each time. */
let rightTopic = ''

/** @throws Fault 'invalid' about 'topic' */
export const checkTopic = (topic: string): string => {
  if (topic === rightTopic) return topic
  const max = topic.startsWith(RETRY) || topic.startsWith(DEAD) ? SYSTEM_TOPIC_MAX : TOPIC_MAX
  if (topic.length > max || !TOPIC.test(topic))
    throw new Fault('invalid', `not a topic's name: ${topic.slice(0, max)}`, { about: 'topic' })
  return (rightTopic = topic)
}

const topicOf = ({ ext, version }: Frame, short: boolean): string => {
  const topic = checkTopic(text(ext, short ? 'b' : 'topic'))
  if (!topic.startsWith(RETRY) || version < LIMITS_RETRIES) return topic
  const most = integer(ext, short ? 'l' : 'maxReconsumeTimes', Number.MAX_SAFE_INTEGER)
  const times = integer(ext, short ? 'j' : 'reconsumeTimes', 0)
  return times > most ? DEAD + topic.slice(RETRY.length) : topic
}

/**
 * The body of a batch: i32 size · i32 magic · i32 CRC · i32 flag · i32 length + body · i16 length + properties, repeated.
 * Bodies and property strings are slices.
 */
const splitBatch = (bytes: Buffer, said: Said): readonly Message[] => {
  const messages: Message[] = []
  for (let from = 0; from < bytes.length; ) {
    const left = bytes.length - from
    const size = left < 22 ? -1 : bytes.readInt32BE(from)
    if (size < 22 || size > left) throw new Fault('malformed', 'a message longer than its batch')
    const flag = bytes.readInt32BE(from + 12)
    const bodyFrom = from + 20
    const bodyTo = bodyFrom + bytes.readInt32BE(from + 16)
    if (bodyTo < bodyFrom || bodyTo + 2 > from + size) throw new Fault('malformed', 'a body longer than its message')
    const end = bodyTo + 2 + bytes.readUInt16BE(bodyTo)
    if (end !== from + size) throw new Fault('malformed', 'properties that do not end with their message')
    const body = bytes.subarray(bodyFrom, bodyTo)
    const packed = bytes.subarray(bodyTo + 2, end)
    messages.push(messageOf(said, body, packed, flag))
    from = end
  }
  if (messages.length === 0) throw new Fault('malformed', 'an empty batch')
  return messages
}

// ── Pull ──────────────────────────────────────────────────────────────────────────────────────

/** Longest wait: clients give up after 30 s, and one that asks for 20 s gets its answer well before. */
export const SUSPEND_MAX: Ms = 20_000
/** Messages and bytes of one answer; one message goes whatever its size. */
const PULL_MAX = 256
const PULL_BYTES = 256 * 1024

export interface Pull {
  readonly group: string
  readonly topic: string
  readonly queue: number
  readonly offset: Offset
  readonly max: number
  readonly bytes: number
  /** 0: answer at once. */
  readonly wait: Ms
  readonly commit: Offset | undefined
  /** Undefined: what the heartbeat said. */
  readonly filter: Filter | undefined
  readonly subscribedAt: number
}

/** PULL_MESSAGE (11), LITE_PULL_MESSAGE (361). @throws Fault 'malformed' */
export const toPull = ({ ext }: Frame, limits: Pick<Limits, 'pollMs'>): Pull => {
  const flags = integer(ext, 'sysFlag')
  const commit = integer(ext, 'commitOffset', -1)
  const bytes = integer(ext, 'maxMsgBytes', PULL_BYTES)
  return {
    group: text(ext, 'consumerGroup'),
    topic: text(ext, 'topic'),
    queue: integer(ext, 'queueId'),
    offset: integer(ext, 'queueOffset'),
    max: clamp(integer(ext, 'maxMsgNums', PULL_MAX), 1, PULL_MAX),
    bytes: clamp(bytes, 1, PULL_BYTES),
    wait: flags & pullFlag.suspend ? suspendOf(ext, limits) : 0,
    commit: flags & pullFlag.commit && commit >= 0 ? commit : undefined,
    filter: flags & pullFlag.subscription ? filterOf(ext.expressionType, ext.subscription) : undefined,
    subscribedAt: integer(ext, 'subVersion', 0),
  }
}

/** Some clients say nanoseconds. */
const suspendOf = (ext: Ext, { pollMs }: Pick<Limits, 'pollMs'>): Ms =>
  clamp(integer(ext, 'suspendTimeoutMillis', 0), 0, Math.min(SUSPEND_MAX, pollMs))

const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most)

export const toRead = (pull: Pull, queue: Queue, filter: Filter | undefined): CommandOf<'read'> => ({
  kind: 'read',
  from: { by: 'offset', queue, offset: pull.offset, group: pull.group },
  max: pull.max,
  bytes: pull.bytes,
  wait: pull.wait,
  ...(filter && { filter }),
  ...(pull.commit !== undefined && { commit: pull.commit }),
})

// ── Send back ─────────────────────────────────────────────────────────────────────────────────

/**
 * CONSUMER_SEND_MSG_BACK (36): a pulled message is to come again. Only its place is known; the broker finds the rest.
 *   delayLevel 0: the group's back-off · below 0: no more tries · maxReconsumeTimes does not count the first one
 */
export const toSendBack = ({ ext, version }: Frame, node: string): CommandOf<'settle'> => {
  const level = integer(ext, 'delayLevel', 0)
  const most = version < LIMITS_RETRIES ? -1 : integer(ext, 'maxReconsumeTimes', -1)
  const receipt: Lease = {
    of: 'group',
    node,
    topic: ext.originTopic ?? '',
    group: text(ext, 'group'),
    queue: -1,
    offset: -1,
    place: integer(ext, 'offset'),
    first: -1,
    poppedAt: 0,
    invisible: 0,
    revive: 0,
    retry: 0,
    attempt: 0,
  }
  return { kind: 'settle', receipts: [receipt], outcome: backOutcome(level, most) }
}

const backOutcome = (level: number, most: number): Outcome => {
  if (level < 0) return { kind: 'dead' }
  return {
    kind: 'retry',
    counts: true,
    ...(level > 0 && { after: delayLevels[Math.min(level, delayLevels.length) - 1] as Ms }),
    ...(most >= 0 && { limit: most + 1 }),
  }
}

// ── Offsets ───────────────────────────────────────────────────────────────────────────────────

export interface Place {
  readonly topic: string
  readonly queue: number
}

/** The Go client writes `Topic` and `QueueId`. */
export const placeOf = ({ ext }: Frame): Place => ({
  topic: text(ext, either(ext, 'topic')),
  queue: integer(ext, either(ext, 'queueId')),
})
