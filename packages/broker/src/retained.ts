import type { Pointed } from './state.ts'

/** The last message of a topic, kept for those who come later. */
export interface Retained extends Pointed {
  readonly full: string
  /** Where it was first stored: that stays when the record is written again because its segment goes. */
  readonly at: number
  place: number
  size: number
  /** It was replaced or cleared. */
  isGone: boolean
}

/** So many that are gone are not worth a pass over the others. */
const GONE_MIN = 64

/** By topic, and in the order in which they were first stored: who goes through them needs to know only how far he came. */
export class RetainedTopics {
  readonly #byName = new Map<string, Retained>()
  /** With some that are gone, never at the end. */
  #inOrder: Retained[] = []
  #gone = 0
  /** A recovery meets what a snapshot has already once more. */
  #isSorted = true

  get size(): number {
    return this.#byName.size
  }

  get(full: string): Retained | undefined {
    return this.#byName.get(full)
  }

  /** @param at absent: it is stored for the first time */
  set(full: string, place: number, size: number, at = place): void {
    this.delete(full)
    if ((this.#inOrder.at(-1)?.at ?? -1) > at) this.#isSorted = false
    const one = { full, at, place, size, isGone: false }
    this.#byName.set(full, one)
    this.#inOrder.push(one)
  }

  delete(full: string): void {
    const one = this.#byName.get(full)
    if (!one) return
    this.#byName.delete(full)
    one.isGone = true
    this.#gone++
    for (; this.#inOrder.at(-1)?.isGone; this.#gone--) this.#inOrder.pop()
    if (this.#gone <= GONE_MIN || this.#gone * 2 < this.#inOrder.length) return
    this.#inOrder = this.#inOrder.filter(({ isGone }) => !isGone)
    this.#gone = 0
  }

  /** The record that stood at `from` was written again. */
  moved(full: string, from: number, place: number, size: number): void {
    const one = this.#byName.get(full)
    if (one?.place === from) Object.assign(one, { place, size })
  }

  /** In their order; some may be gone. */
  get inOrder(): readonly Retained[] {
    if (this.#isSorted) return this.#inOrder
    this.#isSorted = true
    this.#gone = 0
    return (this.#inOrder = this.#inOrder.filter(({ isGone }) => !isGone).sort(byAt))
  }

  /** The index in {@link inOrder} of the first one that was stored behind this place. */
  behind(at: number): number {
    const { inOrder } = this
    let low = 0
    let high = inOrder.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (inOrder[middle]!.at <= at) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Where the newest was first stored; −1: there is none. */
  get newest(): number {
    return this.inOrder.at(-1)?.at ?? -1
  }

  /** Others may come and go meanwhile. */
  *[Symbol.iterator](): Iterator<Retained> {
    for (let after = -1; ; ) {
      const one = this.inOrder[this.behind(after)]
      if (!one) return
      after = one.at
      if (!one.isGone) yield one
    }
  }
}

const byAt = (one: Retained, other: Retained): number => one.at - other.at
