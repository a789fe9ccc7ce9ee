import { Fault, type Limits, type Session } from '@sluice/core'

/** What one session has under way. */
export interface Load {
  inflight: number
  parked: number
}

/**
 * What one session may have under way over all its connections and streams. A parked poll is not work and has its own
 * bound; beyond either a command is refused as `busy`, certainly not done.
 */
export class Bounds {
  readonly #limits: Pick<Limits, 'sessionInflight' | 'parked'>
  readonly #loads = new WeakMap<Session, Load>()

  constructor(limits: Pick<Limits, 'sessionInflight' | 'parked'>) {
    this.#limits = limits
  }

  of(session: Session): Load {
    let load = this.#loads.get(session)
    if (!load) this.#loads.set(session, (load = { inflight: 0, parked: 0 }))
    return load
  }

  /** Why there is no room for one more; undefined: there is. */
  refusal(load: Load, what: keyof Load): Fault | undefined {
    const most = what === 'parked' ? this.#limits.parked : this.#limits.sessionInflight
    if (load[what] < most) return undefined
    return new Fault('busy', `over ${most} ${what} of one session`, { about: what, retryAfter: 1_000 })
  }
}
