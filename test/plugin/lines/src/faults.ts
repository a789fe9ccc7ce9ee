import type { FaultCode } from '@sluice/core'

/** Why not, in one word. LATER: trying again is sensible. */
export const words = {
  malformed: 'BAD',
  tooLarge: 'BAD',
  unsupported: 'BAD',
  invalid: 'BAD',
  unauthenticated: 'DENIED',
  forbidden: 'DENIED',
  topicNotFound: 'NONE',
  groupNotFound: 'NONE',
  notFound: 'NONE',
  receiptExpired: 'NONE',
  conflict: 'TAKEN',
  limit: 'LATER',
  throttled: 'LATER',
  busy: 'LATER',
  circuitOpen: 'LATER',
  unavailable: 'LATER',
  draining: 'LATER',
  outcomeUnknown: 'UNKNOWN',
  internal: 'FAILED',
} as const satisfies Record<FaultCode, string>
