/** How often something took how long. Plain data, to be shown elsewhere. */
export interface Spread {
  /** Upper bounds in seconds, ascending. */
  readonly bounds: readonly number[]
  /** One more than bounds: the last one is of what took longer than all of them. */
  readonly counts: readonly number[]
  /** Seconds, all together. */
  readonly sum: number
}

/** What a disk takes: from a cache that answers at once to one that is about to fail. */
const BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

export class Durations {
  readonly #counts = new Array<number>(BOUNDS.length + 1).fill(0)
  #sum = 0

  observe(seconds: number): void {
    let at = 0
    while (at < BOUNDS.length && seconds > BOUNDS[at]!) at++
    this.#counts[at]!++
    this.#sum += seconds
  }

  /** As of now. */
  get spread(): Spread {
    return { bounds: BOUNDS, counts: [...this.#counts], sum: this.#sum }
  }
}
