import { Fault, type Gateway, type Ms, type Replies, type Session } from '@sluice/core'
import type { Terms } from './connect.ts'
import { Deliveries } from './deliveries.ts'
import type { House } from './house.ts'
import type { Outbound } from './packets.ts'
import { Publishes } from './publishes.ts'
import { Subscribing } from './subscribing.ts'

const PATIENCE: Ms = 5_000

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

/** A client that has been let in: one object that its parts share, for most clients are there and say nothing. */
export class Client {
  readonly gateway: Gateway
  readonly session: Session
  readonly terms: Terms
  readonly house: House
  readonly mouth: Mouth
  readonly inbox: string
  readonly epoch: number
  /** The session was there before. */
  readonly resumed: boolean
  #publishes: Publishes | undefined
  readonly deliveries: Deliveries
  #subscribing: Subscribing | undefined
  /** What becomes of its will when it goes: told after its delay, not at all, or kept until it had time to come back. */
  will: 'fire' | 'drop' | 'keep' = 'fire'
  /** Of its session, from then on. */
  expiry: Ms

  constructor(
    gateway: Gateway,
    session: Session,
    terms: Terms,
    house: House,
    inbox: string,
    { epoch, incoming, existed }: Replies['open'],
    mouth: Mouth,
  ) {
    this.gateway = gateway
    this.session = session
    this.terms = terms
    this.house = house
    this.mouth = mouth
    this.inbox = inbox
    this.epoch = epoch
    this.resumed = existed
    this.expiry = terms.expiry
    if (incoming.length > 0) this.#publishes = new Publishes(this, incoming)
    this.deliveries = new Deliveries(this)
  }

  /** Made for the first PUBLISH, or when the session has some of an earlier connection. */
  get publishes(): Publishes {
    return (this.#publishes ??= new Publishes(this, []))
  }

  /** What it has published so far is on its way to the broker when this returns. */
  cut(): void {
    this.#publishes?.cut()
  }

  /** Made for the first SUBSCRIBE or UNSUBSCRIBE. */
  get subscribing(): Subscribing {
    return (this.#subscribing ??= new Subscribing(this))
  }
}

/** What has been accepted is stored and what has been acknowledged is settled before the session is left. Never rejects. */
export const leaveInbox = async (client: Client): Promise<void> => {
  const { gateway, session, inbox, epoch, will, expiry, publishes, deliveries } = client
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
