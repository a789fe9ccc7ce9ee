import type { Addressee, Membership, Notice } from './model.ts'
import type { Principal, Session } from './pipeline.ts'
import type { Credentials } from './protocol.ts'

/** Joined, here and below, and no template: that would keep its pieces beside the tree that stands for the whole. */
const hostPort = (address: string, port: number): string =>
  (address.includes(':') ? ['[', address, ']:', port] : [address, ':', port]).join('')

/** The sessions of this process, and which of them a notice means. */
export class Sessions {
  readonly #process: string
  readonly #sessions = new Map<string, Session>()
  readonly #members = new Map<string, Membership>()
  /** Who of a role and group was asked last, while it is here. */
  readonly #asked = new Map<string, string>()
  /** The local end of the last session: most have the same. */
  #local: { readonly address: string; readonly port: number; readonly text: string } | undefined
  #counter = 0

  /** `process`: unique among the gateways of a cluster. */
  constructor(process: string) {
    this.#process = process
  }

  get size(): number {
    return this.#sessions.size
  }

  admit(who: Credentials, principal: Principal, notify: Session['notify']): Session {
    const { peer } = who
    const session: Session = {
      id: [this.#process, ++this.#counter].join('/'),
      client: who.client,
      principal,
      protocol: who.protocol,
      language: who.language,
      version: who.version,
      remoteAddress: hostPort(peer.address, peer.port),
      localAddress: this.#localOf(peer.local),
      notify,
    }
    this.#sessions.set(session.id, session)
    return session
  }

  #localOf({ address, port }: Credentials['peer']['local']): string {
    if (this.#local?.port !== port || this.#local.address !== address)
      this.#local = { address, port, text: hostPort(address, port) }
    return this.#local.text
  }

  /** Whether it was still here. */
  release(session: Session): boolean {
    this.#members.delete(session.id)
    for (const [who, id] of this.#asked) if (id === session.id) this.#asked.delete(who)
    return this.#sessions.delete(session.id)
  }

  /** A heartbeat was accepted: notices to its groups may come here. */
  joined(session: Session, membership: Membership): void {
    if (this.#sessions.has(session.id)) this.#members.set(session.id, membership)
  }

  /**
   * Tells whom it concerns in this process. `one`: each time another one, so that a check is not put to a dead client
   * twice in a row.
   * @returns the answer of the one that was asked, or how many were told; undefined when nobody here is meant
   */
  async notify(to: Addressee, notice: Notice): Promise<unknown> {
    if ('session' in to) return this.#sessions.get(to.session)?.notify(notice)
    const meant = [...this.#members].flatMap(([id, membership]) => {
      const groups = to.role === 'produces' ? membership.produces : membership.consumes.map(({ group }) => group)
      return groups.includes(to.group) ? [this.#sessions.get(id)!] : []
    })
    if (meant.length === 0) return undefined
    if (to.one) return this.#next(`${to.role} ${to.group}`, meant).notify(notice)
    await Promise.allSettled(meant.map(async (session) => session.notify(notice)))
    return meant.length
  }

  #next(who: string, meant: readonly Session[]): Session {
    const last = this.#asked.get(who)
    const next = meant[(meant.findIndex(({ id }) => id === last) + 1) % meant.length]!
    this.#asked.set(who, next.id)
    return next
  }
}
