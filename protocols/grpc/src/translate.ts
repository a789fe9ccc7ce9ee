import { createHash } from 'node:crypto'
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
  type StoredMessage,
  takeReserved,
} from '@sluice/core'
import { plainBody } from './bodies.ts'
import { checkGroup, checkMessage, checkTopic } from './rules.ts'
import {
  exact,
  type FilterExpression,
  fromMs,
  type ReceiveMessageRequest,
  type Resource,
  type SendMessageRequest,
  type Span,
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
  return { kind: 'publish', messages, oneway: false }
}

const toMessage = (topic: string, wire: WireMessage, address: string): Message => {
  const system = wire.system_properties ?? { keys: [] }
  if (system.message_type === 'TRANSACTION') throw new Fault('unsupported', 'transactions are not served here yet')
  if (system.lite_topic !== undefined) throw new Fault('unsupported', 'lite topics are not served here yet')
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
    ...(system.body_encoding === 'GZIP' && { encoding: 'gzip' as const }),
    ...(system.born_timestamp && { bornAt: toMs(system.born_timestamp, 'born timestamp') }),
    bornHost: system.born_host || address,
    ...(system.trace_context !== undefined && { traceparent: system.trace_context }),
    via: 'grpc',
  }
}

// ── Receiving ──────────────────────────────────────────────────────────────────────────────────

/** Absent for everything. An unnamed type is taken as tags. */
export const toFilter = (expression: FilterExpression | undefined): Filter | undefined => {
  const text = expression?.expression?.trim() ?? ''
  if (expression?.type === 'SQL') return { kind: 'sql92', expression: text }
  return text === '' || text === '*' ? undefined : { kind: 'tag', expression: text }
}

export const pollMax = (limits: Pick<Limits, 'pollMs'>): Ms => Math.max(1_000, Math.min(POLL_MAX, limits.pollMs))

/** `left`: until the client's deadline; Infinity when it set none. */
const pollOf = (request: ReceiveMessageRequest, left: Ms, requestTimeout: Ms, limits: Pick<Limits, 'pollMs'>): Ms => {
  const asked = request.long_polling_timeout
    ? toMs(request.long_polling_timeout, 'long polling timeout')
    : left - requestTimeout / 2
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

/**
 * ReceiveMessage. Which queue the client names does not matter: all of a topic are polled.
 * @throws Fault 'invalid' about 'topic', 'group' or 'invisible'
 */
export const toPop = (
  request: ReceiveMessageRequest,
  { left, requestTimeout, fifo, limits }: { left: Ms; requestTimeout: Ms; fifo: boolean; limits: Limits },
): CommandOf<'pop'> => {
  const topic = checkTopic(request.message_queue?.topic)
  const group = checkGroup(request.group)
  const filter = toFilter(request.filter_expression)
  return {
    kind: 'pop',
    source: { kind: 'group', topic, group, ...(filter && { filter }) },
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
const freeForm = (message: StoredMessage): Readonly<Record<string, string>> => {
  const { path, contentType, correlationId, replyTo, expiresAt, retain } = message
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
 * a birth and an attempt from 1. `topic` as the client named it.
 */
export const fromDelivered = ({ message, attempt }: Delivered, handle: string, topic: Resource): WireMessage => {
  const { body, gzip } = plainBody(message)
  return {
    topic,
    user_properties: freeForm(message),
    system_properties: {
      ...(message.tag !== undefined && { tag: message.tag }),
      keys: message.keys ?? [],
      message_id: message.id,
      body_digest: { type: 'MD5', checksum: createHash('md5').update(body).digest('hex').toUpperCase() },
      body_encoding: gzip ? 'GZIP' : 'IDENTITY',
      message_type: typeOf(message),
      born_timestamp: fromMs(message.bornAt),
      born_host: message.bornHost,
      store_timestamp: fromMs(message.storedAt),
      store_host: message.queue.node,
      ...(message.deliverAt !== undefined && { delivery_timestamp: fromMs(message.deliverAt) }),
      receipt_handle: handle,
      queue_id: Math.max(0, message.queue.index),
      queue_offset: exact(message.offset, 'offset'),
      delivery_attempt: Math.max(1, attempt),
      ...(message.group !== undefined && { message_group: message.group }),
      ...(message.traceparent !== undefined && { trace_context: message.traceparent }),
      ...(message.priority !== undefined && { priority: message.priority }),
    },
    body,
  }
}
