import type { Clock } from './clock.ts'
import type { EpochMs, Ms } from './model.ts'

interface Entry {
  readonly run: () => void
}

/**
 * Deadlines by one coarse timer: an entry costs a set insertion, never a timer of its own.
 * An entry runs at its time or up to two `tick`s later, never earlier.
 */
export class Wheel {
  readonly #clock: Clock
  readonly #tick: Ms
  readonly #slots = new Map<number, Set<Entry>>()
  #swept: number
  #stop: (() => void) | undefined

  constructor(clock: Clock, tick: Ms = 100) {
    this.#clock = clock
    this.#tick = tick
    this.#swept = Math.floor(clock.now() / tick)
  }

  /** Entries that wait. */
  get size(): number {
    let size = 0
    for (const slot of this.#slots.values()) size += slot.size
    return size
  }

  /** Calls `run` once `at` has passed; the returned function takes it back (harmless afterwards). */
  at(at: EpochMs, run: () => void): () => void {
    const key = Math.max(Math.ceil(at / this.#tick), this.#swept + 1)
    let slot = this.#slots.get(key)
    if (!slot) this.#slots.set(key, (slot = new Set()))
    const entry: Entry = { run }
    slot.add(entry)
    this.#stop ??= this.#clock.every(this.#tick, () => this.#sweep())
    return () => {
      if (slot.delete(entry) && slot.size === 0 && this.#slots.get(key) === slot) this.#slots.delete(key)
    }
  }

  close(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#slots.clear()
  }

  #sweep(): void {
    const now = Math.floor(this.#clock.now() / this.#tick)
    // After a long pause (a suspended laptop) it is cheaper to look at the slots than at every tick that was missed.
    const due =
      now - this.#swept > this.#slots.size
        ? [...this.#slots.keys()].filter((key) => key <= now).sort((a, b) => a - b)
        : Array.from({ length: now - this.#swept }, (_, index) => this.#swept + 1 + index)
    this.#swept = now
    const errors: unknown[] = []
    for (const key of due) {
      const slot = this.#slots.get(key)
      if (!slot) continue
      this.#slots.delete(key)
      for (const entry of slot) {
        slot.delete(entry)
        try {
          entry.run()
        } catch (error) {
          errors.push(error)
        }
      }
    }
    // The others have had their turn; an entry that throws is a mistake of ours and must not pass unseen.
    if (errors.length > 0) throw errors[0]
  }
}
