/** So many are remembered, the latest. */
const MOST = 1_024

/** Streams that we ended while the peer was still talking; what it said before it knew is passed over. [RFC 9113 §5.1] */
export class CutShort {
  readonly #streams = new Set<number>()

  add(stream: number): void {
    this.#streams.add(stream)
    if (this.#streams.size <= MOST) return
    const [oldest] = this.#streams
    this.#streams.delete(oldest!)
  }

  /** Nothing more comes on it. */
  delete(stream: number): void {
    this.#streams.delete(stream)
  }

  /** Whether the peer may say this. `last`: it says no more. */
  forgives(stream: number, last: boolean): boolean {
    return last ? this.#streams.delete(stream) : this.#streams.has(stream)
  }
}
