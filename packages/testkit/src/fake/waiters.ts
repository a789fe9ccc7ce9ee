import type { Clock, EpochMs, Ms, Signal } from '@sluice/core'

/** Polls that wait for something to change, in the order in which they came. */
export class Waiters {
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  readonly #alarms = new Map<EpochMs, () => void>()
  #woken = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#waiting.size
  }

  /** The first result of `attempt`; undefined once time is up or the signal aborts. */
  wait<T>(attempt: () => T | undefined, wait: Ms, signal: Signal | undefined): Promise<T | undefined> {
    if (signal?.aborted) return Promise.resolve(undefined)
    const first = attempt()
    if (first !== undefined || wait <= 0) return Promise.resolve(first)
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.#waiting.delete(look)
        signal?.removeEventListener('abort', giveUp)
        stop()
        settle()
      }
      const giveUp = () => finish(() => resolve(undefined))
      const look = () => {
        try {
          const result = attempt()
          if (result !== undefined) finish(() => resolve(result))
        } catch (error) {
          finish(() => reject(error))
        }
      }
      const stop = this.#clock.after(wait, giveUp)
      signal?.addEventListener('abort', giveUp)
      this.#waiting.add(look)
    })
  }

  /** Something changed: everyone looks again, once what is going on now is done. */
  wake(): void {
    if (this.#woken) return
    this.#woken = true
    queueMicrotask(() => {
      this.#woken = false
      for (const look of [...this.#waiting]) if (this.#waiting.has(look)) look()
    })
  }

  /** Wakes everyone at that time. */
  wakeAt(at: EpochMs): void {
    if (this.#alarms.has(at)) return
    const stop = this.#clock.after(at - this.#clock.now(), () => {
      this.#alarms.delete(at)
      this.wake()
    })
    this.#alarms.set(at, stop)
  }

  close(): void {
    for (const stop of this.#alarms.values()) stop()
    this.#alarms.clear()
  }
}
