import { randomBytes } from 'node:crypto'
import { type Credentials, Fault, type Limits, type Ms, type Peer } from '@sluice/core'
import { checkDevice, readSignature } from './apsara.ts'
import type { Connack, Connect, Version } from './packets.ts'

export interface MqttOptions {
  /** Whether `$share` is served. Default true; false for a broker behind that takes no shares. */
  readonly sharedSubscriptions?: boolean
  /** Unfinished QoS 1 and 2 publishes of a client, 1 to 65535; default 256, never above `limits.inflight`. */
  readonly receiveMaximum?: number
  /** Topic aliases of a client, 0 to 65535; default 16. */
  readonly topicAliasMaximum?: number
  /** Longest life of a session without its client, in seconds; default 7 days. */
  readonly sessionExpiryMax?: number
  /** Longest keep alive in seconds, imposed on MQTT 5 clients that ask for more or none; default: as the client asks. */
  readonly keepAliveMax?: number
  /** Topic aliases that a client is sent, if it takes as many, 0 to 65535; default 16. */
  readonly topicAliasesSent?: number
  /** Filters that nobody may subscribe to, as they are written; answered by 0x80. */
  readonly refusedFilters?: readonly string[]
  /** Methods of enhanced authentication that the process can check (`SCRAM-SHA-256`); default none. */
  readonly authenticationMethods?: readonly string[]
  /** Seconds between the messages of `$SYS`; 0: none. Default 60. */
  readonly systemSeconds?: number
  /** Client ids, credentials and topics as ApsaraMQ for MQTT has them; see docs/mqtt.md. Default false. */
  readonly apsara?: boolean
}

export interface Settings {
  readonly sharedSubscriptions: boolean
  readonly receiveMaximum: number
  readonly topicAliasMaximum: number
  readonly sessionExpiryMax: number
  readonly keepAliveMax: number | undefined
  readonly topicAliasesSent: number
  readonly refusedFilters: ReadonlySet<string>
  readonly authenticationMethods: ReadonlySet<string>
  readonly systemMs: Ms
  readonly apsara: boolean
}

export const toSettings = (options: MqttOptions, limits: Limits): Settings => ({
  sharedSubscriptions: options.sharedSubscriptions ?? true,
  receiveMaximum: Math.min(options.receiveMaximum ?? 256, limits.inflight),
  topicAliasMaximum: options.topicAliasMaximum ?? 16,
  sessionExpiryMax: options.sessionExpiryMax ?? 7 * 24 * 3600,
  keepAliveMax: options.keepAliveMax,
  topicAliasesSent: options.topicAliasesSent ?? 16,
  refusedFilters: new Set(options.refusedFilters),
  authenticationMethods: new Set(options.authenticationMethods),
  systemMs: (options.systemSeconds ?? 60) * 1000,
  apsara: options.apsara ?? false,
})

/** Longest client id, in bytes. */
export const CLIENT_ID_MAX = 512
/** Deliveries that a client may leave without an answer, whatever it asks for; with 3.1.1 it cannot ask. */
export const WINDOW_MAX = 256
const WINDOW_3 = 100
/** Below it a client gets no reason strings. */
export const TEXTS_FROM = 1_024

/** What a CONNECT comes to. */
export interface Terms {
  readonly version: Version
  readonly clientId: string
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
  return {
    version,
    clientId: connect.clientId || `auto-${randomBytes(12).toString('base64url')}`,
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
  }
}

const keepAliveOf = ({ protocolVersion, keepalive }: Connect, { keepAliveMax }: Settings): number =>
  protocolVersion === 5 && keepAliveMax !== undefined && (keepalive === 0 || keepalive > keepAliveMax)
    ? keepAliveMax
    : keepalive

export const toCredentials = (
  { protocolVersion, username, password, properties = {} }: Connect,
  { clientId, method }: Terms,
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
    ...(terms.assigned && { assignedClientIdentifier: terms.clientId }),
    ...(settings.topicAliasMaximum > 0 && { topicAliasMaximum: settings.topicAliasMaximum }),
    ...(!settings.sharedSubscriptions && { sharedSubscriptionAvailable: false }),
    ...(terms.serverKeepAlive !== undefined && { serverKeepAlive: terms.serverKeepAlive }),
    ...proven,
  },
})

/** Apart from the inboxes of other protocols. */
export const inboxOf = (clientId: string): string => `mqtt/${clientId}`
