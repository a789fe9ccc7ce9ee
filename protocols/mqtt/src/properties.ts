import { Fault } from '@sluice/core'
import { Cursor, malformed, violation } from './cursor.ts'
import type { UserProperty } from './packets.ts'

/** Where a client may put a property. */
export const places = {
  connect: 1,
  will: 2,
  publish: 4,
  ack: 8,
  subscribe: 16,
  unsubscribe: 32,
  disconnect: 64,
  auth: 128,
} as const
type Place = (typeof places)[keyof typeof places]

/** Most user properties of one packet. */
export const USER_PROPERTIES_MAX = 1_024

type Kind = 'flag' | 'short' | 'long' | 'variable' | 'text' | 'topic' | 'binary' | 'pair'

interface Property {
  readonly name: string
  readonly kind: Kind
  /** Or-ed places; 0: a server's word. */
  readonly in: number
  /** Zero is a protocol error. */
  readonly positive?: true
}

const { connect, will, publish, ack, subscribe, unsubscribe, disconnect, auth } = places
const message = publish | will

/** Source: MQTT 5.0 section 2.2.2.2 */
const properties: Readonly<Record<number, Property>> = {
  1: { name: 'Payload Format Indicator', kind: 'flag', in: message },
  2: { name: 'Message Expiry Interval', kind: 'long', in: message },
  3: { name: 'Content Type', kind: 'text', in: message },
  8: { name: 'Response Topic', kind: 'topic', in: message },
  9: { name: 'Correlation Data', kind: 'binary', in: message },
  11: { name: 'Subscription Identifier', kind: 'variable', in: subscribe, positive: true },
  17: { name: 'Session Expiry Interval', kind: 'long', in: connect | disconnect },
  18: { name: 'Assigned Client Identifier', kind: 'text', in: 0 },
  19: { name: 'Server Keep Alive', kind: 'short', in: 0 },
  21: { name: 'Authentication Method', kind: 'text', in: connect | auth },
  22: { name: 'Authentication Data', kind: 'binary', in: connect | auth },
  23: { name: 'Request Problem Information', kind: 'flag', in: connect },
  24: { name: 'Will Delay Interval', kind: 'long', in: will },
  25: { name: 'Request Response Information', kind: 'flag', in: connect },
  26: { name: 'Response Information', kind: 'text', in: 0 },
  28: { name: 'Server Reference', kind: 'text', in: 0 },
  31: { name: 'Reason String', kind: 'text', in: ack | disconnect | auth },
  33: { name: 'Receive Maximum', kind: 'short', in: connect, positive: true },
  34: { name: 'Topic Alias Maximum', kind: 'short', in: connect },
  35: { name: 'Topic Alias', kind: 'short', in: publish },
  36: { name: 'Maximum QoS', kind: 'flag', in: 0 },
  37: { name: 'Retain Available', kind: 'flag', in: 0 },
  38: {
    name: 'User Property',
    kind: 'pair',
    in: connect | message | ack | subscribe | unsubscribe | disconnect | auth,
  },
  39: { name: 'Maximum Packet Size', kind: 'long', in: connect, positive: true },
  40: { name: 'Wildcard Subscription Available', kind: 'flag', in: 0 },
  41: { name: 'Subscription Identifiers Available', kind: 'flag', in: 0 },
  42: { name: 'Shared Subscription Available', kind: 'flag', in: 0 },
}
const AUTHENTICATION_METHOD = 21
const AUTHENTICATION_DATA = 22
const TOPIC_ALIAS = 35

export interface CheckedProperties {
  readonly user?: readonly UserProperty[]
  readonly alias: boolean
}

const nothing: CheckedProperties = { alias: false }

/**
 * variable length, then that many bytes of: id u8 · value
 * @throws Fault 'malformed' (about 'protocol': known but not here, twice, or zero), 'limit' for too many user properties
 */
export const checkProperties = (packet: Cursor, place: Place): CheckedProperties => {
  const length = packet.variable()
  if (length === 0) return nothing
  const cursor = new Cursor(packet.take(length))
  const seen = new Set<number>()
  const user: UserProperty[] = []
  while (cursor.left > 0) {
    const id = cursor.byte()
    const property = properties[id]
    if (!property) throw malformed('unknown property')
    if ((property.in & place) === 0) throw violation(`${property.name} has no place here`)
    if (property.kind === 'pair') {
      if (user.length >= USER_PROPERTIES_MAX) throw new Fault('limit', `over ${USER_PROPERTIES_MAX} user properties`)
      user.push([cursor.text().toString(), cursor.text().toString()])
      continue
    }
    if (seen.has(id)) throw violation(`${property.name} is given twice`)
    seen.add(id)
    checkValue(cursor, property)
  }
  if (seen.has(AUTHENTICATION_DATA) && !seen.has(AUTHENTICATION_METHOD)) {
    throw violation('Authentication Data without a method')
  }
  return { alias: seen.has(TOPIC_ALIAS), ...(user.length > 0 && { user }) }
}

const checkValue = (cursor: Cursor, { name, kind, positive }: Property): void => {
  switch (kind) {
    case 'flag':
      if (cursor.byte() > 1) throw violation(`${name} is neither 0 nor 1`)
      return
    case 'short':
    case 'long':
    case 'variable':
      if (cursor[kind]() === 0 && positive) throw violation(`${name} is 0`)
      return
    case 'text':
      cursor.text()
      return
    case 'topic': {
      // [MQTT-3.3.2-14] a response topic has no wildcards
      const topic = cursor.text()
      if (topic.length === 0 || hasWildcard(topic)) throw violation(`${name} is no topic name`)
      return
    }
    case 'binary':
      cursor.binary()
      return
    case 'pair':
      return
  }
}

export const hasWildcard = (topic: Buffer): boolean => topic.includes(0x23) || topic.includes(0x2b)
