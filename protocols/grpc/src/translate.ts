import { hash } from 'node:crypto'
import {
  type CommandOf,
  type Delivered,
  type EpochMs,
  Fault,
  type Filter,
  joinPath,
  type Limits,
  type Message,
  type Ms,
  names,
  type Receipt,
  type Seal,
  type StoredMessage,
  takeReserved,
} from '@sluice/core'
import { plainBody } from './bodies.ts'
import { checkGroup, checkMessage, checkTopic } from './rules.ts'
import {
  type EndTransactionRequest,
  exact,
  type FilterExpression,
  fromMs,
  type RecallMessageRequest,
  type ReceiveMessageRequest,
  type Resource,
  type SendMessageRequest,
  type Span,
  type SystemProperties,
  toMs,
  type WireMessage,
} from './wire.ts'

/** Proxy's defaults. */
export const BATCH_MAX = 32
const POLL_MAX: Ms = 20_000
const POLL_MIN_OF_PUSH: Ms = 5_000
/** What is left between the end of a poll and the client's deadline for the answer to travel. */
const POLL_MARGIN: Ms = 500
const INVISIBLE_MIN: Ms = 10_000
const INVISIBLE_MAX: Ms = 12 * 3_600_000
/** `auto_renew`: the client keeps its first handle for ever and expects us to renew; instead it gets this long at once. */
const AUTO_RENEWED: Ms = 15 * 60_000

// ── Sending ────────────────────────────────────────────────────────────────────────────────────

/** SendMessage. `address`: of the peer, for clients that do not name their host. @throws Fault by {@link checkMessage} */
export const toPublish = (
  request: SendMessageRequest,
  { limits, now, address }: { limits: Pick<Limits, 'bodyBytes'>; now: EpochMs; address: string },
): CommandOf<'publish'> => {
  const [first] = request.messages
  if (!first) throw new Fault('malformed', 'a request without messages', { about: 'message' })
  if (request.messages.some(({ topic }) => topic?.name !== first.topic?.name)) {
    throw new Fault('malformed', 'messages of one request go to one topic', { about: 'message' })
  }
  const topic = checkTopic(first.topic)
  const messages = request.messages.map((message) => {
    checkMessage(message, limits, now)
    return toMessage(topic, message, address)
  })
  // RocketMQ's clients of this protocol have no producer groups: they are asked about transactions by their topics.
  const half = messages.some((message) => message.half)
  return { kind: 'publish', messages, oneway: false, ...(half && { group: topic }) }
}

const toMessage = (topic: string, wire: WireMessage, address: string): Message => {
  const system = wire.system_properties ?? { keys: [] }
  const half = halfOf(system)
  if ((system.priority ?? 0) < 0) throw new Fault('invalid', 'priority is below 0', { about: 'priority' })
  const { properties, fields } = takeReserved(topic, wire.user_properties)
  return {
    ...fields,
    topic,
    body: wire.body as Buffer,
    properties,
    id: system.message_id as string,
    ...(system.tag !== undefined && { tag: system.tag }),
    ...(system.keys.length > 0 && { keys: system.keys }),
    ...(system.message_group !== undefined && { group: system.message_group }),
    ...(system.priority !== undefined && { priority: system.priority }),
    ...(system.delivery_timestamp && { deliverAt: toMs(system.delivery_timestamp, 'deliverAt') }),
    ...(system.lite_topic !== undefined && { path: system.lite_topic }),
    ...(half && { half }),
    ...(system.body_encoding === 'GZIP' && { encoding: 'gzip' as const }),
    ...(system.born_timestamp && { bornAt: toMs(system.born_timestamp, 'born timestamp') }),
    bornHost: system.born_host || address,
    ...(system.trace_context !== undefined && { traceparent: system.trace_context }),
    via: 'grpc',
  }
}

/** The only kind that a message says by its type; the others follow from its fields. @throws Fault 'invalid' about 'type' */
const halfOf = (system: SystemProperties): Message['half'] => {
  if (system.message_type !== 'TRANSACTION') return undefined
  const other = system.message_group ?? system.delivery_timestamp ?? system.priority ?? system.lite_topic
  if (other !== undefined) {
    throw new Fault('invalid', 'a transaction with a message group, delivery time, priority or lite topic', {
      about: 'type',
    })
  }
  const recovery = system.orphaned_transaction_recovery_duration
  const checkAfter = recovery ? toMs(recovery, 'recovery duration') : 0
  return checkAfter > 0 ? { checkAfter } : {}
}

