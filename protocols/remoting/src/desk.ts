import type { Context, EpochMs, Gateway, Membership } from '@sluice/core'
import type { Frame } from '@sluice/remoting'
import type { Topics } from './topics.ts'

/** What a request is answered with; the opaque and the rest of the frame follow from the request. */
export interface Answer {
  readonly code: number
  readonly remark?: string
  readonly ext?: Readonly<Record<string, string>>
  readonly body?: Buffer
  readonly parts?: readonly Buffer[]
}

/** One kind of request. It throws a Fault for what is refused. */
export type Handler = (frame: Frame, context: Context, desk: Desk) => Answer | Promise<Answer>

/** A request that names its client. */
export type NamedHandler = (frame: Frame, desk: Desk) => Promise<Answer>

/** What handlers see of their connection. */
export interface Desk {
  readonly gateway: Gateway
  readonly topics: Topics
  /** `host:port` that routes advertise to this client. */
  readonly address: string
  /** The same as records and message ids have it: 8 bytes, or 20 with IPv6. */
  readonly store: Buffer
  /** As the last heartbeat had it. */
  readonly member: Membership
  /** When a heartbeat first named this subscription. */
  subscribedAt(group: string, topic: string): EpochMs | undefined
  /** What a heartbeat named; groups that were not named any more are gone. */
  joined(member: Membership, at: EpochMs): void
  /** From here on the session is this client's; undefined: whosever it is. */
  identify(client: string | undefined, frame: Frame): Promise<Context>
}

export const done: Answer = { code: 0 }
