import { isUtf8 } from 'node:buffer'
import {
  type Column,
  type Delivered,
  type EpochMs,
  Fault,
  type Field,
  inflate,
  joinPath,
  losses,
  type Message,
  names,
  type StoredMessage,
  splitPath,
  takeReserved,
  tellsBirth,
} from '@sluice/core'
import { toData, toText } from './correlation.ts'
import { type Extras, isPlain, readExtras, writeExtras } from './extras.ts'
import type { MessageProperties, Publish, QoS, UserProperty, Version, Will } from './packets.ts'
import { type Note, readNotes } from './subscriptions.ts'
import { fromPlace, isName, isSystem, isText, nameOf, TEXT_MAX, toPlace } from './topics.ts'

/** Message expiry is a u32 of seconds. */
const EXPIRY_MAX = 0xffff_ffff

/** Where and when a message is published. */
export interface Published {
  readonly now: EpochMs
  /** `host:port` of the client. */
  readonly host: string
  readonly bodyBytes: number
}

/**
 * A message of ours. `topic`: with aliases resolved.
 * @throws Fault 'invalid' about 'topic' or 'payload', 'tooLarge' about 'body'
 */
export const toMessage = (
  publish: Pick<Publish, 'payload' | 'qos' | 'retain'> & { readonly properties?: MessageProperties },
  topic: string,
  { now, host, bodyBytes }: Published,
): Message => {
  const { payload, qos, retain, properties: said } = publish
  if (payload.length > bodyBytes)
    throw new Fault('tooLarge', `a body has at most ${bodyBytes} bytes`, { about: 'body' })
  const { topic: first, path, level } = toPlace(topic)
  const base: Writable<Message> = {
    topic: first,
    body: payload,
    properties: none,
    bornAt: now,
    bornHost: host,
    via: 'mqtt',
  }
  if (path !== undefined) base.path = path
  if (retain) base.retain = true
  if (!said) {
    const original = writeExtras(level === undefined ? { qos } : { qos, level })
    if (original) base.original = original
    return base
  }
  // [MQTT-3.3.2-4] we may look, and we do: other protocols take the claim for granted
  if (said.payloadFormatIndicator && !isUtf8(payload)) {
    throw new Fault('invalid', 'payload is not the text that it claims to be', { about: 'payload' })
  }
  const { userProperties: user = [] } = said
  // Where a message goes and whether it is retained says the packet itself.
  const { properties, fields } = takeReserved(first, Object.fromEntries(user))
  const { path: _, retain: __, ...free } = fields
  const message = { ...free, ...base, ...fieldsOf(said, now), properties }
  return withOriginal(message, {
    qos,
    ...(level !== undefined && { level }),
    ...(!isPlain(user) && { user }),
    ...(said.payloadFormatIndicator && { text: true }),
  })
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }
const none: Readonly<Record<string, string>> = Object.freeze({})

const withOriginal = (message: Message, extras: Extras): Message => {
  const original = writeExtras(extras)
  return original ? { ...message, original } : message
}

const fieldsOf = (said: MessageProperties, now: EpochMs): Partial<Message> => {
  const { messageExpiryInterval, contentType, correlationData, responseTopic } = said
  return {
    ...(messageExpiryInterval !== undefined && { expiresAt: now + messageExpiryInterval * 1000 }),
    ...(contentType !== undefined && { contentType }),
    ...(correlationData !== undefined && { correlationId: toText(correlationData) }),
    ...(responseTopic !== undefined && { replyTo: toReply(responseTopic) }),
  }
}

const toReply = (topic: string): string => {
  const { topic: first, path, level } = toPlace(topic)
  // A hash could not be undone: such a reply address stays as it is, which only MQTT can use.
  return level === undefined ? joinPath(first, path) : topic
}

export const toWill = (will: Will, published: Published): Message => toMessage(will, will.topic, published)

// ── Out ───────────────────────────────────────────────────────────────────────────────────────

/** What becomes of a delivery. */
export type Outgoing =
  | { readonly publish: Publish; readonly lost: readonly Field[] }
  /** There is no packet for it, or none is due: it is settled as if it had been delivered. */
  | { readonly skipped: 'expired' | 'system' | 'unsayable' }

/** What a message says to all its readers alike. */
export interface Told {
  readonly extras: Extras
  /** undefined: no PUBLISH can carry it. */
  readonly topic: string | undefined
}

export const tell = (message: StoredMessage): Told => {
  const extras = readExtras(message)
  return { extras, topic: nameOf(message.topic, message.path, extras.level) }
}

