/**
 * Soonest first, and of one time in the order they were pushed. Nothing is taken out of the middle: the owner tells what
 * still counts.
 */
export class Heap<T> {
  #times: number[] = []
  #turns: number[] = []
  #items: T[] = []
  #turn = 0

  get size(): number {
    return this.#times.length
  }

  push(time: number, item: T): void {
    const turn = this.#turn++
    // Most heaps of leases have never more than one: an array that is made with it has room for no more.
    if (turn === 0) {
      this.#times = [time]
      this.#turns = [turn]
      this.#items = [item]
      return
    }
    let at = this.#times.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(time, turn, parent)) break
      this.#copy(parent, at)
      at = parent
    }
    this.#set(at, time, turn, item)
  }

  /** The soonest item that counts, left in its place; those before it that do not are dropped. */
  first(counts: (time: number, item: T) => boolean): T | undefined {
    while (this.#times.length > 0) {
      const item = this.#items[0]!
      if (counts(this.#times[0]!, item)) return item
      this.shift()
    }
    return undefined
  }

  /** Takes the soonest out. */
  shift(): void {
    const time = this.#times.pop()
    const turn = this.#turns.pop()
    const item = this.#items.pop()
    const count = this.#times.length
    if (time === undefined || turn === undefined || count === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= count) break
      if (child + 1 < count && this.#isBefore(this.#times[child + 1]!, this.#turns[child + 1]!, child)) child++
      if (this.#isBefore(time, turn, child)) break
      this.#copy(child, at)
      at = child
    }
    this.#set(at, time, turn, item as T)
  }

  clear(): void {
    if (this.#times.length <= 1) return this.shift()
    this.#times = []
    this.#turns = []
    this.#items = []
  }

  #isBefore(time: number, turn: number, at: number): boolean {
    const other = this.#times[at]!
    return time < other || (time === other && turn < this.#turns[at]!)
  }

  #copy(from: number, to: number): void {
    this.#set(to, this.#times[from]!, this.#turns[from]!, this.#items[from]!)
  }

  #set(at: number, time: number, turn: number, item: T): void {
    this.#times[at] = time
    this.#turns[at] = turn
    this.#items[at] = item
  }
}
