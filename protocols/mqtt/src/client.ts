import { Fault, type Gateway, type Ms, type Replies, type Session } from '@sluice/core'
import { inboxOf, type Terms } from './connect.ts'
import { Deliveries } from './deliveries.ts'
import type { House } from './house.ts'
import type { Outbound } from './packets.ts'
import { Publishes } from './publishes.ts'
import { Subscribing } from './subscribing.ts'

const PATIENCE: Ms = 5_000

/** A client that has been let in. */
export interface Client {
  readonly terms: Terms
  readonly session: Session
  readonly inbox: string
  readonly epoch: number
  readonly publishes: Publishes
  readonly deliveries: Deliveries
  readonly subscribing: Subscribing
  /** What becomes of its will when it goes: told after its delay, not at all, or kept until it had time to come back. */
  will: 'fire' | 'drop' | 'keep'
  /** Of its session, from then on. */
  expiry: Ms
}

/** The conversation's side of a client. */
export interface Mouth {
  /** False: too much waits for this reader. */
  send(packet: Outbound): boolean
  writable(): Promise<void>
  /** Ends the connection. */
  fail(fault: Fault): void
  /** Resolves with true after that time, with false at the end of the connection. */
  pause(ms: Ms): Promise<boolean>
}

export const createClient = (
  gateway: Gateway,
  session: Session,
  terms: Terms,
  house: House,
  { epoch, incoming, existed }: Replies['open'],
  mouth: Mouth,
): Client => {
  const { version, window, packetMax, aliasMax, explained, expiry } = terms
  const { settings, encodings, tally, system } = house
  const { receiveMaximum, topicAliasMaximum, apsara, sharedSubscriptions: shares, refusedFilters: refused } = settings
  const inbox = inboxOf(terms.clientId)
  const common = { ...mouth, gateway, session, inbox, epoch, version }
  const refuses = version === 5
  // Of a session that was there before nobody here knows the filters; in ApsaraMQ messages come without any.
  const exact = existed || apsara
  const deliveries = new Deliveries({ ...common, window, packetMax, aliasMax, encodings, tally, exact })
  return {
    terms,
    session,
    inbox,
    epoch,
    publishes: new Publishes({
      ...common,
      incoming,
      resumed: existed,
      refuses,
      explained,
      receiveMaximum,
      topicAliasMaximum,
      apsara,
      tally,
    }),
    deliveries,
    subscribing: new Subscribing({
      ...common,
      shares,
      refused,
      exact: () => deliveries.exact(),
      subscribed: (filter) => system.subscribed(filter),
    }),
    will: 'fire',
    expiry,
  }
}

/** What has been accepted is stored and what has been acknowledged is settled before the session is left. Never rejects. */
export const leaveInbox = async (gateway: Gateway, client: Client): Promise<void> => {
  const { session, inbox, epoch, will, expiry, publishes, deliveries } = client
  await Promise.all([deliveries.stop(), publishes.idle()])
  try {
    const what = { inbox, epoch, will, expiry }
    await gateway.handle({ kind: 'leave', what }, gateway.context(session, PATIENCE))
  } catch (error) {
    const { code, message } = Fault.from(error)
    // A conflict: the session is another connection's by now, which is how it should be.
    if (code !== 'conflict') gateway.log.warn('session.notLeft', { client: session.client, code, reason: message })
  }
}
