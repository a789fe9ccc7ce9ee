import type { Clock, Ms } from '@sluice/core'

/** The waits of one connection: its end cuts all of them short. */
export class Pauses {
  readonly #clock: Clock
  #cuts: Set<() => void> | undefined
  #over = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Resolves with true after that time, with false at the end of the connection. */
  wait(ms: Ms): Promise<boolean> {
    if (this.#over) return Promise.resolve(false)
    const cuts = (this.#cuts ??= new Set())
    return new Promise((resolve) => {
      const cut = () => {
        cancel()
        resolve(false)
      }
      cuts.add(cut)
      const cancel = this.#clock.after(ms, () => {
        cuts.delete(cut)
        resolve(true)
      })
    })
  }

  end(): void {
    this.#over = true
    for (const cut of this.#cuts ?? []) cut()
    this.#cuts = undefined
  }
}
