import type { Addressee, Membership, Notice, Session } from '@sluice/core'

/** A gateway's end of the link, while it is connected. */
export interface Line {
  /** @throws Fault 'unavailable' when the link breaks, 'outcomeUnknown' without an answer in time, or what was answered */
  notify(to: Addressee, notice: Notice): Promise<unknown>
}

const keysOf = ({ produces, consumes }: Membership): readonly string[] => [
  ...new Set([
    ...produces.map((group) => keyOf('produces', group)),
    ...consumes.map(({ group }) => keyOf('consumes', group)),
  ]),
]
const keyOf = (role: 'produces' | 'consumes', group: string): string => `${role} ${group}`

/** One gateway process: its sessions outlive its connection by a while. */
export class GatewayProcess {
  readonly id: string
  line: Line | undefined
  /** Sessions that it has told of, by their ids. */
  readonly sessions = new Map<string, Session>()
  /** Takes back the end of its sessions. */
  unexpire: (() => void) | undefined
  /** Of the connection before and not told again on this one yet. */
  untold = new Set<string>()
  readonly #groups = new Map<string, readonly string[]>()
  /** How many of its sessions are in a group, by role and group. */
  readonly #members = new Map<string, number>()

  constructor(id: string) {
    this.id = id
  }

  has(role: 'produces' | 'consumes', group: string): boolean {
    return this.#members.has(keyOf(role, group))
  }

  joined(session: string, membership: Membership): void {
    this.#change(session, keysOf(membership))
  }

  leftGroup(session: string, group: string): void {
    const gone = [keyOf('produces', group), keyOf('consumes', group)]
    this.#change(session, this.#groups.get(session)?.filter((key) => !gone.includes(key)) ?? [])
  }

  left(session: string): void {
    this.#change(session, [])
    this.sessions.delete(session)
    this.untold.delete(session)
  }

  #change(session: string, keys: readonly string[]): void {
    for (const key of this.#groups.get(session) ?? []) {
      const left = this.#members.get(key)! - 1
      if (left === 0) this.#members.delete(key)
      else this.#members.set(key, left)
    }
    for (const key of keys) this.#members.set(key, (this.#members.get(key) ?? 0) + 1)
    if (keys.length > 0) this.#groups.set(session, keys)
    else this.#groups.delete(session)
  }
}

/** All gateways of a broker, and which of them a notice means. */
export class Gateways {
  readonly #processes = new Map<string, GatewayProcess>()
  readonly #holders = new Map<string, GatewayProcess>()
  /** Counts whose turn it is. */
  #turn = 0

  get size(): number {
    return this.#processes.size
  }

  get sessions(): number {
    return this.#holders.size
  }

  all(): Iterable<GatewayProcess> {
    return this.#processes.values()
  }

  /** `kept`: it was here before, and its sessions are. */
  arrived(id: string): { readonly process: GatewayProcess; readonly kept: boolean } {
    const known = this.#processes.get(id)
    if (known) return { process: known, kept: true }
    const process = new GatewayProcess(id)
    this.#processes.set(id, process)
    return { process, kept: false }
  }

  gone(process: GatewayProcess): void {
    this.#processes.delete(process.id)
  }

  told(process: GatewayProcess, session: Session): void {
    process.sessions.set(session.id, session)
    process.untold.delete(session.id)
    this.#holders.set(session.id, process)
  }

  left(process: GatewayProcess, session: string): void {
    process.left(session)
    if (this.#holders.get(session) === process) this.#holders.delete(session)
  }

  /**
   * To the process that holds the session. Of a group's members one is asked, at another process each time; where that
   * one cannot, the next one's; or all are told.
   * @returns the answer of the one that was asked, or how many were told; undefined when nobody is meant
   */
  async notify(to: Addressee, notice: Notice): Promise<unknown> {
    if ('session' in to) return this.#holders.get(to.session)?.line?.notify(to, notice)
    const meant = [...this.#processes.values()].filter(({ line }) => line).filter((one) => one.has(to.role, to.group))
    if (meant.length === 0) return undefined
    if (!to.one) {
      const told = await Promise.allSettled(meant.map(({ line }) => line?.notify(to, notice)))
      const counts = told.map((one) => (one.status === 'fulfilled' && typeof one.value === 'number' ? one.value : 0))
      return counts.reduce((sum, count) => sum + count, 0)
    }
    const first = this.#turn++
    for (let tries = 0; ; tries++) {
      try {
        return await meant[(first + tries) % meant.length]!.line?.notify(to, notice)
      } catch (error) {
        if (tries === meant.length - 1) throw error
      }
    }
  }
}
