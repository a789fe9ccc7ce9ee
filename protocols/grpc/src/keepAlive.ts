import type { EpochMs, Ms } from '@sluice/core'

/** A silent connection is asked whether it is still there, and closed when it does not say so. */
const SILENCE_MS: Ms = 60_000
const ANSWER_MS: Ms = 20_000

export class KeepAlive {
  #heardAt: EpochMs
  #askedAt: EpochMs | undefined

  constructor(now: EpochMs) {
    this.#heardAt = now
  }

  heard(now: EpochMs): void {
    this.#heardAt = now
    this.#askedAt = undefined
  }

  /** What is to be done now. */
  due(now: EpochMs): 'ask' | 'close' | undefined {
    if (this.#askedAt !== undefined) return now - this.#askedAt > ANSWER_MS ? 'close' : undefined
    if (now - this.#heardAt < SILENCE_MS) return undefined
    this.#askedAt = now
    return 'ask'
  }
}
