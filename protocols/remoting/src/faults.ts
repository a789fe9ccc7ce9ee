import type { Fault, FaultCode } from '@sluice/core'
import { response } from '@sluice/remoting'

interface Says {
  readonly code: number
  /** By {@link Fault.about}, where the wire has a word of its own. */
  readonly about?: Readonly<Record<string, number>>
}

/**
 * What a refusal is on this wire. Codes that make a client try again at once (16, 17 on a send) stand only for what
 * they mean. Source: apache/rocketmq ResponseCode.java and the retry set of DefaultMQProducer.
 */
export const faults = {
  malformed: { code: response.invalidParameter },
  tooLarge: { code: response.messageIllegal },
  unsupported: {
    code: response.requestCodeNotSupported,
    about: { type: response.messageIllegal, filter: response.subscriptionParseFailed },
  },
  unauthenticated: { code: response.noPermission },
  forbidden: { code: response.noPermission },
  invalid: {
    code: response.invalidParameter,
    about: {
      type: response.messageIllegal,
      body: response.messageIllegal,
      properties: response.messageIllegal,
      deliverAt: response.messageIllegal,
      filter: response.subscriptionParseFailed,
    },
  },
  topicNotFound: { code: response.topicNotExist },
  groupNotFound: { code: response.subscriptionGroupNotExist },
  receiptExpired: { code: response.noMessage },
  notFound: {
    code: response.queryNotFound,
    about: {
      queue: response.invalidParameter,
      filter: response.subscriptionNotExist,
      message: response.systemError,
      members: response.systemError,
    },
  },
  conflict: { code: response.illegalOperation, about: { filter: response.subscriptionNotLatest } },
  limit: { code: response.systemBusy },
  /** Not in the producer's retry set. A pull never hears it: see `pulls.ts`. */
  throttled: { code: response.flowControl },
  busy: { code: response.systemBusy },
  circuitOpen: { code: response.serviceNotAvailable },
  unavailable: { code: response.serviceNotAvailable },
  draining: { code: response.serviceNotAvailable },
  /** Neither 2 (not stored) nor 10 (stored): the client may send again. */
  outcomeUnknown: { code: response.systemError },
  internal: { code: response.systemError },
} as const satisfies Record<FaultCode, Says>

export const codeOf = (fault: Fault): number => {
  const says: Says = faults[fault.code]
  return (fault.about === undefined ? undefined : says.about?.[fault.about]) ?? says.code
}

/** At any code but these a client sends the message that it wanted to give back to its retry topic itself. */
const final: ReadonlySet<number> = new Set([response.noPermission, response.subscriptionGroupNotExist])

export const sendBackCodeOf = (fault: Fault): number => {
  const code = codeOf(fault)
  return final.has(code) ? code : response.systemError
}
