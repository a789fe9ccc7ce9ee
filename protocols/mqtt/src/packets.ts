import type { Fault } from '@sluice/core'

/**
 * MQTT control packets as the codec gives and takes them. Those of a client are what mqtt-packet makes of bytes that
 * checks.ts has let through, save that user properties are pairs: their order and repeats matter [MQTT-3.3.2-17, -18].
 */
export type Version = 4 | 5
export type QoS = 0 | 1 | 2
export type UserProperty = readonly [name: string, value: string]

interface Described {
  readonly reasonString?: string
  readonly userProperties?: readonly UserProperty[]
}

/** What a message says about itself: in PUBLISH and in the will of a CONNECT. */
export interface MessageProperties {
  readonly payloadFormatIndicator?: boolean
  /** Seconds. */
  readonly messageExpiryInterval?: number
  readonly contentType?: string
  readonly responseTopic?: string
  readonly correlationData?: Buffer
  readonly userProperties?: readonly UserProperty[]
}

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  readonly properties?: MessageProperties & { readonly willDelayInterval?: number }
}

export interface Connect {
  readonly cmd: 'connect'
  readonly protocolVersion: Version
  readonly clean: boolean
  /** Seconds; 0: none. */
  readonly keepalive: number
  readonly clientId: string
  readonly username?: string
  readonly password?: Buffer
  readonly will?: Will
  readonly properties?: {
    /** Seconds; 0xffffffff: for ever. */
    readonly sessionExpiryInterval?: number
    readonly receiveMaximum?: number
    readonly maximumPacketSize?: number
    readonly topicAliasMaximum?: number
    readonly requestResponseInformation?: boolean
    readonly requestProblemInformation?: boolean
    readonly authenticationMethod?: string
    readonly authenticationData?: Buffer
    readonly userProperties?: readonly UserProperty[]
  }
}

export interface Publish {
  readonly cmd: 'publish'
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly dup: boolean
  readonly retain: boolean
  /** With QoS 1 and 2 only. */
  readonly messageId?: number
  readonly properties?: MessageProperties & {
    readonly topicAlias?: number
    /** Towards clients only. */
    readonly subscriptionIdentifier?: readonly number[]
  }
}

export interface Ack {
  readonly cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
  readonly messageId: number
  /** Absent: 0. */
  readonly reasonCode?: number
  readonly properties?: Described
}

export interface Subscription {
  readonly topic: string
  readonly qos: QoS
  /** No Local, Retain As Published, Retain Handling: MQTT 5. */
  readonly nl?: boolean
  readonly rap?: boolean
  readonly rh?: number
}

export interface Subscribe {
  readonly cmd: 'subscribe'
  readonly messageId: number
  readonly subscriptions: readonly Subscription[]
  readonly properties?: { readonly subscriptionIdentifier?: number; readonly userProperties?: readonly UserProperty[] }
}

export interface Unsubscribe {
  readonly cmd: 'unsubscribe'
  readonly messageId: number
  readonly unsubscriptions: readonly string[]
}

export interface Pingreq {
  readonly cmd: 'pingreq'
}

export interface Disconnect {
  readonly cmd: 'disconnect'
  readonly reasonCode?: number
  readonly properties?: Described & { readonly sessionExpiryInterval?: number; readonly serverReference?: string }
}

/** Enhanced authentication, either way; MQTT 5. */
export interface Auth {
  readonly cmd: 'auth'
  /** Absent: 0. */
  readonly reasonCode?: number
  readonly properties?: Described & {
    readonly authenticationMethod?: string
    readonly authenticationData?: Buffer
  }
}

/** Both versions' words for one answer; the codec writes the one that the client's version has. */
export interface Connack {
  readonly cmd: 'connack'
  readonly sessionPresent: boolean
  /** MQTT 5. */
  readonly reasonCode?: number
  /** MQTT 3.1.1. */
  readonly returnCode?: number
  readonly properties?: Described & {
    readonly sessionExpiryInterval?: number
    readonly receiveMaximum?: number
    readonly retainAvailable?: boolean
    readonly maximumPacketSize?: number
    readonly assignedClientIdentifier?: string
    readonly topicAliasMaximum?: number
    readonly sharedSubscriptionAvailable?: boolean
    readonly serverKeepAlive?: number
    readonly authenticationMethod?: string
    readonly authenticationData?: Buffer
  }
}

/** One code a filter, in the client's order. UNSUBACK of MQTT 3.1.1 leaves them out. */
export interface Granted {
  readonly cmd: 'suback' | 'unsuback'
  readonly messageId: number
  readonly granted: readonly number[]
  readonly properties?: Described
}

export interface Pingresp {
  readonly cmd: 'pingresp'
}

/** A packet whose bytes are there already: the same for every reader of its kind. */
export interface Encoded {
  readonly cmd: 'encoded'
  readonly bytes: readonly Buffer[]
}

/** Acknowledgements that leave one behind the other. */
export interface Acks {
  readonly cmd: 'acks'
  readonly acks: readonly Ack[]
}

/** A CONNECT that is none, in whose version it can be refused. */
export interface Rejected {
  readonly cmd: 'rejected'
  readonly version: Version
  readonly fault: Fault
}

export type Inbound = Connect | Publish | Ack | Subscribe | Unsubscribe | Pingreq | Disconnect | Auth
export type Outbound = Connack | Publish | Ack | Granted | Pingresp | Disconnect | Auth | Encoded | Acks

/** A packet to a client of this version. */
export interface Sent {
  readonly version: Version
  readonly packet: Outbound
}

export type Frame = Inbound | Rejected | Sent
