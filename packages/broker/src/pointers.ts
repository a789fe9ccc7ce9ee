export interface Pointer {
  readonly place: number
  readonly size: number
  readonly notes: readonly string[] | undefined
}

/**
 * The records that wait in an inbox or a share, in the order of their places: pointers into the log, no copies. One is an
 * object, more are 24 bytes each.
 */
export class Pointers {
  #one: Pointer | undefined
  #more: Arrays | undefined

  get length(): number {
    return this.#more?.length ?? (this.#one ? 1 : 0)
  }

  push(place: number, size: number, notes: readonly string[] | undefined): void {
    if (this.#more) this.#more.push(place, size, notes)
    else if (this.#one) this.#asArrays().push(place, size, notes)
    else this.#one = { place, size, notes }
  }

  all(): Pointer[] {
    return Array.from({ length: this.length }, (_, at) => this.at(at))
  }

  /** @param index below {@link length} */
  at(index: number): Pointer {
    return this.#more ? this.#more.at(index) : this.#one!
  }

  placeAt(index: number): number {
    return this.#more ? this.#more.placeAt(index) : this.#one!.place
  }

  /** Of at least one. */
  shift(): Pointer {
    const first = this.#more ? this.#more.shift() : this.#one!
    this.#one = undefined
    this.#forgetNone()
    return first
  }

  /** Back among the others, by its place. */
  insert(pointer: Pointer): void {
    if (this.length === 0) this.#one = pointer
    else this.#asArrays().insert(pointer)
  }

  /** Takes the one at this place out; undefined: it is not here. */
  remove(place: number): Pointer | undefined {
    if (this.#one?.place === place) return this.shift()
    const found = this.#more?.remove(place)
    this.#forgetNone()
    return found
  }

  #asArrays(): Arrays {
    if (this.#more) return this.#more
    this.#more = new Arrays()
    const { place, size, notes } = this.#one!
    this.#more.push(place, size, notes)
    this.#one = undefined
    return this.#more
  }

  /** An empty one is small again. */
  #forgetNone(): void {
    if (this.#more?.length === 0) this.#more = undefined
  }
}

class Arrays {
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

  insert({ place, size, notes }: Pointer): void {
    const at = this.#find(place)
    this.#places.splice(at, 0, place)
    this.#sizes.splice(at, 0, size)
    this.#notes.splice(at, 0, notes)
  }

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
