import { Fault } from '@sluice/core'
import { Cursor, malformed, violation } from './cursor.ts'
import { ANEW, CONTINUE } from './exchange.ts'
import type { UserProperty, Version } from './packets.ts'
import { checkProperties, hasWildcard, places } from './properties.ts'

/** Most filters of one SUBSCRIBE or UNSUBSCRIBE. */
export const FILTERS_MAX = 1_024

export const types = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
  auth: 15,
} as const

/** Low four bits of a header; PUBLISH has its own [MQTT-2.1.3-1; 3.1.1: MQTT-2.2.2-1]. */
const flagsOf: Readonly<Record<number, number>> = { 1: 0, 4: 0, 5: 0, 6: 2, 7: 0, 8: 2, 10: 2, 12: 0, 14: 0, 15: 0 }
/** What a client may say when it goes. Source: MQTT 5.0 section 3.14.2.1 */
const farewells: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
])

/** What mqtt-packet would lose: the order and repeats of user properties. */
export interface Checked {
  readonly user?: readonly UserProperty[]
  readonly willUser?: readonly UserProperty[]
}

const nothing: Checked = {}

/** Whether this first byte may begin a packet of a client now. `version` undefined: before CONNECT. */
export const checkHeader = (first: number, version: Version | undefined): void => {
  const type = first >> 4
  const flags = first & 15
  // [MQTT-3.1.0-1], [MQTT-3.1.0-2]
  if (version === undefined && type !== types.connect) throw violation('the first packet is not CONNECT')
  if (version !== undefined && type === types.connect) throw violation('a second CONNECT')
  if (type === types.publish) {
    if ((flags & 6) === 6) throw malformed('QoS 3') // [MQTT-3.3.1-4]
    if ((flags & 14) === 8) throw violation('DUP with QoS 0') // [MQTT-3.3.1-2]
    return
  }
  if (type === types.auth && version !== 5) throw malformed('packet type 15')
  const expected = flagsOf[type]
  if (expected === undefined) throw type === 0 ? malformed('packet type 0') : violation('a packet of a server')
  if (flags !== expected) throw malformed('flags of the fixed header')
}

export interface Level {
  readonly name: string
  readonly level: number
}

/** The beginning of a CONNECT body: protocol name and level. */
export const readLevel = (body: Buffer): Level => {
  const cursor = new Cursor(body)
  const name = cursor.text().toString()
  if (name !== 'MQTT' && name !== 'MQIsdp') throw malformed('unknown protocol name') // [MQTT-3.1.2-1]
  return { name, level: cursor.byte() }
}

/**
 * Everything about a client's packet that mqtt-packet lets pass and the standard does not. `body`: what follows the
 * fixed header. @throws Fault 'malformed', 'limit', 'invalid' about 'topic'
 */
export const checkPacket = (first: number, body: Buffer, version: Version): Checked => {
  const cursor = new Cursor(body)
  switch (first >> 4) {
    case types.connect:
      return checkConnect(cursor, version)
    case types.publish:
      return checkPublish(cursor, (first >> 1) & 3, version)
    case types.subscribe:
      return checkSubscribe(cursor, version)
    case types.unsubscribe:
      return checkUnsubscribe(cursor, version)
    case types.pingreq:
      cursor.done()
      return nothing
    case types.disconnect:
      return checkDisconnect(cursor, version)
    case types.auth:
      return checkAuth(cursor)
    default:
      return checkAck(cursor, version)
  }
}

const checked = (user: readonly UserProperty[] | undefined): Checked => (user ? { user } : nothing)

/** name text · level u8 · flags u8 · keep alive u16 · properties (5) · client id text · [will properties (5) · topic text ·
 *  payload binary] · [user text] · [password binary] */
const checkConnect = (cursor: Cursor, version: Version): Checked => {
  cursor.text()
  cursor.byte()
  const flags = cursor.byte()
  const will = (flags & 0x04) !== 0
  const qos = (flags >> 3) & 3
  if (flags & 1) throw malformed('reserved flag of CONNECT') // [MQTT-3.1.2-3]
  if (!will && flags & 0x38) throw malformed('will QoS or retain without a will') // [MQTT-3.1.2-11, -13]
  if (qos === 3) throw malformed('will QoS 3') // [MQTT-3.1.2-12]
  // [3.1.1: MQTT-3.1.2-22]
  if (version === 4 && (flags & 0xc0) === 0x40) throw malformed('a password without a user name')
  cursor.short()
  const own = version === 5 ? checkProperties(cursor, places.connect) : undefined
  cursor.text()
  let willUser: readonly UserProperty[] | undefined
  if (will) {
    willUser = version === 5 ? checkProperties(cursor, places.will).user : undefined
    checkTopic(cursor.text())
    cursor.binary()
  }
  if (flags & 0x80) cursor.text()
  if (flags & 0x40) cursor.binary()
  cursor.done()
  return { ...checked(own?.user), ...(willUser && { willUser }) }
}

