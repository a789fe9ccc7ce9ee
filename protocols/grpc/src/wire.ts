import { type EpochMs, Fault, type Ms } from '@sluice/core'

/**
 * Messages of proto/messaging.proto as they are read and written: names as on the wire, enums as their names (a number
 * when the value is unknown), 64-bit numbers as decimal text beyond 2^53, what is absent left out; lists and maps are
 * always there on the way in.
 */
export interface Resource {
  readonly resource_namespace?: string
  readonly name?: string
}

export interface Endpoints {
  readonly scheme?: string
  readonly addresses: readonly { readonly host?: string; readonly port?: number }[]
}

/** Seconds of 2^53 ms and nanoseconds. */
export interface Span {
  readonly seconds?: string | number
  readonly nanos?: number
}

export interface Status {
  readonly code: number
  readonly message: string
}

export interface MessageQueue {
  readonly topic?: Resource
  readonly id?: number
  readonly permission?: string
  readonly broker?: { readonly name?: string; readonly id?: number; readonly endpoints?: Endpoints }
  readonly accept_message_types: readonly string[]
}

export interface SystemProperties {
  readonly tag?: string
  readonly keys: readonly string[]
  readonly message_id?: string
  readonly body_digest?: { readonly type: string; readonly checksum: string }
  readonly body_encoding?: string | number
  readonly message_type?: string | number
  readonly born_timestamp?: Span
  readonly born_host?: string
  readonly store_timestamp?: Span
  readonly store_host?: string
  readonly delivery_timestamp?: Span
  readonly receipt_handle?: string
  readonly queue_id?: number
  readonly queue_offset?: string | number
  readonly delivery_attempt?: number
  readonly message_group?: string
  readonly trace_context?: string
  readonly orphaned_transaction_recovery_duration?: Span
  readonly lite_topic?: string
  readonly priority?: number
}

export interface WireMessage {
  readonly topic?: Resource
  readonly user_properties: Readonly<Record<string, string>>
  readonly system_properties?: SystemProperties
  readonly body?: Buffer
}

export interface FilterExpression {
  readonly type?: string | number
  readonly expression?: string
}

export interface Publishing {
  readonly topics: readonly Resource[]
  readonly max_body_size?: number
  readonly validate_message_type?: boolean
}

export interface Subscription {
  readonly group?: Resource
  readonly subscriptions: readonly { readonly topic?: Resource; readonly expression?: FilterExpression }[]
  readonly fifo?: boolean
  readonly receive_batch_size?: number
  readonly long_polling_timeout?: Span
  readonly lite_subscription_quota?: number
  readonly max_lite_topic_size?: number
}

export interface RetryPolicy {
  readonly max_attempts: number
  readonly exponential_backoff?: { readonly initial: Span; readonly max: Span; readonly multiplier: number }
  readonly customized_backoff?: { readonly next: readonly Span[] }
}

export interface Settings {
  readonly client_type?: string | number
  readonly access_point?: Endpoints
  readonly backoff_policy?: RetryPolicy
  readonly request_timeout?: Span
  readonly publishing?: Publishing
  readonly subscription?: Subscription
  readonly user_agent?: { readonly language?: string | number }
  readonly metric?: { readonly on: boolean }
}

/** Of `command` one is set, or none. What is asked by a nonce is answered by the same. */
export interface TelemetryCommand {
  readonly status?: Status
  readonly settings?: Settings
  // Answers of the client:
  readonly thread_stack_trace?: { readonly nonce?: string; readonly thread_stack_trace?: string }
  readonly verify_message_result?: { readonly nonce?: string }
  // Commands to the client; Node answers the second by itself:
  readonly recover_orphaned_transaction_command?: { readonly message: WireMessage; readonly transaction_id: string }
  readonly verify_message_command?: { readonly nonce?: string; readonly message?: WireMessage }
  readonly print_thread_stack_trace_command?: { readonly nonce: string }
  readonly reconnect_endpoints_command?: { readonly nonce: string }
  readonly notify_unsubscribe_lite_command?: { readonly lite_topic: string }
}

