/** Figures of one metric over all rounds. */
export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws RangeError for no figures */
export const summary = (values: readonly number[]): Summary => {
  if (values.length === 0) throw new RangeError('no figures')
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)! }
}

/**
 * Ours over the peer's: of the medians, with the least and the greatest of the rounds, each of ours against the peer's
 * of the same round. Rounds are neighbours in time; so the spread says what the machine's mood did to the claim.
 */
export const ratio = (ours: readonly number[], peers: readonly number[]): Summary => {
  const rounds = ours.slice(0, peers.length).map((value, round) => value / peers[round]!)
  const { min, max } = summary(rounds)
  return { median: summary(ours).median / summary(peers).median, min, max }
}

/** Buckets a doubling of the value: 2⁻⁷ is below one per cent. */
const FINE = 128
/** Values from 1 to 2³⁶: a microsecond to nineteen hours, when microseconds are recorded. */
const DOUBLINGS = 36

/** Latencies of a run in a fixed 36 KiB, each to within one per cent, however many there are. */
export class Latencies {
  readonly #buckets = new Float64Array(FINE * DOUBLINGS)
  count = 0
  max = 0

  /** Microseconds, or any unit of which one is fine enough. */
  record(value: number): void {
    this.count++
    if (value > this.max) this.max = value
    const at = Math.floor(Math.log2(Math.max(1, value)) * FINE)
    this.#buckets[Math.min(at, this.#buckets.length - 1)]!++
  }

  /** `share` from 0 to 1. The upper end of the bucket; 0 when nothing was recorded. */
  percentile(share: number): number {
    if (this.count === 0) return 0
    let left = Math.max(1, Math.ceil(share * this.count))
    for (let at = 0; at < this.#buckets.length; at++) {
      left -= this.#buckets[at]!
      if (left <= 0) return Math.min(this.max, 2 ** ((at + 1) / FINE))
    }
    return this.max
  }
}
