import { Fault, type FaultCode, type Stored } from '@sluice/core'
import type { Status } from './wire.ts'

/**
 * Codes of `Status`, the word of the protocol for success and failure: it travels in the payload of an answer whose
 * gRPC status is OK. A gRPC UNAVAILABLE would make Go clients drop the whole connection with all its streams.
 */
export const codes = {
  OK: 20000,
  MULTIPLE_RESULTS: 30000,
  BAD_REQUEST: 40000,
  ILLEGAL_TOPIC: 40002,
  ILLEGAL_CONSUMER_GROUP: 40003,
  ILLEGAL_MESSAGE_TAG: 40004,
  ILLEGAL_MESSAGE_KEY: 40005,
  ILLEGAL_MESSAGE_GROUP: 40006,
  ILLEGAL_MESSAGE_PROPERTY_KEY: 40007,
  INVALID_TRANSACTION_ID: 40008,
  ILLEGAL_MESSAGE_ID: 40009,
  ILLEGAL_FILTER_EXPRESSION: 40010,
  ILLEGAL_INVISIBLE_TIME: 40011,
  ILLEGAL_DELIVERY_TIME: 40012,
  INVALID_RECEIPT_HANDLE: 40013,
  MESSAGE_PROPERTY_CONFLICT_WITH_TYPE: 40014,
  UNRECOGNIZED_CLIENT_TYPE: 40015,
  MESSAGE_CORRUPTED: 40016,
  CLIENT_ID_REQUIRED: 40017,
  ILLEGAL_POLLING_TIME: 40018,
  ILLEGAL_OFFSET: 40019,
  ILLEGAL_LITE_TOPIC: 40020,
  UNAUTHORIZED: 40100,
  FORBIDDEN: 40300,
  NOT_FOUND: 40400,
  MESSAGE_NOT_FOUND: 40401,
  TOPIC_NOT_FOUND: 40402,
  CONSUMER_GROUP_NOT_FOUND: 40403,
  OFFSET_NOT_FOUND: 40404,
  MESSAGE_BODY_TOO_LARGE: 41301,
  MESSAGE_BODY_EMPTY: 41302,
  PRECONDITION_FAILED: 42800,
  TOO_MANY_REQUESTS: 42900,
  LITE_TOPIC_QUOTA_EXCEEDED: 42901,
  LITE_SUBSCRIPTION_QUOTA_EXCEEDED: 42902,
  MESSAGE_PROPERTIES_TOO_LARGE: 43101,
  INTERNAL_SERVER_ERROR: 50001,
  HA_NOT_AVAILABLE: 50002,
  NOT_IMPLEMENTED: 50100,
  PROXY_TIMEOUT: 50400,
  MASTER_PERSISTENCE_TIMEOUT: 50401,
  SLAVE_PERSISTENCE_TIMEOUT: 50402,
} as const

type Name = keyof typeof codes

/** `about`: what the fault names decides, where clients tell these apart. */
interface Reason {
  readonly code: Name
  readonly about?: Readonly<Record<string, Name>>
}

/**
 * What clients do with them: TOO_MANY_REQUESTS makes most back off, INVALID_RECEIPT_HANDLE is the only one that ends
 * the acknowledging of a push consumer, everything else is tried again by producers at once, up to three times.
 */
