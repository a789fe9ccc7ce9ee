import { Fault, type Message } from '@sluice/core'
import { codingOf, fieldsOf, fieldsOfProperties, type Headers, headerText } from './headers.ts'
import { elements, isObject, member, readJson, type Span } from './json.ts'
import { BATCH_MAX, type ReceivedMessage } from './shapes.ts'
import { type Birth, bodyOf } from './translate.ts'

/**
 * CloudEvents 1.0 over HTTP, the three modes of its protocol binding (§3.1 binary, §3.2 structured, §3.3 batched).
 *   topic = the address · tag = `type` · keys = `id` · contentType = `datacontenttype` · body = the data, as spelt
 *   sharding key = extension `partitionkey` · deliverAt = extension `deliverat` · traceparent = the extension
 * Every attribute also stays as a user property `ce-<name>`, so that it is read by any protocol and comes back here.
 */
export const STRUCTURED = 'application/cloudevents+json'
export const BATCH = 'application/cloudevents-batch+json'

const PREFIX = 'ce-'
const required = ['id', 'source', 'specversion', 'type'] as const
type Attributes = Readonly<Record<string, string>>

const invalid = (about: string, what: string) => new Fault('invalid', `${about} ${what}`, { about })

/** §3.1: an event in headers is known by its attributes. */
export const isBinary = (headers: Headers): boolean => {
  for (const name in headers) if (name.startsWith(PREFIX)) return true
  return false
}

const millis = (value: string): number => {
  const at = /^\d{1,13}$/.test(value) ? Number(value) : Date.parse(value)
  if (!Number.isFinite(at) || at < 0) throw invalid('deliverat', 'is neither ms since the epoch nor RFC 3339')
  return at
}

/** RocketMQ's tag expressions use `||`, and a key ends at a blank. */
const asTag = (type: string) => (/^[^\s|]{1,255}$/.test(type) ? { tag: type } : {})
const asKeys = (id: string) => (/^\S{1,255}$/.test(id) ? { keys: [id] } : {})

const toMessage = (topic: string, attributes: Attributes, body: Buffer, birth: Birth): Message => {
  for (const name of required) if (!attributes[name]) throw invalid(`${PREFIX}${name}`, 'is missing')
  if (attributes.specversion !== '1.0') throw invalid(`${PREFIX}specversion`, 'is not 1.0')
  const { datacontenttype, traceparent, partitionkey, deliverat, ...kept } = attributes
  for (const name of Object.keys(attributes)) {
    if (!/^[a-z0-9]{1,64}$/.test(name))
      throw invalid(`${PREFIX}${name}`, 'is not a name of lower-case letters and digits')
  }
  const properties = Object.fromEntries(Object.entries(kept).map(([name, value]) => [`${PREFIX}${name}`, value]))
  return {
    ...birth,
    via: 'http',
    topic,
    body,
    properties,
    ...asTag(attributes.type as string),
    ...asKeys(attributes.id as string),
    ...(datacontenttype && { contentType: datacontenttype }),
    ...(traceparent && { traceparent }),
    ...(partitionkey && { group: partitionkey }),
    ...(deliverat && { deliverAt: millis(deliverat) }),
  }
}

/** Attributes in `ce-*` headers, data in the body; `X-Mq-*` headers may say more and win. */
export const binaryEvent = (topic: string, headers: Headers, body: Buffer, birth: Birth): Message => {
  const attributes: Record<string, string> = {}
  for (const name in headers) {
    if (!name.startsWith(PREFIX)) continue
    const lines = headers[name] ?? []
    if (lines.length > 1) throw invalid(name, 'is given more than once')
    // §3.1.3.2: values are percent-encoded.
    attributes[name.slice(PREFIX.length)] = headerText(name, lines[0] ?? '')
  }
  if ('datacontenttype' in attributes) throw invalid('ce-datacontenttype', 'is the Content-Type in this mode')
  const contentType = headers['content-type']?.[0]
  if (contentType !== undefined) attributes.datacontenttype = contentType
  const event = toMessage(topic, attributes, body, birth)
  const { properties = {}, ...more } = fieldsOf(topic, headers)
  const encoding = codingOf(headers)
  return { ...event, ...more, ...(encoding && { encoding }), properties: { ...event.properties, ...properties } }
}

/** JSON event format §2.2: strings, booleans and integers; null is absence. */
const attributeOf = (name: string, value: unknown): string | undefined => {
  if (value === null) return undefined
  if (typeof value === 'string') return value
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value)
  throw invalid(name, 'is neither text, an integer, nor true or false')
}

