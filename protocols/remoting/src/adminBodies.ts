import {
  Fault,
  type GroupInfo,
  type GroupSpec,
  type Member,
  type Ms,
  type TopicSpec,
  type TopicType,
} from '@sluice/core'
import { type Ext, integer, list } from './fields.ts'

/** What administrators read and write of topics and groups. Source: apache/rocketmq TopicConfig.java, SubscriptionGroupConfig.java */

const TYPE = 'message.type'
const types: readonly TopicType[] = ['normal', 'fifo', 'delay', 'transaction', 'priority', 'lite', 'mixed']

const typeOf = (said: string): TopicType => {
  const type = types.find((one) => one === said.toLowerCase())
  if (!type) throw new Fault('invalid', `field attributes names no type of messages: ${said.slice(0, 32)}`)
  return type
}

/**
 * UPDATE_AND_CREATE_TOPIC (17): attributes = +name=value,+name=value
 * @throws Fault 'malformed', 'invalid'
 */
export const topicSpecOf = (ext: Ext, topic: string): TopicSpec => {
  const read = integer(ext, 'readQueueNums')
  const write = integer(ext, 'writeQueueNums')
  if (read < 1 || write < 1) throw new Fault('invalid', 'field readQueueNums or writeQueueNums is below 1')
  const attributes: [string, string][] = []
  for (const one of (ext.attributes ?? '').split(',')) {
    const [name = '', value] = one.trim().replace(/^\+/, '').split('=')
    if (value !== undefined) attributes.push([name, value])
  }
  const type = attributes.find(([name]) => name === TYPE)?.[1]
  const others = attributes.filter(([name]) => name !== TYPE)
  return {
    topic,
    queues: Math.max(read, write),
    type: type === undefined ? 'mixed' : typeOf(type),
    ...(others.length > 0 && { attributes: Object.fromEntries(others) }),
  }
}

export const topicConfigOf = ({ topic, queues, type, attributes }: TopicSpec): object => ({
  topicName: topic,
  readQueueNums: queues,
  writeQueueNums: queues,
  perm: 6,
  topicFilterType: 'SINGLE_TAG',
  topicSysFlag: 0,
  order: false,
  attributes: { ...attributes, [TYPE]: type.toUpperCase() },
})

/** A customised policy's list counts from the second step of a level that no retry has. */
const SKIPPED = 2

/** The body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200). @throws Fault 'malformed', 'unsupported' */
export const groupSpecOf = (data: Readonly<Record<string, unknown>>, group: string, before: GroupInfo): GroupSpec => {
  if (data.consumeEnable === false)
    throw new Fault('unsupported', 'field consumeEnable: a group cannot be switched off')
  const { progress: _, ...spec } = before
  const retries = data.retryMaxTimes
  if (retries !== undefined && (typeof retries !== 'number' || !Number.isSafeInteger(retries)))
    throw new Fault('malformed', 'field retryMaxTimes is no integer')
  return {
    ...spec,
    group,
    fifo: data.consumeMessageOrderly === true,
    maxAttempts: typeof retries === 'number' && retries >= 0 ? retries + 1 : spec.maxAttempts,
    backoff: backoffOf(data.groupRetryPolicy) ?? spec.backoff,
  }
}

const backoffOf = (said: unknown): GroupSpec['backoff'] | undefined => {
  const [policy] = list([said])
  if (policy?.type === 'EXPONENTIAL') {
    const [{ initial, max, multiplier } = {}] = list([policy.exponentialRetryPolicy])
    if ([initial, max, multiplier].every(isSpan))
      return { initial: initial as Ms, max: max as Ms, times: multiplier as number }
    throw new Fault('malformed', 'field exponentialRetryPolicy lacks initial, max or multiplier')
  }
  if (policy?.type !== 'CUSTOMIZED') return undefined
  const [{ next } = {}] = list([policy.customizedRetryPolicy])
  if (!Array.isArray(next)) return undefined
  if (next.length === 0 || !next.every(isSpan)) throw new Fault('malformed', 'field next is no list of times')
  return next.length > SKIPPED ? next.slice(SKIPPED) : [next.at(-1) as Ms]
}

const isSpan = (value: unknown): value is number => typeof value === 'number' && value > 0

export const groupConfigOf = ({ group, fifo, maxAttempts, backoff }: GroupSpec): object => ({
  groupName: group,
  consumeEnable: true,
  consumeFromMinEnable: true,
  consumeBroadcastEnable: true,
  consumeMessageOrderly: fifo,
  retryQueueNums: 1,
  retryMaxTimes: maxAttempts - 1,
  groupRetryPolicy: policyOf(backoff),
  brokerId: 0,
  whichBrokerWhenConsumeSlowly: 0,
  notifyConsumerIdsChangedEnable: true,
  groupSysFlag: 0,
  consumeTimeoutMinute: 15,
  subscriptionDataSet: null,
  attributes: {},
})

const policyOf = (backoff: GroupSpec['backoff']): object => {
  if (!('initial' in backoff)) {
    const [first = 1] = backoff
    return { type: 'CUSTOMIZED', customizedRetryPolicy: { next: [first, first, ...backoff] } }
  }
  const { initial, max, times } = backoff
  return { type: 'EXPONENTIAL', exponentialRetryPolicy: { initial, max, multiplier: times } }
}

export const connectionOf = ({ client, address, language, version }: Member): object => ({
  clientId: client,
  clientAddr: address,
  language: known.has(language.toUpperCase()) ? language.toUpperCase() : 'OTHER',
  version,
})

/** A client reads the language as one of its own list, and fails on any other. */
const known: ReadonlySet<string> = new Set(
  'JAVA CPP DOTNET PYTHON DELPHI ERLANG RUBY OTHER HTTP GO PHP OMS RUST NODE_JS'.split(' '),
)
const consumeTypes = { pull: 'CONSUME_ACTIVELY', push: 'CONSUME_PASSIVELY', pop: 'CONSUME_POP' } as const

type Consumes = Member['member']['consumes'][number]

/** What GET_CONSUMER_CONNECTION_LIST (203) says of a group beside its connections: as its last member has it. */
export const consumptionOf = ({ mode, model, from, topics }: Consumes): object => ({
  consumeType: consumeTypes[mode],
  messageModel: model === 'broadcast' ? 'BROADCASTING' : 'CLUSTERING',
  consumeFromWhere: from === 'min' ? 'CONSUME_FROM_FIRST_OFFSET' : 'CONSUME_FROM_LAST_OFFSET',
  subscriptionTable: Object.fromEntries(topics.map((one) => [one.topic, subscriptionDataOf(one)])),
})

export const subscriptionDataOf = ({ topic, filter, version }: Consumes['topics'][number]): object => {
  const expression = filter?.expression ?? '*'
  const tags = filter?.kind === 'sql92' || expression === '*' ? [] : expression.split('||').map((tag) => tag.trim())
  return {
    topic,
    subString: expression,
    tagsSet: tags,
    codeSet: tags.map(hashOf),
    subVersion: version,
    expressionType: filter?.kind === 'sql92' ? 'SQL92' : 'TAG',
    classFilterMode: false,
  }
}

/** Java's String.hashCode() */
const hashOf = (text: string): number => {
  let hash = 0
  for (let at = 0; at < text.length; at++) hash = (Math.imul(31, hash) + text.charCodeAt(at)) | 0
  return hash
}