/** @throws Fault 'invalid' about 'transaction': not one of ours, or not of this topic and message */
export const toEnd = (request: EndTransactionRequest, seal: Seal): CommandOf<'endTransaction'> => {
  const topic = checkTopic(request.topic)
  const half = opened(() => seal.openHalf(request.transaction_id ?? ''))
  const { message_id } = request
  if (!half || half.topic !== topic || (message_id && message_id !== half.id)) {
    throw new Fault('invalid', 'transaction_id is not of this topic and message', { about: 'transaction' })
  }
  const { resolution } = request
  return {
    kind: 'endTransaction',
    half,
    resolution: resolution === 'COMMIT' ? 'commit' : resolution === 'ROLLBACK' ? 'rollback' : 'unknown',
    byCheck: request.source === 'SOURCE_SERVER_CHECK',
  }
}

/** @throws Fault 'invalid' about 'handle': not one of ours, or not of this topic */
export const toRecall = (request: RecallMessageRequest, seal: Seal): CommandOf<'recall'> => {
  const topic = checkTopic(request.topic)
  const recall = opened(() => seal.openRecall(request.recall_handle ?? ''))
  if (recall?.topic !== topic) throw new Fault('invalid', 'recall_handle is not of this topic', { about: 'handle' })
  return { kind: 'recall', ...recall }
}

/** Undefined: not one of ours. */
const opened = <T>(open: () => T): T | undefined => {
  try {
    return open()
  } catch {
    return undefined
  }
}

export const sealed = (receipt: Receipt, seal: Seal): string =>
  receipt.of === 'group' ? seal.lease(receipt) : seal.slot(receipt)

// ── Receiving ──────────────────────────────────────────────────────────────────────────────────

/** Absent for everything. An unnamed type is taken as tags. */
export const toFilter = (expression: FilterExpression | undefined): Filter | undefined => {
  const text = expression?.expression?.trim() ?? ''
  if (expression?.type === 'SQL') return { kind: 'sql92', expression: text }
  return text === '' || text === '*' ? undefined : { kind: 'tag', expression: text }
}

export const pollMax = (limits: Pick<Limits, 'pollMs'>): Ms => Math.max(1_000, Math.min(POLL_MAX, limits.pollMs))

/** `left`: until the client's deadline; Infinity when it set none. */
export const pollOf = (
  request: Pick<ReceiveMessageRequest, 'long_polling_timeout' | 'auto_renew'>,
  left: Ms,
  requestTimeout: Ms,
  limits: Pick<Limits, 'pollMs'>,
): Ms => {
  const asked = request.long_polling_timeout ? toMs(request.long_polling_timeout, 'polling') : left - requestTimeout / 2
  if (asked < 0 && request.long_polling_timeout) {
    throw new Fault('invalid', 'polling time is below 0', { about: 'polling' })
  }
  // A push consumer that is answered at once polls again at once.
  const wanted = request.auto_renew ? Math.max(POLL_MIN_OF_PUSH, asked) : asked
  return Math.floor(Math.max(0, Math.min(wanted, pollMax(limits), left - POLL_MARGIN)))
}

/** @throws Fault 'invalid' about 'invisible' */
const invisibleOf = (request: ReceiveMessageRequest): Ms => {
  if (request.auto_renew) return AUTO_RENEWED
  return checkInvisible(request.invisible_duration, INVISIBLE_MIN)
}

/** @throws Fault 'invalid' about 'invisible' */
export const checkInvisible = (duration: Span | undefined, least: Ms): Ms => {
  const invisible = toMs(duration ?? {}, 'invisible')
  if (invisible < least || invisible > INVISIBLE_MAX) {
    throw new Fault('invalid', `invisible time is from ${least} to ${INVISIBLE_MAX} ms`, { about: 'invisible' })
  }
  return invisible
}

