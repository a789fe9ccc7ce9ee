import type { EpochMs, Ms } from '@sluice/core'

/** So many are remembered, the latest. */
const MOST = 64
/** Longer than what is said on both sides may be on its way. */
const FORGOTTEN_MS: Ms = 5_000

interface End {
  readonly at: EpochMs
  readonly undo: () => void
}

/**
 * Streams whose end we said a moment ago. A peer that resets one of them had not seen its end: who has seen both sides end
 * has nothing to reset. [RFC 9113 §5.1]
 */
export class Ends {
  readonly #streams = new Map<number, End>()

  said(stream: number, at: EpochMs, undo: () => void): void {
    this.#streams.set(stream, { at, undo })
    if (this.#streams.size <= MOST) return
    const [oldest] = this.#streams.keys()
    this.#streams.delete(oldest!)
  }

  /** The peer reset it. */
  unseen(stream: number): void {
    const end = this.#streams.get(stream)
    this.#streams.delete(stream)
    end?.undo()
  }

  tick(now: EpochMs): void {
    for (const [stream, { at }] of this.#streams) {
      if (now - at < FORGOTTEN_MS) return
      this.#streams.delete(stream)
    }
  }
}