export const reasons = {
  malformed: { code: 'BAD_REQUEST', about: { message: 'MESSAGE_CORRUPTED', client: 'CLIENT_ID_REQUIRED' } },
  tooLarge: {
    code: 'MESSAGE_BODY_TOO_LARGE',
    about: { properties: 'MESSAGE_PROPERTIES_TOO_LARGE' },
  },
  unsupported: { code: 'NOT_IMPLEMENTED', about: { clientType: 'UNRECOGNIZED_CLIENT_TYPE' } },
  unauthenticated: { code: 'UNAUTHORIZED' },
  forbidden: { code: 'UNAUTHORIZED', about: { queue: 'FORBIDDEN' } },
  invalid: {
    code: 'BAD_REQUEST',
    about: {
      topic: 'ILLEGAL_TOPIC',
      group: 'ILLEGAL_CONSUMER_GROUP',
      tag: 'ILLEGAL_MESSAGE_TAG',
      key: 'ILLEGAL_MESSAGE_KEY',
      messageGroup: 'ILLEGAL_MESSAGE_GROUP',
      property: 'ILLEGAL_MESSAGE_PROPERTY_KEY',
      id: 'ILLEGAL_MESSAGE_ID',
      filter: 'ILLEGAL_FILTER_EXPRESSION',
      invisible: 'ILLEGAL_INVISIBLE_TIME',
      deliverAt: 'ILLEGAL_DELIVERY_TIME',
      receipt: 'INVALID_RECEIPT_HANDLE',
      type: 'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE',
      body: 'MESSAGE_BODY_EMPTY',
      transaction: 'INVALID_TRANSACTION_ID',
      polling: 'ILLEGAL_POLLING_TIME',
      offset: 'ILLEGAL_OFFSET',
      liteTopic: 'ILLEGAL_LITE_TOPIC',
    },
  },
  topicNotFound: { code: 'TOPIC_NOT_FOUND' },
  groupNotFound: { code: 'CONSUMER_GROUP_NOT_FOUND' },
  receiptExpired: {
    code: 'INVALID_RECEIPT_HANDLE',
    about: { transaction: 'INVALID_TRANSACTION_ID', handle: 'BAD_REQUEST' },
  },
  notFound: {
    code: 'NOT_FOUND',
    about: {
      inbox: 'INVALID_RECEIPT_HANDLE',
      receipt: 'INVALID_RECEIPT_HANDLE',
      transaction: 'INVALID_TRANSACTION_ID',
      offset: 'OFFSET_NOT_FOUND',
    },
  },
  conflict: {
    code: 'PRECONDITION_FAILED',
    about: { epoch: 'INVALID_RECEIPT_HANDLE', type: 'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE' },
  },
  limit: {
    code: 'TOO_MANY_REQUESTS',
    about: { liteTopic: 'LITE_TOPIC_QUOTA_EXCEEDED', liteSubscription: 'LITE_SUBSCRIPTION_QUOTA_EXCEEDED' },
  },
  throttled: { code: 'TOO_MANY_REQUESTS' },
  busy: { code: 'TOO_MANY_REQUESTS' },
  circuitOpen: { code: 'TOO_MANY_REQUESTS' },
  unavailable: { code: 'INTERNAL_SERVER_ERROR' },
  draining: { code: 'INTERNAL_SERVER_ERROR' },
  outcomeUnknown: { code: 'PROXY_TIMEOUT' },
  internal: { code: 'INTERNAL_SERVER_ERROR' },
} as const satisfies Record<FaultCode, Reason>

/** Stored, but less safely than asked. */
const lessDurable = {
  flushTimeout: 'MASTER_PERSISTENCE_TIMEOUT',
  replicaTimeout: 'SLAVE_PERSISTENCE_TIMEOUT',
  noReplica: 'HA_NOT_AVAILABLE',
} as const satisfies Record<NonNullable<Stored['durable']>, Name>

const said = (name: Name, message?: string): Status => ({ code: codes[name], message: message ?? name })

export const ok: Status = said('OK')
export const noMessage: Status = said('MESSAGE_NOT_FOUND', 'no new message')

/** The message of an `internal` fault stays here. */
export const statusOf = (error: unknown): Status => {
  const fault = Fault.from(error)
  const reason: Reason = reasons[fault.code]
  const name = (fault.about !== undefined && reason.about?.[fault.about]) || reason.code
  return said(name, fault.code === 'internal' ? 'internal error' : fault.message)
}

export const statusOfStored = (stored: Stored | Fault): Status => {
  if (Fault.is(stored)) return statusOf(stored)
  return stored.durable ? said(lessDurable[stored.durable]) : ok
}

/** The status of an answer with several entries: theirs when they agree. */
export const statusOfAll = (entries: readonly { readonly status: Status }[]): Status => {
  const [first, ...others] = entries
  if (!first) return said('INTERNAL_SERVER_ERROR', 'no entry was answered')
  return others.every(({ status }) => status.code === first.status.code) ? first.status : said('MULTIPLE_RESULTS')
}
