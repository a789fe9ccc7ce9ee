import { checkOptions, type Limits, type Ms, type OptionKinds } from '@sluice/core'

export interface MqttOptions {
  /** Whether `$share` is served. Default true; false for a broker behind that takes no shares. */
  readonly sharedSubscriptions?: boolean
  /**
   * Unfinished QoS 1 and 2 publishes of a client, 1 to 65535; default `limits.inflight`, and never above it: so many of a
   * connection are worked on, what comes beyond waits. Clients that publish without counting (MQTT.js) are not ended for it.
   */
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

const kinds: OptionKinds<MqttOptions> = {
  sharedSubscriptions: { kind: 'boolean' },
  receiveMaximum: { kind: 'integer', min: 1, max: 65_535 },
  topicAliasMaximum: { kind: 'integer', min: 0, max: 65_535 },
  sessionExpiryMax: { kind: 'integer', min: 0, max: 0xffff_fffe },
  keepAliveMax: { kind: 'integer', min: 1, max: 65_535 },
  topicAliasesSent: { kind: 'integer', min: 0, max: 65_535 },
  refusedFilters: { kind: 'texts' },
  authenticationMethods: { kind: 'texts' },
  systemSeconds: { kind: 'integer', min: 0, max: 86_400 },
  apsara: { kind: 'boolean' },
}

/** @throws Fault 'invalid' about the option that is unknown or out of its bounds */
export const checkMqttOptions = (options: MqttOptions): MqttOptions => checkOptions(options, kinds)

export const toSettings = (options: MqttOptions, limits: Limits): Settings => ({
  sharedSubscriptions: options.sharedSubscriptions ?? true,
  receiveMaximum: Math.min(options.receiveMaximum ?? limits.inflight, limits.inflight),
  topicAliasMaximum: options.topicAliasMaximum ?? 16,
  sessionExpiryMax: options.sessionExpiryMax ?? 7 * 24 * 3600,
  keepAliveMax: options.keepAliveMax,
  topicAliasesSent: options.topicAliasesSent ?? 16,
  refusedFilters: new Set(options.refusedFilters),
  authenticationMethods: new Set(options.authenticationMethods),
  systemMs: (options.systemSeconds ?? 60) * 1000,
  apsara: options.apsara ?? false,
})
