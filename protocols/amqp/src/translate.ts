import { type Delivered, type EpochMs, Fault, inflate, joinPath, names, type Outcome, tellsBirth } from '@sluice/core'
import { writeHead } from './message.ts'
import { PROTOCOL, unpackOriginal } from './original.ts'
import type { Composite, CompositeOf } from './shapes.ts'
import { DELIVERY_TIME } from './toMessage.ts'
import { type Described, type MapValue, mapOf, symbol } from './types/values.ts'

export { PROTOCOL } from './original.ts'
export { type Published, toMessage } from './toMessage.ts'

// ── Delivered → consumer ──────────────────────────────────────────────────────────────────────────

/** The message as bytes in a row, its body as it stands. */
export const toPayload = ({ message, attempt }: Delivered, now: EpochMs): readonly Buffer[] => {
  const { original, deliverAt } = message
  const header = headerOf(message, attempt, now)
  if (original?.protocol === PROTOCOL) {
    const parts = unpackOriginal(original.bytes, message.body)
    if (parts) return [header, ...parts]
  }
  const { body, encoding } = plainOf(message)
  const annotations = deliverAt === undefined ? undefined : deliveryTime(deliverAt)
  const head = writeHead({
    header,
    ...(annotations && { annotations }),
    properties: propertiesOf(message, encoding),
    application: applicationOf(message),
    data: body.length,
  })
  return body.length === 0 ? [head] : [head, body]
}

const headerOf = ({ priority, expiresAt }: Delivered['message'], attempt: number, now: EpochMs): Buffer => {
  if (priority === undefined && expiresAt === undefined && attempt === 1) return usualHeader
  const ttl = expiresAt === undefined ? undefined : Math.min(Math.max(0, expiresAt - now), 0xffff_ffff)
  const header = { type: 'header', durable: true, priority, ttl, firstAcquirer: attempt === 1 } as const
  return writeHead({ header: { ...header, deliveryCount: attempt - 1 } })
}

/** Of what comes for the first time and says neither priority nor expiry. */
const usualHeader = writeHead({ header: { type: 'header', durable: true, firstAcquirer: true, deliveryCount: 0 } })

const deliveryTime = (at: EpochMs): MapValue => mapOf([[symbol(DELIVERY_TIME), { type: 'timestamp', value: at }]])

const propertiesOf = (
  message: Delivered['message'],
  contentEncoding: string | undefined,
): CompositeOf<'properties'> => ({
  type: 'properties',
  messageId: message.id,
  subject: message.tag,
  replyTo: message.replyTo,
  correlationId: message.correlationId,
  contentType: ascii(message.contentType),
  contentEncoding,
  absoluteExpiryTime: message.expiresAt,
  creationTime: message.bornAt,
  groupId: message.group,
})

/** An AMQP application undoes what an AMQP application did. A RocketMQ client packs by itself, and nobody here would unpack it. */
const plainOf = (message: Delivered['message']) => (message.via === PROTOCOL ? message : inflate(message))

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
