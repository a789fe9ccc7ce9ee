import { Fault, type Notice } from '@sluice/core'
import {
  editProperties,
  type Frame,
  formatHost,
  offsetMsgId,
  PropertyView,
  request,
  response,
  system,
} from '@sluice/remoting'
import { recordWith } from './records.ts'
import { BROKER } from './routes.ts'

/** A request of ours: `answered` where the client's answer is waited for. */
export interface Told extends Pick<Frame, 'code' | 'ext' | 'body'> {
  readonly answered?: true
}

export interface Listener {
  /** Address of records that are made here. */
  readonly store: Buffer
  readonly language: string
  readonly client: string
  /** A group that it consumes in; a client that does not is asked in its own name. */
  readonly group: string | undefined
}

type Of<K extends Notice['kind']> = Extract<Notice, { kind: K }>

/**
 * What a client is told or asked of its own accord: 39 decide a transaction, 40 rebalance, 220 go on elsewhere, 307 how
 * are you, 309 consume this one.
 * @returns 'end' where the connection is over, undefined where there is nothing to say
 * @throws Fault 'unsupported' for what this wire has no word for
 */
export const toNotice = (notice: Notice, to: Listener): Told | 'end' | undefined => {
  switch (notice.kind) {
    case 'rebalance':
      return { code: request.notifyConsumerIdsChanged, ext: { consumerGroup: notice.group } }
    case 'checkTransaction':
      return check(notice, to)
    case 'resetOffset':
      return reset(notice, to)
    case 'probe':
      return probe(notice, to)
    case 'goAway':
      // Only the inbox of its replies was taken over, by a newer connection of the same client.
      return notice.reason === 'takenOver' ? undefined : 'end'
    default:
      throw new Fault('unsupported', `remoting clients are not told of ${notice.kind}`)
  }
}

/** CHECK_TRANSACTION_STATE (39). A client finds its checker by the group among the properties. */
const check = ({ half, message }: Of<'checkTransaction'>, { store }: Listener): Told => {
  const ext = {
    topic: half.topic,
    tranStateTableOffset: String(half.offset),
    commitLogOffset: String(half.place),
    msgId: half.id,
    transactionId: half.id,
    offsetMsgId: offsetMsgId(store, half.place),
    bname: BROKER,
  }
  const { record, packed } = message
  const grouped = packed && new PropertyView(packed).get(system.producerGroup) !== undefined
  if (record && grouped && message.topic === half.topic)
    return { code: request.checkTransactionState, ext, body: record }
  const properties = editProperties(packed ?? Buffer.alloc(0), new Set(), { [system.producerGroup]: half.group })
  const anew = { ...viewOf(message), topic: half.topic, packed: properties }
  return {
    code: request.checkTransactionState,
    ext,
    body: recordWith({ message: anew, attempt: 1 }, message.body, store),
  }
}

/** Getters of a class are not copied by a spread. */
const viewOf = (message: Of<'checkTransaction'>['message']): Of<'checkTransaction'>['message'] => {
  const { topic, body, properties, id, queue, offset, place, storedAt, bornAt, bornHost, encoding } = message
  const fixed = { topic, body, properties, id, queue, offset, place, storedAt, bornAt, bornHost }
  return { ...fixed, ...(encoding && { encoding }) }
}

/** RESET_CONSUMER_CLIENT_OFFSET (220). The table's keys are objects, which is no JSON; the C++ client takes a list. */
const reset = ({ group, topic, offsets }: Of<'resetOffset'>, { language }: Listener): Told => {
  const table =
    language === 'CPP'
      ? JSON.stringify(offsets.map(({ queue, offset }) => ({ ...keyOf(topic, queue.index), offset })))
      : objectKeyed(offsets.map(({ queue, offset }) => [topic, queue.index, offset]))
  const ext = { topic, group, timestamp: '-1', isForce: 'true' }
  return { code: request.resetConsumerClientOffset, ext, body: Buffer.from(`{"offsetTable":${table}}`) }
}

const keyOf = (topic: string, queueId: number) => ({ brokerName: BROKER, queueId, topic })

/** As RocketMQ writes a map whose keys are queues. */
export const objectKeyed = (entries: readonly (readonly [topic: string, queue: number, value: unknown])[]): string =>
  `{${entries.map(([topic, queue, value]) => `${JSON.stringify(keyOf(topic, queue))}:${JSON.stringify(value)}`).join()}}`

/** GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309). */
const probe = ({ ask }: Of<'probe'>, { client, group, store }: Listener): Told => {
  if (typeof ask === 'string') {
    const ext = { consumerGroup: group ?? '', clientId: client, jstackEnable: String(ask === 'stack') }
    return { code: request.getConsumerRunningInfo, ext, answered: true }
  }
  const { verify } = ask
  const ext = { consumerGroup: ask.group, clientId: client, msgId: verify.id, brokerName: BROKER, topic: verify.topic }
  const body = verify.record ?? recordWith({ message: verify, attempt: 1 }, verify.body, store)
  return { code: request.consumeMessageDirectly, ext, body, answered: true }
}

/** A client's answer as text, whatever it is. @throws Fault 'unavailable' with its words when it could not */
export const toAnswer = ({ code, remark, body }: Frame): string => {
  if (code !== response.success) throw new Fault('unavailable', `the client answered ${code} ${remark ?? ''}`)
  return String(body ?? '')
}

/** PUSH_REPLY_MESSAGE_TO_CLIENT (326): what a request of this client was answered with. */
export const toReply = (
  { message }: { message: Of<'checkTransaction'>['message'] },
  group: string,
  store: Buffer,
): Told => {
  const record = recordWith({ message, attempt: 1 }, message.body, store)
  const packed = message.packed ?? new PropertyView(Buffer.alloc(0)).packed
  const { correlationId } = message
  const properties =
    correlationId === undefined || packed.includes(`${CORRELATION}\x01`)
      ? packed
      : editProperties(packed, new Set(), { [CORRELATION]: correlationId })
  const ext = {
    producerGroup: group,
    topic: message.topic,
    defaultTopic: 'TBW102',
    defaultTopicQueueNums: '1',
    queueId: '0',
    sysFlag: String(record.readInt32BE(36) & ~0x30),
    bornTimestamp: String(message.bornAt),
    flag: '0',
    properties: properties.toString(),
    reconsumeTimes: '0',
    unitMode: 'false',
    bornHost: message.bornHost,
    storeHost: formatHost(store, 0, store.length === 20),
    storeTimestamp: String(message.storedAt),
  }
  return { code: request.pushReplyMessageToClient, ext, body: message.body, answered: true }
}

const CORRELATION = 'CORRELATION_ID'
