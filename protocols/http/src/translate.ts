import {
  type CommandOf,
  type Delivered,
  Fault,
  type Filter,
  type Lease,
  type Message,
  type Ms,
  type Outcome,
  type Seal,
  type Source,
  type Stored,
} from '@sluice/core'
import { type Plain, written } from './body.ts'
import { statusOf } from './faults.ts'
import { codingOf, fieldsOf, fieldsOfProperties, type Headers, headerText } from './headers.ts'
import { readJson } from './json.ts'
import { check } from './schema.ts'
import {
  type PublishedMessage,
  publishShape,
  type ReceivedMessage,
  type ReceiveRequest,
  type Result,
  receiveShape,
  type SettleRequest,
  type SettleVerb,
  settleShapes,
} from './shapes.ts'

const NAME_MAX = 255
export const INVISIBLE_DEFAULT: Ms = 30_000
/** How long an Idempotency-Key is remembered. */
const KEEP: Ms = 600_000

const invalid = (about: string, what: string) => new Fault('invalid', `${about} ${what}`, { about })

// ── Names in the path ───────────────────────────────────────────────────────────────────────────────

/** @throws Fault 'invalid'; whether such a topic or group exists is the broker's matter */
export const nameOf = (kind: 'topic' | 'group', name: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (name === '' || name.length > NAME_MAX || /[/\x00-\x20\x7f]/.test(name)) throw invalid(kind, 'is not a name')
  return name
}

// ── Publish ─────────────────────────────────────────────────────────────────────────────────────────

/** What the gateway adds to every message of a producer that does not say it. */
export interface Birth {
  readonly bornAt: number
  readonly bornHost: string
}

/** Any content type: the body as it is, everything else in headers. */
export const rawMessage = (topic: string, headers: Headers, body: Buffer, birth: Birth): Message => {
  const encoding = codingOf(headers)
  const contentType = headers['content-type']?.[0]
  return {
    ...birth,
    via: 'http',
    properties: {},
    ...(contentType !== undefined && { contentType: headerText('content-type', contentType.replaceAll('%', '%25')) }),
    ...(encoding && { encoding }),
    ...fieldsOf(topic, headers),
    topic,
    body,
  }
}

/** `application/vnd.sluice.messages+json`. @throws Fault 'malformed', 'invalid', 'tooLarge' */
export const listedMessages = (topic: string, bytes: Buffer, birth: Birth, bodyBytes: number): readonly Message[] => {
  const { value } = readJson(bytes)
  check(publishShape, value, 'body')
  const { messages } = value as { messages: readonly PublishedMessage[] }
  return messages.map((message, index) => {
    const { body = '', encoding, shardingKey, properties = {}, ...rest } = message
    const decoded = bodyOf(body, encoding, `messages[${index}].body`)
    if (decoded.length > bodyBytes)
      throw new Fault('tooLarge', `messages[${index}].body is too large`, { about: 'body' })
    return {
      ...birth,
      via: 'http',
      ...fieldsOfProperties(topic, properties),
      ...rest,
      ...(shardingKey !== undefined && { group: shardingKey }),
      topic,
      body: decoded,
    } as Message
  })
}

export const bodyOf = (text: string, encoding: string | undefined, about: string): Buffer => {
  if (encoding !== 'base64') return Buffer.from(text, 'utf8')
  // RFC 4648 §4: a lenient reader would drop what it does not know.
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw invalid(about, 'is not base64')
  return Buffer.from(text, 'base64')
}

export const toPublish = (messages: readonly Message[], headers: Headers, tenant: string): CommandOf<'publish'> => {
  const key = headers['idempotency-key']?.[0]
  const topic = messages[0]?.topic ?? ''
  if (key !== undefined && (key.length > NAME_MAX || key === '')) {
    throw invalid('idempotency-key', `is not 1 to ${NAME_MAX} characters`)
  }
  return {
    kind: 'publish',
    messages,
    oneway: false,
    ...(key !== undefined && { once: { key: `http/${tenant}/${topic}/${key}`, keep: KEEP } }),
  }
}

export const storedOf = (stored: Stored) => ({
  messageId: stored.id,
  queueId: stored.queue.index,
  offset: stored.offset,
  ...(stored.durable && { durable: stored.durable }),
  ...(stored.recallHandle !== undefined && { recallHandle: stored.recallHandle }),
})

export const publishResults = (stored: readonly (Stored | Fault)[]): readonly Result[] =>
  stored.map((one) => (Fault.is(one) ? statusOf(one) : { status: 201, ...storedOf(one) }))

// ── Receive ─────────────────────────────────────────────────────────────────────────────────────────

export const filterOf = (filter: { tag?: string; sql?: string } | undefined): Filter | undefined => {
  const { tag, sql } = filter ?? {}
  if (tag !== undefined && sql !== undefined) throw invalid('filter', 'has both tag and sql')
  if (tag !== undefined) return { kind: 'tag', expression: tag }
  return sql === undefined ? undefined : { kind: 'sql92', expression: sql }
}

export const sourceOf = (topic: string, group: string, filter: Filter | undefined): Source => ({
  kind: 'group',
  topic,
  group,
  ...(filter && { filter }),
})

