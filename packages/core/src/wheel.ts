import type { Clock } from './clock.ts'
import type { EpochMs, Ms } from './model.ts'

/**
 * What has a time, in the ring of its slot; alone: in none. Whoever has many of them extends it, so that a deadline costs
 * no object of its own.
 */
export abstract class Due {
  next: Due = this
  prev: Due = this
  /** Number of its slot. */
  slot = 0

  /** Its time has come. */
  abstract due(): void

  get alone(): boolean {
    return this.next === this
  }

  /** At the end of this slot's ring. */
  add(entry: Due): void {
    entry.prev = this.prev
    entry.next = this
    this.prev.next = entry
    this.prev = entry
  }

  leave(): void {
    this.prev.next = this.next
    this.next.prev = this.prev
    this.next = this.prev = this
  }
}

class Call extends Due {
  readonly due: () => void

  constructor(run: () => void) {
    super()
    this.due = run
  }
}

const nothing = () => undefined
/** Empty slots so many ticks ahead stay until their time: the next command's deadline is there again. */
const NEAR = 100

/**
 * Deadlines by one coarse timer: an entry costs a few pointers, never a timer of its own.
 * An entry runs at its time or up to two `tick`s later, never earlier.
 */
export class Wheel {
  readonly #clock: Clock
  readonly #tick: Ms
  /** A slot is the entry that its ring begins at. */
  readonly #slots = new Map<number, Due>()
  #swept: number
  #size = 0
  #stop: (() => void) | undefined

  constructor(clock: Clock, tick: Ms = 100) {
    this.#clock = clock
    this.#tick = tick
    this.#swept = Math.floor(clock.now() / tick)
  }

  /** Entries that wait. */
  get size(): number {
    return this.#size
  }

  /** Calls `run` once `at` has passed; the returned function takes it back (harmless afterwards). */
  at(at: EpochMs, run: () => void): () => void {
    const call = new Call(run)
    this.put(call, at)
    return () => this.take(call)
  }

  /** `entry` is due at this time; it is in no wheel yet. */
  put(entry: Due, at: EpochMs): void {
    const key = Math.max(Math.ceil(at / this.#tick), this.#swept + 1)
    let slot = this.#slots.get(key)
    if (!slot) this.#slots.set(key, (slot = new Call(nothing)))
    entry.slot = key
    slot.add(entry)
    this.#size++
    this.#stop ??= this.#clock.every(this.#tick, () => this.#sweep())
  }

  /** Harmless once it was due. */
  take(entry: Due): void {
    if (entry.alone) return
    entry.leave()
    this.#size--
    const key = entry.slot
    if (key > this.#swept + NEAR && this.#slots.get(key)?.alone) this.#slots.delete(key)
  }

  close(): void {
    this.#stop?.()
    this.#stop = undefined
    for (const slot of this.#slots.values()) while (!slot.alone) slot.next.leave()
    this.#slots.clear()
    this.#size = 0
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
      while (!slot.alone) {
        const entry = slot.next
        entry.leave()
        this.#size--
        try {
          entry.due()
        } catch (error) {
          errors.push(error)
        }
      }
    }
    // The others have had their turn; an entry that throws is a mistake of ours and must not pass unseen.
    if (errors.length > 0) throw errors[0]
  }
}
