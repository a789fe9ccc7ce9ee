import { randomBytes } from 'node:crypto'
import { type Credentials, Fault, type Limits, type Ms, type Peer } from '@sluice/core'
import { checkDevice, readSignature } from './apsara.ts'
import type { Settings } from './options.ts'
import type { Connack, Connect, Version } from './packets.ts'

/** Longest client id, in bytes. */
export const CLIENT_ID_MAX = 512
/** Deliveries that a client may leave without an answer, whatever it asks for; with 3.1.1 it cannot ask. */
export const WINDOW_MAX = 256
const WINDOW_3 = 100
/** Below it a client gets no reason strings. */
export const TEXTS_FROM = 1_024

/** What a CONNECT comes to, but for its client id. */
export interface Terms {
  readonly version: Version
  /** The id is ours. */
  readonly assigned: boolean
  readonly fresh: boolean
  readonly expiry: Ms
  /** What the client asked for, in seconds, if it got less. */
  readonly expiryAnnounced: boolean
  /** Silence after which the client is gone; 0: none. */
  readonly silence: Ms
  readonly serverKeepAlive: number | undefined
  /** Deliveries without an answer. */
  readonly window: number
  /** Bytes of a packet that the client takes. */
  readonly packetMax: number
  /** Topic aliases that it is sent. */
  readonly aliasMax: number
  /** Of enhanced authentication. */
  readonly method: string | undefined
  /** Whether acknowledgements may have reason strings [MQTT-3.1.2-29]. */
  readonly explained: boolean
}

/** Those of the last client: most have the same, and then they are one object. */
let lately: Terms | undefined

const shared = (terms: Terms): Terms => {
  for (const key of Object.keys(terms) as (keyof Terms)[]) if (lately?.[key] !== terms[key]) return (lately = terms)
  return lately ?? terms
}

/** The client's own, or one of ours. */
export const clientIdOf = ({ clientId }: Connect): string => clientId || `auto-${randomBytes(12).toString('base64url')}`

/** @throws Fault 'invalid' about 'client', 'unsupported' about 'method' */
export const toTerms = (connect: Connect, settings: Settings): Terms => {
  const { protocolVersion: version, clean, properties = {} } = connect
  const { authenticationMethod: method } = properties
  if (method !== undefined && !settings.authenticationMethods.has(method)) {
    throw new Fault('unsupported', 'no authentication method is known', { about: 'method' })
  }
  // [3.1.1: MQTT-3.1.3-8] without an id there is nothing to come back to
  if (connect.clientId === '' && version === 4 && !clean) {
    throw new Fault('invalid', 'a kept session needs a client id', { about: 'client' })
  }
  if (Buffer.byteLength(connect.clientId) > CLIENT_ID_MAX) {
    throw new Fault('invalid', `a client id has at most ${CLIENT_ID_MAX} bytes`, { about: 'client' })
  }
  if (settings.apsara) checkDevice(connect.clientId)
  const asked = version === 5 ? (properties.sessionExpiryInterval ?? 0) : clean ? 0 : settings.sessionExpiryMax
  const expiry = Math.min(asked, settings.sessionExpiryMax)
  const keepAlive = keepAliveOf(connect, settings)
  const packetMax = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
  return shared({
    version,
    assigned: connect.clientId === '',
    fresh: clean,
    expiry: expiry * 1000,
    expiryAnnounced: expiry !== asked,
    silence: keepAlive * 1_500, // [MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24] one and a half times
    serverKeepAlive: keepAlive === connect.keepalive ? undefined : keepAlive,
    window: version === 5 ? Math.min(properties.receiveMaximum ?? WINDOW_MAX, WINDOW_MAX) : WINDOW_3,
    packetMax,
    aliasMax: Math.min(properties.topicAliasMaximum ?? 0, settings.topicAliasesSent),
    method,
    explained: properties.requestProblemInformation !== false && packetMax >= TEXTS_FROM,
  })
}

const keepAliveOf = ({ protocolVersion, keepalive }: Connect, { keepAliveMax }: Settings): number =>
  protocolVersion === 5 && keepAliveMax !== undefined && (keepalive === 0 || keepalive > keepAliveMax)
    ? keepAliveMax
    : keepalive

export const toCredentials = (
  { protocolVersion, username, password, properties = {} }: Connect,
  clientId: string,
  { method }: Terms,
  { apsara }: Settings,
  peer: Peer,
  exchange: Credentials['exchange'],
): Credentials => {
  const who = { protocol: 'mqtt', client: clientId, language: '', version: protocolVersion, peer }
  if (method !== undefined && exchange) {
    const { authenticationData: secret } = properties
    const user = username === undefined ? undefined : { user: username }
    return { ...who, ...user, mechanism: method, exchange, ...(secret && { secret }) }
  }
  const signature = apsara ? readSignature(clientId, username, password) : undefined
  if (signature) return { ...who, ...signature }
  return { ...who, ...(username !== undefined && { user: username }), ...(password && { secret: password }) }
}

/** Only what is not the default [MQTT-3.2.2]. */
export const toConnack = (
  clientId: string,
  terms: Terms,
  settings: Settings,
  limits: Limits,
  existed: boolean,
  proven: Connack['properties'],
): Connack => ({
  cmd: 'connack',
  sessionPresent: existed && !terms.fresh,
  reasonCode: 0,
  returnCode: 0,
  properties: {
    ...(terms.expiryAnnounced && { sessionExpiryInterval: terms.expiry / 1000 }),
    receiveMaximum: settings.receiveMaximum,
    maximumPacketSize: limits.frameBytes,
    ...(terms.assigned && { assignedClientIdentifier: clientId }),
    ...(settings.topicAliasMaximum > 0 && { topicAliasMaximum: settings.topicAliasMaximum }),
    ...(!settings.sharedSubscriptions && { sharedSubscriptionAvailable: false }),
    ...(terms.serverKeepAlive !== undefined && { serverKeepAlive: terms.serverKeepAlive }),
    ...proven,
  },
})

/** Apart from the inboxes of other protocols. */
export const inboxOf = (clientId: string): string => `mqtt/${clientId}`