/** An empty body is an empty object. @throws Fault 'malformed', 'invalid' */
export const readBody = (bytes: Buffer): unknown => (bytes.length === 0 ? {} : readJson(bytes).value)

export const toPop = (
  topic: string,
  group: string,
  bytes: Buffer,
  pollMs: Ms,
): { readonly pop: CommandOf<'pop'>; readonly bodyEncoding: 'auto' | 'base64' } => {
  const value = readBody(bytes)
  check(receiveShape, value, 'body')
  const request = value as ReceiveRequest
  const pop: CommandOf<'pop'> = {
    kind: 'pop',
    source: sourceOf(topic, group, filterOf(request.filter)),
    max: request.maxMessages ?? 1,
    invisible: request.invisibleMs ?? INVISIBLE_DEFAULT,
    wait: Math.min(request.waitMs ?? 0, pollMs),
    fifo: request.ordered ?? false,
  }
  return { pop, bodyEncoding: request.bodyEncoding ?? 'auto' }
}

export const toReceived = (
  delivered: Delivered,
  plain: Plain,
  bodyEncoding: 'auto' | 'base64',
  seal: Seal | undefined,
): ReceivedMessage => {
  const { message, attempt, receipt } = delivered
  const { contentType, path, tag, keys, group, priority, deliverAt, expiresAt, correlationId, replyTo } = message
  const hasProperties = Object.keys(message.properties).length > 0
  return {
    messageId: message.id,
    ...(seal && receipt?.of === 'group' && { receiptHandle: seal.lease(receipt) }),
    ...written(plain.bytes, contentType, plain.encoding ? 'base64' : bodyEncoding),
    ...(plain.encoding && { contentEncoding: plain.encoding }),
    ...(contentType !== undefined && { contentType }),
    ...(path !== undefined && { path }),
    ...(tag !== undefined && { tag }),
    ...(keys && keys.length > 0 && { keys }),
    ...(hasProperties && { properties: message.properties }),
    ...(group !== undefined && { shardingKey: group }),
    ...(priority !== undefined && { priority }),
    ...(deliverAt !== undefined && { deliverAt }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(correlationId !== undefined && { correlationId }),
    ...(replyTo !== undefined && { replyTo }),
    ...(message.retain && { retain: true }),
    ...(message.traceparent !== undefined && { traceparent: message.traceparent }),
    ...(message.via !== undefined && { via: message.via }),
    attempt,
    bornAt: message.bornAt,
    bornHost: message.bornHost,
    storedAt: message.storedAt,
    topic: message.topic,
    queueId: message.queue.index,
    offset: message.offset,
  }
}

// ── Settle ──────────────────────────────────────────────────────────────────────────────────────────

export interface Settling {
  /** Of the handles that could be opened, in their order. */
  readonly leases: readonly Lease[]
  /** Their places among the handles. */
  readonly at: readonly number[]
  /** One a handle: what is wrong with it, or undefined where it is in `leases`. */
  readonly refused: readonly (Fault | undefined)[]
  readonly outcome: Outcome
}

const outcomeOf = (verb: SettleVerb, { afterMs, invisibleMs, reason }: SettleRequest): Outcome => {
  switch (verb) {
    case 'ack':
      return { kind: 'accept' }
    case 'nack':
      return { kind: 'retry', counts: true, ...(afterMs !== undefined && { after: afterMs }) }
    case 'extend':
      return { kind: 'retry', counts: false, after: invisibleMs as Ms }
    case 'dead':
      return { kind: 'dead', ...(reason !== undefined && { reason }) }
  }
}

/** A handle that is not ours, or of another group, fails alone. @throws Fault 'malformed', 'invalid' for the request */
export const toSettle = (verb: SettleVerb, topic: string, group: string, bytes: Buffer, seal: Seal): Settling => {
  const value = readBody(bytes)
  check(settleShapes[verb], value, 'body')
  const request = value as SettleRequest
  const leases: Lease[] = []
  const at: number[] = []
  const refused = request.receiptHandles.map((handle, index) => {
    try {
      const lease = seal.openLease(handle)
      if (lease.topic !== topic || lease.group !== group) {
        return new Fault('receiptExpired', 'receipt handle of another topic or group', { about: 'receipt' })
      }
      leases.push(lease)
      at.push(index)
      return undefined
    } catch (error) {
      return Fault.from(error)
    }
  })
  return { leases, at, refused, outcome: outcomeOf(verb, request) }
}

export const settleResults = (
  { at, refused }: Settling,
  reply: {
    readonly renewed?: readonly (unknown | undefined)[]
    readonly failed: readonly { readonly at: number; readonly fault: Fault }[]
  },
  seal: Seal,
): readonly Result[] => {
  const results: Result[] = refused.map((fault) => (fault ? statusOf(fault) : { status: 200 }))
  at.forEach((place, index) => {
    const renewed = reply.renewed?.[index] as Lease | undefined
    if (renewed?.of === 'group') results[place] = { status: 200, receiptHandle: seal.lease(renewed) }
  })
  for (const { at: index, fault } of reply.failed) results[at[index] as number] = statusOf(fault)
  return results
}