const checkTopic = (topic: Buffer): void => {
  if (topic.length === 0) throw new Fault('malformed', 'topic is empty', { about: 'topic' }) // [MQTT-4.7.3-1]
  // [MQTT-3.3.2-2]
  if (hasWildcard(topic)) throw new Fault('malformed', 'topic has a wildcard', { about: 'topic' })
}

/** topic text · packet id u16 (QoS 1, 2) · properties (5) · payload */
const checkPublish = (cursor: Cursor, qos: number, version: Version): Checked => {
  const topic = cursor.text()
  if (qos > 0) checkId(cursor)
  if (version === 4) {
    checkTopic(topic)
    return nothing
  }
  const { user, alias } = checkProperties(cursor, places.publish)
  if (topic.length === 0 && !alias) throw violation('neither a topic nor an alias')
  if (topic.length > 0) checkTopic(topic)
  return checked(user)
}

/** [MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-1] */
const checkId = (cursor: Cursor): void => {
  if (cursor.short() === 0) throw violation('packet id 0')
}

const SHARE = Buffer.from('$share/')

/** packet id u16 · properties (5) · at least one of: filter text · options u8 */
const checkSubscribe = (cursor: Cursor, version: Version): Checked => {
  checkId(cursor)
  const user = version === 5 ? checkProperties(cursor, places.subscribe).user : undefined
  if (cursor.left === 0) throw violation('SUBSCRIBE without a filter') // [MQTT-3.8.3-2]
  for (let count = 0; cursor.left > 0; ) {
    if (++count > FILTERS_MAX) throw new Fault('limit', `over ${FILTERS_MAX} filters in a packet`)
    const filter = cursor.text()
    const options = cursor.byte()
    if (options & (version === 5 ? 0xc0 : 0xfc)) throw malformed('reserved subscription options') // [MQTT-3.8.3-5]
    if ((options & 3) === 3) throw malformed('QoS 3')
    if ((options & 0x30) === 0x30) throw violation('retain handling 3')
    // [MQTT-3.8.3-4]
    if (options & 4 && filter.subarray(0, SHARE.length).equals(SHARE)) throw violation('No Local on a shared filter')
  }
  return checked(user)
}

/** packet id u16 · properties (5) · at least one filter text */
const checkUnsubscribe = (cursor: Cursor, version: Version): Checked => {
  checkId(cursor)
  const user = version === 5 ? checkProperties(cursor, places.unsubscribe).user : undefined
  if (cursor.left === 0) throw violation('UNSUBSCRIBE without a filter') // [MQTT-3.10.3-2]
  for (let count = 0; cursor.left > 0; cursor.text()) {
    if (++count > FILTERS_MAX) throw new Fault('limit', `over ${FILTERS_MAX} filters in a packet`)
  }
  return checked(user)
}

/** packet id u16 · [reason u8 · [properties]] (5) */
const checkAck = (cursor: Cursor, version: Version): Checked => {
  checkId(cursor)
  let user: readonly UserProperty[] | undefined
  if (version === 5 && cursor.left > 0) {
    cursor.byte()
    if (cursor.left > 0) user = checkProperties(cursor, places.ack).user
  }
  cursor.done()
  return checked(user)
}

/** [reason u8 · [properties]] (5) */
const checkDisconnect = (cursor: Cursor, version: Version): Checked => {
  let user: readonly UserProperty[] | undefined
  if (version === 5 && cursor.left > 0) {
    if (!farewells.has(cursor.byte())) throw violation('a reason that is not a client’s')
    if (cursor.left > 0) user = checkProperties(cursor, places.disconnect).user
  }
  cursor.done()
  return checked(user)
}

/** reason u8 · properties, or nothing at all for success, which only a server says. Source: MQTT 5.0 section 3.15.2 */
const checkAuth = (cursor: Cursor): Checked => {
  if (cursor.left === 0) throw violation('an AUTH of a server')
  const reason = cursor.byte()
  if (reason !== CONTINUE && reason !== ANEW) throw violation('a reason that is not a client’s')
  const { user } = checkProperties(cursor, places.auth)
  cursor.done()
  return checked(user)
}