const isJson = (contentType: string | undefined): boolean =>
  contentType === undefined || /^[^;]+[/+]json\s*(;|$)/i.test(contentType)

/** JSON event format §3.1: the bytes of `data` as they were spelt, or those of `data_base64`. */
const dataOf = (event: Readonly<Record<string, unknown>>, text: string, at: number): Buffer => {
  const { data, data_base64: binary, datacontenttype } = event
  if (binary !== undefined && binary !== null) {
    if (data !== undefined) throw invalid('data', 'stands beside data_base64')
    if (typeof binary !== 'string') throw invalid('data_base64', 'is not a string')
    return bodyOf(binary, 'base64', 'data_base64')
  }
  if (data === undefined) return Buffer.alloc(0)
  if (typeof data === 'string' && !isJson(datacontenttype as string | undefined)) return Buffer.from(data)
  const [from, to] = member(text, 'data', at) as Span
  return Buffer.from(text.slice(from, to))
}

const jsonEvent = (topic: string, value: unknown, text: string, at: number, birth: Birth, max: number): Message => {
  if (!isObject(value)) throw invalid('event', 'is not an object')
  const attributes: Record<string, string> = {}
  for (const name of Object.keys(value)) {
    if (name === 'data' || name === 'data_base64') continue
    const attribute = attributeOf(name, value[name])
    if (attribute !== undefined) attributes[name] = attribute
  }
  const body = dataOf(value, text, at)
  if (body.length > max) throw new Fault('tooLarge', 'the data of an event is too large', { about: 'body' })
  // §3.1: without a type, data in JSON is JSON.
  if (!attributes.datacontenttype && value.data !== undefined) attributes.datacontenttype = 'application/json'
  const event = toMessage(topic, attributes, body, birth)
  return { ...event, ...fieldsOfProperties(topic, event.properties) }
}

export const structuredEvent = (topic: string, bytes: Buffer, birth: Birth, bodyBytes: number): Message => {
  const { value, text } = readJson(bytes)
  return jsonEvent(topic, value, text, 0, birth, bodyBytes)
}

export const batchedEvents = (topic: string, bytes: Buffer, birth: Birth, bodyBytes: number): readonly Message[] => {
  const { value, text } = readJson(bytes)
  if (!Array.isArray(value)) throw invalid('body', 'is not an array of events')
  if (value.length > BATCH_MAX) throw invalid('body', `has over ${BATCH_MAX} events`)
  const spans = elements(text)
  return value.map((event, index) => jsonEvent(topic, event, text, (spans[index] as Span)[0], birth, bodyBytes))
}

// ── The other way ───────────────────────────────────────────────────────────────────────────────────

/**
 * A received message as the text of an event in JSON; one that was published otherwise gets the attributes that it
 * lacks. The receipt handle and the attempt travel as extensions. JSON data keeps its spelling.
 */
export const eventText = (received: ReceivedMessage): string => {
  const { properties = {}, contentType, shardingKey, deliverAt, traceparent, receiptHandle, attempt } = received
  const attributes = Object.entries(properties).flatMap(([name, value]) =>
    /^ce-[a-z0-9]+$/.test(name) ? [[name.slice(PREFIX.length), value] as const] : [],
  )
  const event = {
    specversion: '1.0',
    id: received.messageId,
    source: `/v1/topics/${encodeURIComponent(received.topic)}`,
    type: received.tag ?? 'sluice.message',
    time: new Date(received.bornAt).toISOString(),
    ...Object.fromEntries(attributes),
    ...(contentType !== undefined && { datacontenttype: contentType }),
    ...(shardingKey !== undefined && { partitionkey: shardingKey }),
    ...(deliverAt !== undefined && { deliverat: new Date(deliverAt).toISOString() }),
    ...(traceparent !== undefined && { traceparent }),
    ...(receiptHandle !== undefined && { receipthandle: receiptHandle }),
    attempt,
  }
  return `${JSON.stringify(event).slice(0, -1)},${dataText(received)}}`
}

const dataText = ({ body, encoding, contentType }: ReceivedMessage): string => {
  if (encoding === 'base64') return `"data_base64":${JSON.stringify(body)}`
  // Without a type a reader would take a string for JSON.
  if (contentType === undefined) return `"datacontenttype":"text/plain","data":${JSON.stringify(body)}`
  if (!isJson(contentType)) return `"data":${JSON.stringify(body)}`
  try {
    JSON.parse(body)
    return `"data":${body}`
  } catch {
    return `"data_base64":${JSON.stringify(Buffer.from(body).toString('base64'))}`
  }
}
