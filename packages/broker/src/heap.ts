/** Soonest first. Nothing is taken out of the middle: the owner tells what still counts. */
export class Heap<T> {
  #times: number[] = []
  #items: T[] = []

  get size(): number {
    return this.#times.length
  }

  push(time: number, item: T): void {
    const times = this.#times
    const items = this.#items
    let at = times.length
    times.push(time)
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (times[parent]! <= time) break
      times[at] = times[parent]!
      items[at] = items[parent]!
      at = parent
    }
    times[at] = time
    items[at] = item
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
    const times = this.#times
    const items = this.#items
    const time = times.pop()
    const item = items.pop()
    const count = times.length
    if (time === undefined || count === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= count) break
      if (child + 1 < count && times[child + 1]! < times[child]!) child++
      if (times[child]! >= time) break
      times[at] = times[child]!
      items[at] = items[child]!
      at = child
    }
    times[at] = time
    items[at] = item as T
  }

  clear(): void {
    this.#times = []
    this.#items = []
  }
}
