import type { Fault, FaultCode } from '@sluice/core'
import type { Connack, Disconnect } from './packets.ts'

interface Reason {
  /** PUBACK and PUBREC of MQTT 5; absent: nothing may be said, the connection ends and the client sends again. */
  readonly puback?: number
  /** SUBACK of MQTT 5; 3.1.1 has 0x80 for all of them. */
  readonly suback: number
  /** UNSUBACK of MQTT 5, where it lacks the code of SUBACK. */
  readonly unsuback?: number
  /**
   * CONNACK of MQTT 5 and of 3.1.1. Absent: the connection ends without one. A refusing CONNACK keeps some clients from
   * ever coming back, so nothing that passes is said with it.
   */
  readonly connack?: number
  readonly connack3?: number
  readonly disconnect: number
  /** It passes: a client of 3.1.1, which has no word for a refused PUBLISH, is to send it again on a new connection. */
  readonly passing: boolean
}

/** Source: MQTT 5.0 section 2.4 and the reason codes of each packet; MQTT 3.1.1 section 3.2.2.3 */
export const reasons = {
  malformed: { puback: 0x83, suback: 0x80, connack: 0x81, disconnect: 0x81, passing: false },
  tooLarge: { puback: 0x97, suback: 0x97, unsuback: 0x83, connack: 0x95, disconnect: 0x95, passing: false },
  unsupported: { puback: 0x83, suback: 0x83, connack: 0x83, connack3: 3, disconnect: 0x83, passing: false },
  unauthenticated: { puback: 0x87, suback: 0x87, connack: 0x86, connack3: 4, disconnect: 0x87, passing: false },
  forbidden: { puback: 0x87, suback: 0x87, connack: 0x87, connack3: 5, disconnect: 0x87, passing: false },
  invalid: { puback: 0x83, suback: 0x80, connack: 0x83, connack3: 3, disconnect: 0x83, passing: false },
  topicNotFound: { puback: 0x90, suback: 0x8f, connack: 0x90, connack3: 3, disconnect: 0x90, passing: false },
  groupNotFound: { puback: 0x83, suback: 0x83, connack: 0x83, connack3: 3, disconnect: 0x83, passing: false },
  receiptExpired: { puback: 0x83, suback: 0x80, connack: 0x83, connack3: 3, disconnect: 0x83, passing: false },
  notFound: { puback: 0x83, suback: 0x80, connack: 0x83, connack3: 3, disconnect: 0x83, passing: false },
  conflict: { suback: 0x80, disconnect: 0x8e, passing: true },
  limit: { puback: 0x97, suback: 0x97, unsuback: 0x83, disconnect: 0x97, passing: false },
  throttled: { puback: 0x97, suback: 0x97, unsuback: 0x83, disconnect: 0x96, passing: true },
  busy: { puback: 0x83, suback: 0x83, disconnect: 0x89, passing: true },
  circuitOpen: { puback: 0x83, suback: 0x83, disconnect: 0x89, passing: true },
  unavailable: { puback: 0x83, suback: 0x83, disconnect: 0x89, passing: true },
  draining: { puback: 0x83, suback: 0x83, disconnect: 0x8b, passing: true },
  outcomeUnknown: { suback: 0x80, disconnect: 0x89, passing: true },
  internal: { puback: 0x80, suback: 0x80, disconnect: 0x80, passing: true },
} as const satisfies Record<FaultCode, Reason>

/** Where `about` says more: `code about`. */
export const details = {
  'malformed protocol': { connack: 0x82, disconnect: 0x82 },
  'malformed topic': { connack: 0x90, disconnect: 0x90 },
  'malformed alias': { disconnect: 0x94 },
  'invalid topic': { puback: 0x90, connack: 0x90, disconnect: 0x90 },
  'invalid pattern': { suback: 0x8f },
  'invalid payload': { puback: 0x99, connack: 0x99 },
  'invalid client': { connack: 0x85, connack3: 2 },
  'unsupported version': { connack: 0x84, connack3: 1 },
  'unsupported method': { connack: 0x8c },
  'forbidden filter': { suback: 0x80 },
  'unsupported share': { suback: 0x9e, unsuback: 0x83 },
  'limit receive': { disconnect: 0x93 },
  'unavailable silence': { disconnect: 0x8d },
  'unavailable administrator': { disconnect: 0x98 },
} as const satisfies Partial<Record<`${FaultCode} ${string}`, Partial<Reason>>>

export const SUCCESS = 0
/** Stored nowhere: the one client that it is for has no session. */
export const NO_SUBSCRIBERS = 0x10
export const NO_SUBSCRIPTION = 0x11
export const ID_UNKNOWN = 0x92
/** The one word of SUBACK in MQTT 3.1.1. */
export const SUBACK_REFUSED = 0x80
/** Longest reason string, in characters. */
const TEXT_MAX = 200

export const reasonOf = ({ code, about }: Fault): Reason => {
  const detail: Partial<Reason> | undefined = (details as Record<string, Partial<Reason>>)[`${code} ${about}`]
  return detail ? { ...reasons[code], ...detail } : reasons[code]
}

/** What may be said of it. The message of an internal fault stays here. */
export const described = (fault: Fault): { readonly properties?: { readonly reasonString: string } } =>
  fault.code === 'internal' ? {} : { properties: { reasonString: fault.message.slice(0, TEXT_MAX).toWellFormed() } }

/** undefined: the connection ends without a CONNACK. */
export const refusal = (fault: Fault): Connack | undefined => {
  const { connack, connack3 } = reasonOf(fault)
  if (connack === undefined && connack3 === undefined) return undefined
  return {
    cmd: 'connack',
    sessionPresent: false, // [MQTT-3.2.2-6; 3.1.1: MQTT-3.2.2-4]
    ...(connack !== undefined && { reasonCode: connack }),
    ...(connack3 !== undefined && { returnCode: connack3 }),
    ...described(fault),
  }
}

const USE_ANOTHER = 0x9c

/** MQTT 5 only; the codec sends nothing to others. `elsewhere`: where the client may go, `host[:port]` with blanks between. */
export const dismissal = (fault: Fault, elsewhere?: string): Disconnect => {
  const said = described(fault)
  if (elsewhere === undefined) return { cmd: 'disconnect', reasonCode: reasonOf(fault).disconnect, ...said }
  const properties = { ...said.properties, serverReference: elsewhere }
  return { cmd: 'disconnect', reasonCode: USE_ANOTHER, properties }
}
