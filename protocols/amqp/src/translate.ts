import {
  type Delivered,
  type EpochMs,
  Fault,
  joinPath,
  type Message,
  names,
  type Outcome,
  takeReserved,
  tellsBirth,
} from '@sluice/core'
import { type Destination, replyAddress, sendAddress } from './address.ts'
import { type Body, readMessage, type Sections, writeHead } from './message.ts'
import { packOriginal, unpackOriginal } from './original.ts'
import type { Composite, CompositeOf } from './shapes.ts'
import type { Value } from './types/values.ts'
import {
  asJson,
  asText,
  type Described,
  entry,
  isTagged,
  type MapValue,
  mapOf,
  numberOf,
  symbol,
  textOf,
} from './types/values.ts'

export const PROTOCOL = 'amqp'
const DELIVERY_TIME = 'x-opt-delivery-time'
const DELIVERY_DELAY = 'x-opt-delivery-delay'
/** Priority of a message that says none. [3.2.1] */
const USUAL_PRIORITY = 4

// ── Producer → command ────────────────────────────────────────────────────────────────────────────

export interface Published {
  readonly message: Message
  /** Its types were too much to keep. */
  readonly lost: boolean
}

/**
 * A message as a producer sent it. `to`: the address of its link; undefined: each message names its own.
 * @throws Fault 'malformed' or 'tooLarge' about 'value'; 'invalid' or 'unsupported' about 'address'
 */
export const toMessage = (bytes: Buffer, to: Destination | undefined, now: EpochMs): Published => {
  const sections = readMessage(bytes)
  const destination = to ?? sendAddress(textOf(sections.properties?.to) ?? '')
  const { topic } = destination
  const seen = new Exactness()
  const free = application(sections.application, seen)
  const { properties, fields } = takeReserved(topic, free)
  if (properties !== free) seen.reserved(free, fields)
  const message: Message = {
    topic,
    body: bodyOf(bytes, sections.body, seen),
    properties,
    ...fields,
    ...(destination.path !== undefined && { path: destination.path }),
    ...(destination.tag !== undefined && { tag: destination.tag }),
    ...fromProperties(sections.properties, seen),
    ...fromAnnotations(sections.annotations, now, seen),
    ...fromHeader(sections, now),
    via: PROTOCOL,
  }
  if (sections.footer || seen.exact === false) {
    const cuts = sections.body.kind === 'data' || sections.body.kind === 'value' ? sections.body.cuts : []
    const original = packOriginal(bytes, sections.from, cuts)
    if (!original) return { message, lost: true }
    return { message: { ...message, original: { protocol: PROTOCOL, bytes: original } }, lost: false }
  }
  return { message, lost: false }
}

/** Whether the model alone can say this message again: its sections, their types, nothing less. */
class Exactness {
  exact = true

  /** Names of model fields that stood among the application properties come back there only where that is their place. */
  reserved(free: Readonly<Record<string, string>>, fields: Partial<Message>): void {
    for (const name in free) {
      if (name === names.keys) this.exact &&= fields.keys?.join(' ') === free[name]
      else if (name === names.path) this.exact &&= fields.path !== undefined
      else if (name !== names.retain && name !== names.traceparent && byName.has(name)) this.exact = false
    }
  }
}

const byName: ReadonlySet<string> = new Set(Object.values(names))

const application = (map: MapValue | undefined, seen: Exactness): Readonly<Record<string, string>> => {
  const properties: Record<string, string> = {}
  if (!map) return properties
  for (const [key, value] of map.value) {
    if (typeof key !== 'string' || typeof value !== 'string' || Object.hasOwn(properties, key)) seen.exact = false
    const name = typeof key === 'string' ? key : asText(key)
    const text = typeof value === 'string' ? value : asText(value)
    if (name === '__proto__') Object.defineProperty(properties, name, { value: text, enumerable: true, writable: true })
    else properties[name] = text
  }
  return properties
}

