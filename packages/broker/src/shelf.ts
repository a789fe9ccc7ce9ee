/** Messages that a block holds, by its class. */
export const blockSizes = [4, 8, 16, 32] as const

/** u32 a page. */
const PAGE = 64 * 1024
const PAGE_BITS = 16

/**
 * Where the indexes of small queues lie, side by side in a few large arrays: a queue of its own array costs three objects,
 * which are made anew as it grows, walked at each collection, and found one behind the other. A block is a number: its page
 * and its first word there.
 */
export class Shelf {
  readonly #words: number
  readonly #pages: Uint32Array[] = []
  /** Words of the last page that are given out. */
  #used = PAGE
  /** Blocks that were given back, by class. */
  readonly #free: number[][] = blockSizes.map(() => [])

  /** @param words of a message */
  constructor(words: number) {
    this.#words = words
  }

  take(of: number): number {
    const free = this.#free[of]!.pop()
    if (free !== undefined) return free
    const words = blockSizes[of]! * this.#words
    if (this.#used + words > PAGE) {
      this.#pages.push(new Uint32Array(PAGE))
      this.#used = 0
    }
    const block = (this.#pages.length - 1) * PAGE + this.#used
    this.#used += words
    return block
  }

  give(of: number, block: number): void {
    this.#free[of]!.push(block)
  }

  page(block: number): Uint32Array {
    return this.#pages[block >>> PAGE_BITS]!
  }

  /** Its first word there. */
  wordOf(block: number): number {
    return block & (PAGE - 1)
  }
}