export interface QueryRouteRequest {
  readonly topic?: Resource
  readonly endpoints?: Endpoints
}

export interface QueryAssignmentRequest extends QueryRouteRequest {
  readonly group?: Resource
}

export interface HeartbeatRequest {
  readonly group?: Resource
  readonly client_type?: string | number
}

export interface SendMessageRequest {
  readonly messages: readonly WireMessage[]
}

export interface SendResultEntry {
  readonly status: Status
  readonly message_id: string
  readonly offset: number
  readonly transaction_id?: string
  readonly recall_handle?: string
}

export interface ReceiveMessageRequest {
  readonly group?: Resource
  readonly message_queue?: MessageQueue
  readonly filter_expression?: FilterExpression
  readonly batch_size?: number
  readonly invisible_duration?: Span
  readonly auto_renew?: boolean
  readonly long_polling_timeout?: Span
  readonly attempt_id?: string
}

export interface ReceiveMessageResponse {
  readonly status?: Status
  readonly message?: WireMessage
  readonly delivery_timestamp?: Span
}

export interface AckMessageRequest {
  readonly group?: Resource
  readonly topic?: Resource
  readonly entries: readonly { readonly message_id?: string; readonly receipt_handle?: string }[]
}

export interface ChangeInvisibleDurationRequest {
  readonly group?: Resource
  readonly topic?: Resource
  readonly receipt_handle?: string
  readonly invisible_duration?: Span
  readonly message_id?: string
  readonly suspend?: boolean
}

export interface ForwardToDeadLetterRequest {
  readonly group?: Resource
  readonly topic?: Resource
  readonly receipt_handle?: string
  readonly message_id?: string
}

export interface EndTransactionRequest {
  readonly topic?: Resource
  readonly message_id?: string
  readonly transaction_id?: string
  readonly resolution?: string | number
  readonly source?: string | number
}

export interface RecallMessageRequest {
  readonly topic?: Resource
  readonly recall_handle?: string
}

export interface PullMessageRequest {
  readonly group?: Resource
  readonly message_queue?: MessageQueue
  readonly offset?: string | number
  readonly batch_size?: number
  readonly filter_expression?: FilterExpression
  readonly long_polling_timeout?: Span
}

export interface PullMessageResponse {
  readonly status?: Status
  readonly message?: WireMessage
  readonly next_offset?: number
}

export interface OffsetRequest {
  readonly group?: Resource
  readonly message_queue?: MessageQueue
  readonly offset?: string | number
  readonly query_offset_policy?: string | number
  readonly timestamp?: Span
}

export interface SyncLiteSubscriptionRequest {
  readonly action?: string | number
  readonly topic?: Resource
  readonly group?: Resource
  readonly lite_topic_set: readonly string[]
  readonly offset_option?: {
    readonly policy?: string | number
    readonly offset?: string | number
    readonly tail_n?: string | number
    readonly timestamp?: string | number
  }
}

/** A 64-bit number that a `number` holds exactly. @throws Fault 'invalid' beyond 2^53 - 1 */
export const exact = (value: string | number | undefined, about: string): number => {
  const number = Number(value ?? 0)
  if (!Number.isSafeInteger(number)) throw new Fault('invalid', `${about} is beyond 2^53`, { about })
  return number
}

/** Duration or Timestamp → ms, whole. @throws Fault 'invalid' when that is beyond 2^53 - 1 */
export const toMs = (span: Span, about: string): Ms => {
  const ms = exact(span.seconds, about) * 1_000 + Math.floor((span.nanos ?? 0) / 1_000_000)
  return exact(ms, about)
}

export const fromMs = (ms: Ms | EpochMs): Span => {
  const seconds = Math.floor(ms / 1_000)
  return { seconds, nanos: Math.round((ms - seconds * 1_000) * 1_000_000) }
}
