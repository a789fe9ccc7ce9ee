import type { Clock, Ms, Signal } from '@sluice/core'

/**
 * Messages that a connection was given and has not taken yet: `limits.outboundBytes` of bodies, and one where a single one is
 * larger. Polls wait until there is room; what was given to several of them meanwhile and does not fit is for others.
 */
export class Owed {
  readonly #most: number
  readonly #waiting = new Set<() => void>()
  #bytes = 0

  constructor(most: number) {
    this.#most = most
  }

  /** How many of these, from the first on, there is room for. Each is to be given later. */
  admit(sizes: readonly number[]): number {
    let count = 0
    for (const size of sizes) {
      if (this.#bytes > 0 && this.#bytes + size > this.#most) break
      this.#bytes += size
      count++
    }
    return count
  }

  /** So much of it is taken, or not wanted any more. */
  given(bytes: number): void {
    this.#bytes -= bytes
    if (this.isFull || this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }

  /** Resolves when there is room, with what is left of the time; with undefined when it is over or was given up. */
  async room(clock: Clock, ms: Ms, signal: Signal): Promise<Ms | undefined> {
    const until = clock.now() + ms
    while (this.isFull && !signal.aborted && clock.now() < until) await this.#next(clock, until - clock.now(), signal)
    return this.isFull || signal.aborted ? undefined : Math.max(0, until - clock.now())
  }

  get isFull(): boolean {
    return this.#bytes >= this.#most
  }

  #next(clock: Clock, ms: Ms, signal: Signal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        stop()
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const stop = clock.after(ms, done)
      signal.addEventListener('abort', done)
      this.#waiting.add(done)
    })
  }
}
