import type { Fault, FaultCode } from '@sluice/core'
import type { AmqpError, CompositeOf } from './shapes.ts'

/**
 * Error conditions by what they end.
 * Source: AMQP 1.0 sections 2.8.15 to 2.8.18, 4.5.8.
 */
export const conditions = {
  // the connection
  forced: 'amqp:connection:forced',
  framing: 'amqp:connection:framing-error',
  // the session
  windowViolation: 'amqp:session:window-violation',
  errantLink: 'amqp:session:errant-link',
  handleInUse: 'amqp:session:handle-in-use',
  unattachedHandle: 'amqp:session:unattached-handle',
  // the link
  detachForced: 'amqp:link:detach-forced',
  creditExceeded: 'amqp:link:transfer-limit-exceeded',
  sizeExceeded: 'amqp:link:message-size-exceeded',
  stolen: 'amqp:link:stolen',
  // whatever they stand in
  decode: 'amqp:decode-error',
  invalid: 'amqp:invalid-field',
  illegal: 'amqp:illegal-state',
  notAllowed: 'amqp:not-allowed',
  notFound: 'amqp:not-found',
  notImplemented: 'amqp:not-implemented',
  precondition: 'amqp:precondition-failed',
  unauthorized: 'amqp:unauthorized-access',
  locked: 'amqp:resource-locked',
  exhausted: 'amqp:resource-limit-exceeded',
  internal: 'amqp:internal-error',
} as const

export const amqpError = (condition: string, description: string): AmqpError => ({
  type: 'error',
  condition,
  description: description.slice(0, 300),
})

/** What a producer hears of its message: it may send it again as it is, it never will do, or nobody knows. */
type Refusal = 'released' | 'rejected' | 'modified'
/** RFC of SASL codes: 1 the credentials are wrong, 2 a failure here, 4 a failure that passes. [5.3.3.6] */
type SaslCode = 1 | 2 | 4

interface AmqpFault {
  readonly condition: string
  readonly publish: Refusal
  readonly sasl: SaslCode
}

const final = (condition: string): AmqpFault => ({ condition, publish: 'rejected', sasl: 2 })
const passing = (condition: string): AmqpFault => ({ condition, publish: 'released', sasl: 4 })

const table = {
  malformed: final(conditions.decode),
  tooLarge: final(conditions.sizeExceeded),
  unsupported: final(conditions.notImplemented),
  unauthenticated: { condition: conditions.unauthorized, publish: 'rejected', sasl: 1 },
  forbidden: { condition: conditions.unauthorized, publish: 'rejected', sasl: 1 },
  invalid: final(conditions.invalid),
  topicNotFound: final(conditions.notFound),
  groupNotFound: final(conditions.notFound),
  receiptExpired: final(conditions.precondition),
  notFound: final(conditions.notFound),
  conflict: final(conditions.locked),
  limit: { condition: conditions.exhausted, publish: 'rejected', sasl: 4 },
  throttled: passing(conditions.exhausted),
  busy: passing(conditions.exhausted),
  circuitOpen: passing(conditions.exhausted),
  unavailable: passing(conditions.exhausted),
  draining: passing(conditions.detachForced),
  outcomeUnknown: { condition: conditions.internal, publish: 'modified', sasl: 4 },
  internal: final(conditions.internal),
} as const satisfies Record<FaultCode, AmqpFault>

const words = (fault: Fault): string => (fault.code === 'internal' ? 'internal error' : fault.message)

/** For a link or a connection that ends by it. */
export const errorOf = (fault: Fault): AmqpError => amqpError(table[fault.code].condition, words(fault))

/** For a peer that broke the protocol: its frames, or the values in them. */
export const protocolError = (fault: Fault): AmqpError =>
  fault.code === 'malformed' || fault.code === 'tooLarge'
    ? amqpError(fault.about === 'value' ? conditions.decode : conditions.framing, fault.message)
    : errorOf(fault)

/** For the message that could not be published. `modified` without more: it may have been stored, or not. */
export const refusalOf = (fault: Fault): CompositeOf<'released' | 'rejected' | 'modified'> => {
  const refusal = table[fault.code].publish
  if (refusal === 'released') return { type: 'released' }
  if (refusal === 'modified') return { type: 'modified', deliveryFailed: true }
  return { type: 'rejected', error: errorOf(fault) }
}

export const saslCodeOf = (fault: Fault): SaslCode => table[fault.code].sasl
