import { Fault, type Gateway, type Ms, type Replies, type Session } from '@sluice/core'
import type { Terms } from './connect.ts'
import { reasonOf } from './faults.ts'
import type { Connect } from './packets.ts'
import { isOwn } from './system.ts'
import { toWill } from './translate.ts'

const PATIENCE: Ms = 5_000
/** How long a session that cannot be opened just now is tried for, and how often. */
const OPEN_WAIT: Ms = 5_000
const OPEN_RETRY: Ms = 500

/** The client's session in the broker, made or found. @throws Fault; 'forbidden' for a will that it could not publish */
const openInbox = (
  gateway: Gateway,
  session: Session,
  inbox: string,
  { fresh, expiry }: Terms,
  { will }: Connect,
): Promise<Replies['open']> => {
  const { bodyBytes } = gateway.limits
  if (will && isOwn(will.topic)) throw new Fault('forbidden', '$SYS is the server’s own', { about: 'topic' })
  const last = will && {
    message: toWill(will, { now: gateway.clock.now(), host: session.remoteAddress, bodyBytes }),
    after: (will.properties?.willDelayInterval ?? 0) * 1000,
  }
  return gateway.handle(
    { kind: 'open', inbox, fresh, expiry, ...(last && { will: last }) },
    gateway.context(session, PATIENCE),
  )
}

/** Whether it is worth another try within seconds. A drain and a session that is another's by now are not. */
const mayPass = (fault: Fault): boolean =>
  reasonOf(fault).passing && !['draining', 'conflict', 'internal'].includes(fault.code)

/**
 * What passes is waited for: a refusing CONNACK would end some clients for good, and the end brings others back at once.
 * @returns undefined: the client is gone meanwhile
 * @throws as {@link openInbox}
 */
export const openPatiently = async (
  gateway: Gateway,
  session: Session,
  inbox: string,
  terms: Terms,
  connect: Connect,
  connection: { pause(ms: Ms): Promise<boolean> },
): Promise<Replies['open'] | undefined> => {
  const until = gateway.clock.now() + OPEN_WAIT
  for (;;) {
    try {
      return await openInbox(gateway, session, inbox, terms, connect)
    } catch (error) {
      const fault = Fault.from(error)
      const wait = fault.retryAfter ?? OPEN_RETRY
      if (!mayPass(fault) || gateway.clock.now() + wait > until) throw error
      if (!(await connection.pause(wait))) return undefined
    }
  }
}
