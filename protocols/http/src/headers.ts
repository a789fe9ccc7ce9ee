import { isUtf8 } from 'node:buffer'
import { Fault, type Message, names, takeReserved } from '@sluice/core'
import { codings } from './body.ts'
import { Refusal } from './faults.ts'

/** Names in lower case, one string a header line. */
export type Headers = Readonly<Record<string, readonly string[] | undefined>>

const telling = /^(x-mq-|ce-|(content-type|content-encoding|traceparent|idempotency-key)$)/

/** Those that say something of a message or of its publish. `raw`: as `IncomingMessage.rawHeaders`. */
export const headersOf = (raw: readonly string[]): Headers => {
  const headers: Record<string, string[]> = {}
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase()
    if (telling.test(name)) (headers[name] ??= []).push(raw[at + 1]!)
  }
  return headers
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

const invalid = (about: string, what: string) => new Fault('invalid', `${about} ${what}`, { about })

/** A header's bytes are UTF-8, its value is percent-encoded. @throws Fault 'invalid' */
export const headerText = (name: string, raw: string): string => {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(raw)) return raw // nothing to decode: no `%`, ASCII only
  const bytes = Buffer.from(raw, 'latin1')
  if (!isUtf8(bytes)) throw invalid(name, 'is not UTF-8')
  try {
    return decodeURIComponent(bytes.toString('utf8'))
  } catch {
    throw invalid(name, 'is not percent-encoded UTF-8')
  }
}

const text = (field: keyof Message) => (value: string) => ({ [field]: value })
const number = (field: keyof Message, max: number) => (value: string, name: string) => {
  if (!/^\d{1,13}$/.test(value) || Number(value) > max) throw invalid(name, `is not an integer up to ${max}`)
  return { [field]: Number(value) }
}
const EPOCH_MAX = 9_999_999_999_999

/** Every header of ours that a publish may have; an unknown one is refused, as it is most likely misspelt. */
const takers: Readonly<Record<string, (value: string, name: string) => Partial<Message>>> = {
  [names.id]: text('id'),
  [names.tag]: text('tag'),
  [names.keys]: (value) => ({ keys: value.split(' ').filter((key) => key !== '') }),
  [names.group]: text('group'),
  [names.priority]: number('priority', 255),
  [names.deliverAt]: number('deliverAt', EPOCH_MAX),
  [names.expiresAt]: number('expiresAt', EPOCH_MAX),
  [names.correlationId]: text('correlationId'),
  [names.replyTo]: text('replyTo'),
  [names.bornAt]: number('bornAt', EPOCH_MAX),
  [names.bornHost]: text('bornHost'),
  [names.retain]: (value, name) => {
    if (value !== 'true' && value !== 'false') throw invalid(name, 'is neither true nor false')
    return value === 'true' ? { retain: true } : {}
  },
  'x-mq-path': text('path'),
}
/** Of the connection or the request, not of a message. */
const others: ReadonlySet<string> = new Set(['x-mq-client-id'])

/** Message headers among those of a request. */
export const messageHeaders = (headers: Headers): readonly string[] =>
  Object.keys(headers).filter((name) => name.startsWith('x-mq-') && !others.has(name))

/** What `X-Mq-*` and `traceparent` say of the message. @throws Fault 'invalid' about the header */
export const fieldsOf = (topic: string, headers: Headers): Partial<Message> => {
  const free: [string, string][] = []
  const fields: Partial<Message> = {}
  for (const name of messageHeaders(headers)) {
    const lines = headers[name] ?? []
    const value = headerText(name, lines.join(' '))
    if (lines.length > 1 && name !== names.keys) throw invalid(name, 'is given more than once')
    if (name.startsWith(names.property)) {
      free.push([headerText(name, name.slice(names.property.length)), value])
      continue
    }
    const take = takers[name]
    if (!take) throw invalid(name, `is unknown; user properties are ${names.property}*`)
    if (value === '') throw invalid(name, 'is empty')
    Object.assign(fields, take(value, name))
  }
  const trace = headers.traceparent?.[0]
  return {
    ...(trace !== undefined && TRACEPARENT.test(trace) && { traceparent: trace }),
    ...fieldsOfProperties(topic, Object.fromEntries(free)),
    ...fields,
  }
}

/** What only stored records may say of themselves. */
const forbidden: readonly string[] = [names.via, names.more, names.original]

/** User properties, and the fields that other protocols must say as properties. */
export const fieldsOfProperties = (topic: string, free: Readonly<Record<string, string>>): Partial<Message> => {
  for (const name of forbidden) if (Object.hasOwn(free, name)) throw invalid(`properties.${name}`, 'is reserved')
  if (Object.hasOwn(free, '')) throw invalid('properties', 'has an empty name')
  const { properties, fields } = takeReserved(topic, free)
  return { ...fields, properties }
}

/** @throws Refusal 'mediaType' for a content coding that no consumer could undo */
export const codingOf = (headers: Headers): NonNullable<Message['encoding']> | undefined => {
  const coding = headers['content-encoding']?.join(',').trim().toLowerCase()
  if (coding === undefined || coding === '' || coding === 'identity') return undefined
  const known = codings[coding]
  if (!known) throw new Refusal('mediaType', 'unknown Content-Encoding', { 'accept-encoding': 'gzip, deflate, zstd' })
  return known
}
