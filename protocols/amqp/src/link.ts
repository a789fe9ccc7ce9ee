import type { AmqpSession } from './amqpSession.ts'
import type { AmqpError, CompositeOf } from './shapes.ts'

export type Attach = CompositeOf<'attach'>
export type Flow = CompositeOf<'flow'>

/** The peer is the sender of a link that we receive from, or its receiver. */
export type Role = 'sender' | 'receiver'
export const roleOf = (attach: Attach): Role => (attach.role ? 'receiver' : 'sender')
export const linkKey = (role: Role, name: string): string => `${role} ${name}`

/**
 * One end of a link. A link that we detached stays under its handle until the peer has detached too: what the peer
 * sent before it knew is not answered. [2.6.5, 2.6.6]
 */
export abstract class AmqpLink {
  readonly session: AmqpSession
  readonly name: string
  readonly role: Role
  /** Ours; the peer's stands in its session. */
  readonly handle: number
  #detached = false

  constructor(session: AmqpSession, attach: Attach, handle: number) {
    this.session = session
    this.name = attach.name
    this.role = roleOf(attach)
    this.handle = handle
  }

  get attached(): boolean {
    return !this.#detached
  }

  /** Ends the link from our side. */
  detach(error?: AmqpError): void {
    this.#leave(true, error)
  }

  /** The peer has ended it, for good or to come back. */
  peerDetached({ closed }: CompositeOf<'detach'>): void {
    this.#leave(closed ?? false)
  }

  /** Its session or connection is over: no word any more. */
  drop(): void {
    if (this.#detached) return
    this.#detached = true
    this.#forget()
    this.stop()
  }

  #leave(closed: boolean, error?: AmqpError): void {
    if (this.#detached) return
    this.#detached = true
    this.#forget()
    this.session.send({ type: 'detach', handle: this.handle, closed, error })
    this.stop()
  }

  #forget(): void {
    const { links } = this.session.host
    const key = linkKey(this.role, this.name)
    if (links.get(key) === this) links.delete(key)
  }

  abstract flow(flow: Flow): void
  /** Nothing new begins; what is under way may end. */
  abstract goAway(): void
  abstract tick(): void
  /** Lets go of everything. */
  protected abstract stop(): void
}

/** A link that was refused, until the peer has seen it. */
export class RefusedLink extends AmqpLink {
  flow(): void {}
  goAway(): void {}
  tick(): void {}
  protected stop(): void {}
}