const bodyOf = (bytes: Buffer, body: Body, seen: Exactness): Buffer => {
  seen.exact &&= body.kind === 'data' && body.cuts.length === 2
  switch (body.kind) {
    case 'none':
      return Buffer.alloc(0)
    case 'data':
      return slices(bytes, body.cuts)
    case 'value':
      return body.cuts.length > 0 ? slices(bytes, body.cuts) : Buffer.from(valueText(body.value))
    case 'sequence':
      return Buffer.from(JSON.stringify(body.lists.flat().map(asJson)))
  }
}

const slices = (bytes: Buffer, cuts: readonly number[]): Buffer => {
  if (cuts.length === 2) return bytes.subarray(cuts[0], cuts[1])
  const parts: Buffer[] = []
  for (let index = 0; index < cuts.length; index += 2) parts.push(bytes.subarray(cuts[index], cuts[index + 1]))
  return Buffer.concat(parts)
}

/** Lists, maps and arrays as JSON; everything simple as plain text. */
const valueText = (value: Value): string => {
  const inner = value !== null && isTagged(value) && value.type === 'described' ? value.value : value
  return asText(inner)
}

type Encoding = NonNullable<Message['encoding']>
const encodings: ReadonlySet<string> = new Set<Encoding>(['zlib', 'lz4', 'zstd', 'gzip'])