export interface PopHelp {
  /** Until the client's deadline; Infinity when it set none. */
  readonly left: Ms
  readonly requestTimeout: Ms
  readonly fifo: boolean
  readonly limits: Limits
  /** Of a consumer of lite topics. */
  readonly inbox?: { readonly inbox: string; readonly epoch: number } | undefined
}

/**
 * ReceiveMessage. Which queue the client names does not matter: all of a topic are polled.
 * @throws Fault 'invalid' about 'topic', 'group' or 'invisible'
 */
export const toPop = (
  request: ReceiveMessageRequest,
  { left, requestTimeout, fifo, limits, inbox }: PopHelp,
): CommandOf<'pop'> => {
  const topic = checkTopic(request.message_queue?.topic)
  const group = checkGroup(request.group)
  const filter = toFilter(request.filter_expression)
  return {
    kind: 'pop',
    source: inbox ? { kind: 'inbox', ...inbox } : { kind: 'group', topic, group, ...(filter && { filter }) },
    max: Math.max(1, Math.min(BATCH_MAX, request.batch_size ?? 0)),
    invisible: invisibleOf(request),
    wait: pollOf(request, left, requestTimeout, limits),
    fifo,
    ...(request.attempt_id && { attemptId: request.attempt_id }),
  }
}

const typeOf = (message: Message): string => {
  if (message.half) return 'TRANSACTION'
  if (message.deliverAt !== undefined) return 'DELAY'
  if (message.group !== undefined) return 'FIFO'
  return message.priority !== undefined ? 'PRIORITY' : 'NORMAL'
}

/** Fields that this wire has no place for, among the user's properties. */
const freeForm = (message: StoredMessage, lite: boolean): Readonly<Record<string, string>> => {
  const { contentType, correlationId, replyTo, expiresAt, retain } = message
  const path = lite ? undefined : message.path
  const none = path ?? contentType ?? correlationId ?? replyTo ?? expiresAt ?? retain
  if (none === undefined) return message.properties
  return {
    ...message.properties,
    ...(path !== undefined && { [names.path]: joinPath(message.topic, path) }),
    ...(contentType !== undefined && { [names.contentType]: contentType }),
    ...(correlationId !== undefined && { [names.correlationId]: correlationId }),
    ...(replyTo !== undefined && { [names.replyTo]: replyTo }),
    ...(expiresAt !== undefined && { [names.expiresAt]: String(expiresAt) }),
    ...(retain && { [names.retain]: 'true' }),
  }
}

/**
 * A delivery. Clients crash or drop the batch without a digest (upper-case MD5 of the body as it travels), an encoding,
 * a birth and an attempt from 1. `topic` as the client named it; `handle`: of what was popped; `lite`: to a consumer of
 * lite topics, whose name is the path.
 */
export const fromDelivered = (
  { message, attempt }: Delivered,
  topic: Resource,
  { handle, lite = false }: { readonly handle?: string | undefined; readonly lite?: boolean } = {},
): WireMessage => {
  const { body, gzip } = plainBody(message)
  return {
    topic,
    user_properties: freeForm(message, lite),
    system_properties: {
      ...(message.tag !== undefined && { tag: message.tag }),
      keys: message.keys ?? [],
      message_id: message.id,
      body_digest: { type: 'MD5', checksum: hash('md5', body).toUpperCase() },
      body_encoding: gzip ? 'GZIP' : 'IDENTITY',
      message_type: lite ? 'LITE' : typeOf(message),
      born_timestamp: fromMs(message.bornAt),
      born_host: message.bornHost,
      store_timestamp: fromMs(message.storedAt),
      store_host: message.queue.node,
      ...(message.deliverAt !== undefined && { delivery_timestamp: fromMs(message.deliverAt) }),
      ...(handle !== undefined && { receipt_handle: handle }),
      queue_id: Math.max(0, message.queue.index),
      queue_offset: exact(message.offset, 'offset'),
      delivery_attempt: Math.max(1, attempt),
      ...(message.group !== undefined && { message_group: message.group }),
      ...(message.traceparent !== undefined && { trace_context: message.traceparent }),
      ...(message.priority !== undefined && { priority: message.priority }),
      ...(lite && message.path !== undefined && { lite_topic: message.path }),
    },
    body,
  }
}
