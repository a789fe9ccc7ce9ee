import { type Context, type EpochMs, Fault, type GroupInfo, type Handle, type Ms } from '@sluice/core'

const KEPT: Ms = 20_000
const GROUPS_MAX = 4_096

interface Known {
  readonly info: GroupInfo | undefined
  readonly until: EpochMs
}

/** What is configured for a consumer group, asked anew after 20 s. The oldest goes when there are too many. */
export class Groups {
  readonly #handle: Handle
  readonly #now: () => EpochMs
  readonly #known = new Map<string, Known>()

  constructor(handle: Handle, now: () => EpochMs) {
    this.#handle = handle
    this.#now = now
  }

  /** Undefined: nobody configured it. @throws Fault, but 'groupNotFound' */
  async of(group: string, context: Context): Promise<GroupInfo | undefined> {
    const known = this.#known.get(group)
    if (known && known.until > this.#now()) return known.info
    const info = await this.#handle({ kind: 'group', group }, context).catch((error: unknown) => {
      if (Fault.from(error).code === 'groupNotFound') return undefined
      throw error
    })
    this.#known.delete(group)
    const [oldest] = this.#known.keys()
    if (oldest !== undefined && this.#known.size >= GROUPS_MAX) this.#known.delete(oldest)
    this.#known.set(group, { info, until: this.#now() + KEPT })
    return info
  }
}
