import { violation } from './frames.ts'

/**
 * What a peer may do at once, and each second, that is work for us and brings it nothing: streams that are given up or
 * refused, frames without content.
 */
const MOST = 4_096
const A_SECOND = 512

export class Strain {
  #sum = 0

  /** @throws Fault 'malformed' */
  add(by: number): void {
    this.#sum += by
    if (this.#sum > MOST) throw violation('ENHANCE_YOUR_CALM', 'too much that leads to nothing')
  }

  /** Once a second. */
  tick(): void {
    this.#sum = Math.max(0, this.#sum - A_SECOND)
  }
}
