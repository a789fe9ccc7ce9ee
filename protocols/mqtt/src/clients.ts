import type { Clock, EpochMs, Ms } from '@sluice/core'

/** A connection that holds a client id. */
export interface Holder {
  /** Ends it in favour of a newer one; resolves when its session has been left. */
  yield(): Promise<void>
  /** Resolves with true after that time, with false at the end of the connection. */
  pause(ms: Ms): Promise<boolean>
}

/** Take-overs of one id, each within a second of the one before, that go unhindered; then each waits for that second. */
export const FIGHTS_MAX = 5
const FIGHT_MS: Ms = 1_000

interface Held {
  readonly holder: Holder
  readonly since: EpochMs
  /** Take-overs in a row, each soon after the one before. */
  readonly fights: number
}

/** Who holds which client id in this process. Those of other processes are fenced by the broker's epoch. */
export class Clients {
  readonly #clock: Clock
  readonly #holders = new Map<string, Held>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * The newer one wins [MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2]. Two clients that fight for an id do so once a second.
   * Resolves when the older one has left, or the newer one has ended meanwhile.
   */
  async take(key: string, holder: Holder): Promise<void> {
    const now = this.#clock.now()
    const older = this.#holders.get(key)
    const soon = older !== undefined && now - older.since < FIGHT_MS
    const fights = soon ? older.fights + 1 : 0
    const wait = fights > FIGHTS_MAX ? Math.min(older!.since + FIGHT_MS - now, 2 * FIGHT_MS) : 0
    this.#holders.set(key, { holder, since: now + wait, fights })
    if (wait > 0 && !(await holder.pause(wait))) return
    if (older && older.holder !== holder) await older.holder.yield()
  }

  /** A late end of an older connection must not remove the newer one. */
  leave(key: string, holder: Holder): void {
    if (this.#holders.get(key)?.holder === holder) this.#holders.delete(key)
  }

  get size(): number {
    return this.#holders.size
  }
}
