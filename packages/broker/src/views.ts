import type { StoredRecord } from '@sluice/remoting'

const VIEWS = 512
/** Views that stand further apart are not remembered together: they hold the memory of the log around them. */
const VIEWS_BYTES = 8 * 1024 * 1024
const slotOf = (place: number): number => Math.imul((place % 2 ** 32) >>> 3, 0x9e3779b1) >>> 23

/**
 * Views that are remembered, so that all subscribers of a fan-out have one and its properties are parsed once. Those of
 * what is written now in the order of their places, in which they are asked for; others in a table by place. Fixed arrays:
 * a Map that is filled and emptied without end keeps all that ever stood in it until the next full collection.
 */
export class Views {
  readonly #newest: (StoredRecord | undefined)[] = new Array(VIEWS).fill(undefined)
  readonly #newestPlaces = new Float64Array(VIEWS)
  /** Who has not asked for it yet. */
  readonly #newestReaders = new Uint32Array(VIEWS)
  /** Numbers of the newest, counted for ever: from the first one that is remembered to the next one. */
  #first = 0
  #next = 0
  /** Where the last one was found. */
  #hint = 0
  readonly #others: (StoredRecord | undefined)[] = new Array(VIEWS).fill(undefined)
  readonly #otherPlaces = new Float64Array(VIEWS)
  #othersFrom = 0

  /** Of a record that was just written, behind all others, for so many readers. */
  push(view: StoredRecord, place: number, readers: number): void {
    if (this.#next > this.#first && this.#placeOf(this.#next - 1) >= place) this.#forget(this.#next)
    this.#forget(this.#next - VIEWS + 1)
    while (this.#first < this.#next && this.#placeOf(this.#first) <= place - VIEWS_BYTES) this.#forget(this.#first + 1)
    this.#newest[this.#next % VIEWS] = view
    this.#newestPlaces[this.#next % VIEWS] = place
    this.#newestReaders[this.#next % VIEWS] = readers
    this.#next++
  }

  /** Of a record that was read. */
  keep(view: StoredRecord, place: number): StoredRecord {
    if (place < this.#othersFrom || place >= this.#othersFrom + VIEWS_BYTES) {
      this.#others.fill(undefined)
      this.#othersFrom = place
    }
    const slot = slotOf(place)
    this.#others[slot] = view
    this.#otherPlaces[slot] = place
    return view
  }

  /**
   * For one of its readers. After the last one it is forgotten: nearly every message has one, and dies young with its packets
   * and the memory that they were cut from.
   */
  take(place: number): StoredRecord | undefined {
    const number = this.#find(place)
    const view = number < 0 ? undefined : this.#newest[number % VIEWS]
    if (!view) return this.at(place)
    if (--this.#newestReaders[number % VIEWS]! <= 0) this.#newest[number % VIEWS] = undefined
    return view
  }

  at(place: number): StoredRecord | undefined {
    const number = this.#find(place)
    const newest = number < 0 ? undefined : this.#newest[number % VIEWS]
    if (newest) return newest
    const slot = slotOf(place)
    return this.#otherPlaces[slot] === place ? this.#others[slot] : undefined
  }

  #placeOf(number: number): number {
    return this.#newestPlaces[number % VIEWS]!
  }

  #forget(to: number): void {
    for (; this.#first < to; this.#first++) this.#newest[this.#first % VIEWS] = undefined
  }

  /** Who reads goes from one to the next, or begins anew. −1: it is not here. */
  #find(place: number): number {
    let low = this.#first
    let high = this.#next
    if (low === high || place < this.#placeOf(low)) return -1
    const guess = this.#hint + 1
    if (guess >= low && guess < high && this.#placeOf(guess) === place) low = guess
    else
      while (low < high) {
        const middle = Math.floor((low + high) / 2)
        if (this.#placeOf(middle) < place) low = middle + 1
        else high = middle
      }
    if (low === this.#next || this.#placeOf(low) !== place) return -1
    this.#hint = low
    return low
  }
}
