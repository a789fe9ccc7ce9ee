import type { Context, EpochMs, Gateway, Membership, Notice, Session } from '@sluice/core'
import { type Frame, knownHost, noHost } from '@sluice/remoting'
import { hostPort } from './routes.ts'
import type { Halves, ParkedPops, Shared } from './shared.ts'
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
  readonly parked: ParkedPops
  readonly halves: Halves
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
  tell(notice: Notice): void
  /** From here on it is told of replies to its requests. */
  awaitReplies(context: Context, client: string, group: string): Promise<void>
  /** From here on the session is this client's; undefined: whosever it is. */
  identify(client: string | undefined, frame: Frame): Promise<Context>
}

export const done: Answer = { code: 0 }

const nobody: Membership = { produces: [], consumes: [] }

export class ConnectionDesk implements Desk {
  readonly gateway: Gateway
  readonly topics: Topics
  readonly parked: ParkedPops
  readonly halves: Halves
  readonly identify: Desk['identify']
  readonly awaitReplies: Desk['awaitReplies']
  readonly tell: Desk['tell']
  member: Membership = nobody
  address = ''
  store: Buffer = noHost.bytes
  #since: ReadonlyMap<string, EpochMs> = new Map()

  constructor(
    gateway: Gateway,
    { topics, parked, halves }: Shared,
    does: Pick<Desk, 'identify' | 'awaitReplies' | 'tell'>,
  ) {
    this.gateway = gateway
    this.topics = topics
    this.parked = parked
    this.halves = halves
    this.identify = does.identify
    this.awaitReplies = does.awaitReplies
    this.tell = does.tell
  }

  /** Message ids hold an address, so that of a name is the one that the client dialled. */
  moveIn(session: Session): void {
    this.address = hostPort(this.gateway.advertised(session))
    this.store = (knownHost(this.address) ?? knownHost(session.localAddress))?.host.bytes ?? noHost.bytes
    this.joined(nobody, 0)
  }

  subscribedAt(group: string, topic: string): EpochMs | undefined {
    return this.#since.get(`${group}\n${topic}`)
  }

  joined(member: Membership, at: EpochMs): void {
    const before = this.#since
    const since = new Map<string, EpochMs>()
    for (const { group, topics } of member.consumes) {
      for (const { topic } of topics) {
        const key = `${group}\n${topic}`
        since.set(key, before.get(key) ?? at)
      }
    }
    this.#since = since
    this.member = member
  }
}
