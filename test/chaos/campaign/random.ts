/** mulberry32: the same numbers from the same seed, everywhere. */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  /** 0 … 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  /** 0 … below, without it. */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }
  chance(of: number): boolean {
    return this.next() < of
  }
  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!
  }
}