/** @param now for the expiry; @param version of the subscriber; @param told of this message */
export const toPublish = (
  delivered: Delivered,
  version: Version,
  now: EpochMs,
  { extras, topic }: Told = tell(delivered.message),
): Outgoing => {
  const { message, attempt, receipt } = delivered
  const { expiresAt } = message
  // [MQTT-3.3.2-5] and 4.3.3: what has begun is finished, expired or not
  if (expiresAt !== undefined && expiresAt <= now && attempt === 1) return { skipped: 'expired' }
  if (topic === undefined) return { skipped: 'unsayable' }
  const notes = readNotes(delivered.notes)
  if (isSystem(topic) && notes.length > 0 && notes.every(({ open }) => open)) return { skipped: 'system' }
  const qos = receipt?.of === 'inbox' ? qosOf(extras.qos, notes) : 0
  const said = version === 5 ? propertiesOf(message, extras, notes, now) : undefined
  const publish: Writable<Publish> = {
    cmd: 'publish',
    topic,
    payload: message.encoding === undefined ? message.body : inflate(message).body,
    qos,
    dup: qos > 0 && attempt > 1,
    retain: delivered.retained === true || (message.retain === true && notes.some(({ rap }) => rap)),
  }
  if (qos > 0 && receipt?.of === 'inbox') publish.messageId = receipt.slot
  if (said) publish.properties = said.properties
  const lost = lostOf(message, extras, version)
  return { publish, lost: said && !said.whole ? [...lost, 'properties'] : lost }
}

/** Whole ones that have begun; below 1: it has expired. */
export const secondsLeft = (expiresAt: EpochMs, now: EpochMs): number => Math.ceil((expiresAt - now) / 1000)

/** min(published, granted) [MQTT-3.8.4-8]; of several matches the greatest. Sent to this inbox alone: as published. */
const qosOf = (published: QoS, notes: readonly Note[]): QoS => {
  if (notes.length === 0) return published
  let granted: QoS = 0
  for (const { qos } of notes) if (qos > granted) granted = qos
  return granted < published ? granted : published
}

const propertiesOf = (
  message: StoredMessage,
  extras: Extras,
  notes: readonly Note[],
  now: EpochMs,
): { readonly properties: NonNullable<Publish['properties']>; readonly whole: boolean } => {
  const { contentType, correlationId, replyTo, expiresAt } = message
  const ids = notes.flatMap(({ id }) => (id === undefined ? [] : [id]))
  const user = extras.user ?? [...Object.entries(message.properties), ...freeOf(message)]
  const sayable = user.filter(([name, value]) => isText(name) && isText(value))
  const data = correlationId === undefined ? undefined : toData(correlationId)
  const response = replyTo === undefined ? undefined : responseOf(replyTo)
  const properties = {
    ...(extras.text && { payloadFormatIndicator: true }),
    ...(expiresAt !== undefined && {
      messageExpiryInterval: Math.min(EXPIRY_MAX, Math.max(0, secondsLeft(expiresAt, now))),
    }),
    ...(contentType !== undefined && isText(contentType) && { contentType }),
    ...(data && data.length <= TEXT_MAX && { correlationData: data }),
    ...(response !== undefined && { responseTopic: response }),
    ...(sayable.length > 0 && { userProperties: sayable }),
    ...(ids.length > 0 && { subscriptionIdentifier: ids }),
  }
  return { properties, whole: sayable.length === user.length }
}

const responseOf = (replyTo: string): string | undefined => {
  const name = fromPlace(splitPath(replyTo))
  return isName(name) ? name : undefined
}

/** Fields that MQTT has no place for but among user properties. */
const freeOf = (message: StoredMessage): readonly UserProperty[] => {
  const { tag, keys, group, priority, deliverAt, traceparent } = message
  const free: UserProperty[] = []
  const say = (name: keyof typeof names, value: string | number | undefined) => {
    if (value !== undefined) free.push([names[name], String(value)])
  }
  if (tellsBirth(message, 'mqtt5')) {
    say('id', message.id)
    say('bornAt', message.bornAt)
    say('bornHost', message.bornHost)
  }
  say('tag', tag)
  say('keys', keys && keys.length > 0 ? keys.join(' ') : undefined)
  say('group', group)
  say('priority', priority)
  say('deliverAt', deliverAt)
  say('traceparent', traceparent)
  return free
}

/** The published QoS is no loss: it has been respected. */
const lostOf = (message: StoredMessage, extras: Extras, version: Version): readonly Field[] => {
  const column: Column = version === 5 ? 'mqtt5' : 'mqtt3'
  const lost = losses(message, column)
  if (lost.length === 0) return lost
  const kept = message.original?.protocol === 'mqtt' && !extras.user && !extras.text
  return kept ? lost.filter((field) => field !== 'original') : lost
}
