export interface Pointer {
  readonly place: number
  readonly size: number
  readonly notes: readonly string[] | undefined
}

/** The records that wait in an inbox or a share, in the order of their places: pointers into the log, no copies. */
export class Pointers {
  #places: number[] = []
  #sizes: number[] = []
  #notes: (readonly string[] | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#places.length - this.#head
  }

  push(place: number, size: number, notes: readonly string[] | undefined): void {
    this.#places.push(place)
    this.#sizes.push(size)
    this.#notes.push(notes)
  }

  at(index: number): Pointer {
    const at = this.#head + index
    return { place: this.#places[at]!, size: this.#sizes[at]!, notes: this.#notes[at] }
  }

  placeAt(index: number): number {
    return this.#places[this.#head + index]!
  }

  shift(): Pointer {
    const first = this.at(0)
    this.#notes[this.#head] = undefined
    this.#head++
    if (this.#head >= 64 && this.#head * 2 > this.#places.length) {
      this.#places = this.#places.slice(this.#head)
      this.#sizes = this.#sizes.slice(this.#head)
      this.#notes = this.#notes.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Back among the others, by its place. */
  insert({ place, size, notes }: Pointer): void {
    const at = this.#find(place)
    this.#places.splice(at, 0, place)
    this.#sizes.splice(at, 0, size)
    this.#notes.splice(at, 0, notes)
  }

  /** Takes the one at this place out; undefined: it is not here. */
  remove(place: number): Pointer | undefined {
    const at = this.#find(place)
    if (this.#places[at] !== place) return undefined
    const found = this.at(at - this.#head)
    if (at === this.#head) return this.shift()
    this.#places.splice(at, 1)
    this.#sizes.splice(at, 1)
    this.#notes.splice(at, 1)
    return found
  }

  #find(place: number): number {
    let low = this.#head
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#places[middle]! < place) low = middle + 1
      else high = middle
    }
    return low
  }
}