const fromProperties = (given: CompositeOf<'properties'> | undefined, seen: Exactness): Partial<Message> => {
  if (!given) return {}
  const text = (value: Value | undefined): string | undefined => {
    if (value === undefined || typeof value === 'string') return value
    seen.exact = false
    return asText(value)
  }
  const name = (value: string | undefined): string | undefined => {
    if (value !== '') return value
    seen.exact = false
    return undefined
  }
  const time = (value: number | bigint | undefined): number | undefined => {
    if (typeof value !== 'bigint' && (value === undefined || value >= 0)) return value
    seen.exact = false
    return undefined
  }
  const beyond = given.userId ?? given.to ?? given.groupSequence ?? given.replyToGroupId
  if (beyond !== undefined) seen.exact = false
  const id = name(text(given.messageId))
  const tag = name(given.subject)
  const correlationId = text(given.correlationId)
  const reply = text(given.replyTo)
  const replyTo = reply === undefined ? undefined : replyAddress(reply)
  if (replyTo !== reply) seen.exact = false
  const { contentType, contentEncoding } = given
  const encoding = contentEncoding !== undefined && encodings.has(contentEncoding) ? contentEncoding : undefined
  if (encoding !== contentEncoding) seen.exact = false
  const group = name(given.groupId)
  const expiresAt = time(given.absoluteExpiryTime)
  const bornAt = time(given.creationTime)
  return {
    ...(id !== undefined && { id }),
    ...(tag !== undefined && { tag }),
    ...(correlationId !== undefined && { correlationId }),
    ...(replyTo !== undefined && { replyTo }),
    ...(contentType !== undefined && { contentType }),
    ...(encoding !== undefined && { encoding: encoding as Encoding }),
    ...(group !== undefined && { group }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(bornAt !== undefined && { bornAt }),
  }
}

const fromAnnotations = (given: MapValue | undefined, now: EpochMs, seen: Exactness): Partial<Message> => {
  if (!given) return {}
  if (given.value.some(([key]) => textOf(key) !== DELIVERY_TIME && textOf(key) !== DELIVERY_DELAY)) seen.exact = false
  const at = numberOf(entry(given, DELIVERY_TIME))
  if (at !== undefined && at > 0) return { deliverAt: at }
  const delay = numberOf(entry(given, DELIVERY_DELAY))
  return delay !== undefined && delay > 0 ? { deliverAt: now + delay } : {}
}

const fromHeader = ({ header, properties }: Sections, now: EpochMs): Partial<Message> => {
  if (!header) return {}
  const { priority, ttl } = header
  return {
    ...(priority !== undefined && priority !== USUAL_PRIORITY && { priority }),
    ...(ttl && properties?.absoluteExpiryTime === undefined && { expiresAt: now + ttl }),
  }
}

// ── Delivered → consumer ──────────────────────────────────────────────────────────────────────────

/** The message as bytes in a row, its body as it stands. */
export const toPayload = ({ message, attempt }: Delivered, now: EpochMs): readonly Buffer[] => {
  const { body, original, priority, expiresAt, deliverAt } = message
  const header: CompositeOf<'header'> = {
    type: 'header',
    durable: true,
    priority,
    ttl: expiresAt === undefined ? undefined : Math.min(Math.max(0, expiresAt - now), 0xffffffff),
    firstAcquirer: attempt === 1,
    deliveryCount: attempt - 1,
  }
  if (original?.protocol === PROTOCOL) {
    const parts = unpackOriginal(original.bytes, body)
    if (parts) return [writeHead({ header }), ...parts]
  }
  const annotations = deliverAt === undefined ? undefined : deliveryTime(deliverAt)
  const head = writeHead({
    header,
    ...(annotations && { annotations }),
    properties: propertiesOf(message),
    application: applicationOf(message),
    data: body.length,
  })
  return body.length === 0 ? [head] : [head, body]
}

const deliveryTime = (at: EpochMs): MapValue => mapOf([[symbol(DELIVERY_TIME), { type: 'timestamp', value: at }]])

const propertiesOf = (message: Delivered['message']): CompositeOf<'properties'> => ({
  type: 'properties',
  messageId: message.id,
  subject: message.tag,
  replyTo: message.replyTo,
  correlationId: message.correlationId,
  contentType: ascii(message.contentType),
  contentEncoding: message.encoding,
  absoluteExpiryTime: message.expiresAt,
  creationTime: message.bornAt,
  groupId: message.group,
})

/** Symbols are ASCII. */
const ascii = (text: string | undefined): string | undefined => text?.replace(/[^\x20-\x7e]/g, '?')

const applicationOf = (message: Delivered['message']): Readonly<Record<string, string>> => {
  const { properties, keys, path, retain, traceparent } = message
  const birth = tellsBirth(message, 'amqp')
  if (!keys?.length && path === undefined && !retain && traceparent === undefined && !birth) return properties
  return {
    ...properties,
    ...(path !== undefined && { [names.path]: joinPath(message.topic, path) }),
    ...(keys?.length && { [names.keys]: keys.join(' ') }),
    ...(retain && { [names.retain]: 'true' }),
    ...(birth && { [names.bornHost]: message.bornHost }),
    ...(traceparent !== undefined && { [names.traceparent]: traceparent }),
  }
}

// ── Consumer's word → outcome ─────────────────────────────────────────────────────────────────────

const AT_ONCE: Outcome = { kind: 'retry', after: 0, counts: false }

/**
 * @returns undefined for what is no last word
 * @throws Fault 'unsupported' for a transaction
 */
export const toOutcome = (state: Composite | Described): Outcome | undefined => {
  switch (state.type) {
    case 'accepted':
      return { kind: 'accept' }
    case 'released':
      return AT_ONCE
    case 'modified':
      if (state.undeliverableHere) return { kind: 'dead', reason: 'undeliverable here' }
      return state.deliveryFailed ? { kind: 'retry', counts: true } : AT_ONCE
    case 'rejected': {
      const error = state.error?.type === 'error' ? state.error : undefined
      const reason = error ? `${error.condition}${error.description ? `: ${error.description}` : ''}`.slice(0, 200) : ''
      return { kind: 'dead', ...(reason !== '' && { reason }) }
    }
    case 'received':
      return undefined
    case 'transactionalState':
      throw new Fault('unsupported', 'transactions', { about: 'transaction' })
    default:
      throw new Fault('malformed', `${state.type} is no delivery state`, { about: 'value' })
  }
}
