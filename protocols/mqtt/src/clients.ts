/** A connection that holds a client id. */
export interface Holder {
  /** Ends it in favour of a newer one; resolves when its session has been left. */
  yield(): Promise<void>
}

/** Who holds which client id in this process. Those of other processes are fenced by the broker's epoch. */
export class Clients {
  readonly #holders = new Map<string, Holder>()

  /** The newer one wins [MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2]. Resolves when the older one has left. */
  async take(key: string, holder: Holder): Promise<void> {
    const older = this.#holders.get(key)
    this.#holders.set(key, holder)
    if (older && older !== holder) await older.yield()
  }

  /** A late end of an older connection must not remove the newer one. */
  leave(key: string, holder: Holder): void {
    if (this.#holders.get(key) === holder) this.#holders.delete(key)
  }

  get size(): number {
    return this.#holders.size
  }
}
