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
/** Longest sleep: what is due is noticed so soon where the system's time was put forward. */
const SLEEP_MS: Ms = 1_000

/**
 * Deadlines by one coarse timer: an entry costs a few pointers, never a timer of its own, and nothing runs while nothing
 * is due. An entry runs at its time or up to two `tick`s later, never earlier.
 */
export class Wheel {
  readonly #clock: Clock
  readonly #tick: Ms
  /** A slot is the entry that its ring begins at. */
  readonly #slots = new Map<number, Due>()
  #swept: number
  #size = 0
  /** The slot whose time it sleeps until. */
  #wakes = Number.POSITIVE_INFINITY
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
    if (key < this.#wakes) this.#sleep(key)
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
    this.#awake()
    for (const slot of this.#slots.values()) while (!slot.alone) slot.next.leave()
    this.#slots.clear()
    this.#size = 0
  }

  #awake(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#wakes = Number.POSITIVE_INFINITY
  }

  /** Until the time of this slot, or for as long as it may. */
  #sleep(key: number): void {
    this.#awake()
    const now = this.#clock.now()
    this.#wakes = Math.min(key, Math.ceil((now + SLEEP_MS) / this.#tick))
    this.#stop = this.#clock.after(this.#wakes * this.#tick - now, () => this.#sweep())
  }

  /** The next slot with something in it, of those before the longest sleep ends. */
  #next(): number {
    const last = this.#swept + Math.ceil(SLEEP_MS / this.#tick)
    let key = this.#swept + 1
    while (key < last && (this.#slots.get(key)?.alone ?? true)) key++
    return key
  }

  #sweep(): void {
    this.#awake()
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
    if (this.#size > 0) this.#sleep(this.#next())
    // The others have had their turn; an entry that throws is a mistake of ours and must not pass unseen.
    if (errors.length > 0) throw errors[0]
  }
}
