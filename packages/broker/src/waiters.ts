/** Somebody who stands in one line at a time and is woken from it. */
export abstract class Waiter {
  /** Its neighbours in the line: the line's own. */
  before: Waiter | undefined
  behind: Waiter | undefined

  abstract wake(): void
}

/**
 * A line in the order of joining. Links and no Set: a table that is filled and emptied without end keeps all that ever
 * stood in it until the next full collection.
 */
export class Waiters {
  first: Waiter | undefined
  #last: Waiter | undefined

  add(waiter: Waiter): void {
    waiter.before = this.#last
    if (this.#last) this.#last.behind = waiter
    else this.first = waiter
    this.#last = waiter
  }

  /** Of one that stands here, or in no line. */
  delete(waiter: Waiter): void {
    const { before, behind } = waiter
    if (!before && this.first !== waiter) return
    if (before) before.behind = behind
    else this.first = behind
    if (behind) behind.before = before
    else this.#last = before
    waiter.before = waiter.behind = undefined
  }

  /** Each that stands here now: they may leave meanwhile. */
  wake(): void {
    for (let waiter = this.first, last = this.#last; waiter; ) {
      const next: Waiter | undefined = waiter === last ? undefined : waiter.behind
      waiter.wake()
      waiter = next
    }
  }
}
