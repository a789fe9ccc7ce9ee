import { blockSizes, Shelf } from './shelf.ts'

/** What the index knows of a record without reading it: two flags, and above them its priority. */
export const flag = { expires: 1, lost: 2 } as const
const LEVEL_SHIFT = 2
/** Higher priorities are this one. */
export const LEVEL_MAX = 63

export const flagsOf = (expires: boolean, priority: number | undefined): number =>
  (expires ? flag.expires : 0) | (Math.min(Math.max(0, priority ?? 0), LEVEL_MAX) << LEVEL_SHIFT)
export const levelOf = (flags: number): number => flags >> LEVEL_SHIFT

const CHUNK = 4096
/** u32 place, low · u8 flags, 3 bits nothing, 21 bits place, high · u32 size · i32 tag hash */
const WORDS = 4
const PLACE_BITS = 0x1fffff
const FLAGS_SHIFT = 24
const LOW = 2 ** 32

const wider = (words: Uint32Array, length: number): Uint32Array => {
  const bigger = new Uint32Array(length)
  bigger.set(words)
  return bigger
}

const none: ReadonlyMap<number, readonly number[]> = new Map()

/** A shelf for indexes. */
export const newShelf = (): Shelf => new Shelf(WORDS)

/**
 * Where the messages of one queue are: 16 bytes a message, in a block of the shelf as long as there are few, then in chunks
 * of 4,096, the first of which grows.
 * Offsets run without a hole from `min` to `max` (exclusive); an offset whose record could not be recovered is flagged lost.
 */
export class QueueIndex {
  readonly #shelf: Shelf
  /** Absent: all stands on the shelf. */
  #chunks: Uint32Array[] | undefined
  #block = 0
  /** Class of the block; −1: none. */
  #of = -1
  /** Messages that find room before it must grow, counted from the base. */
  #room = 0
  /** Offset of the first slot. */
  #base = 0
  #levels: Map<number, number[]> | undefined
  min = 0
  max = 0

  constructor(shelf = newShelf()) {
    this.#shelf = shelf
  }

  /** Begins elsewhere than at 0. Only while it is empty. */
  startAt(offset: number): void {
    if (this.#of >= 0) this.#shelf.give(this.#of, this.#block)
    this.#of = -1
    this.#chunks = undefined
    this.#room = 0
    this.#levels = undefined
    this.#base = this.min = this.max = offset
  }

  push(place: number, size: number, tag: number, flags: number): void {
    const at = this.max - this.#base
    if (at >= this.#room) this.#grow()
    const words = this.#wordsOf(at)
    const word = this.#wordOf(at)
    words[word] = place % LOW
    words[word + 1] = ((flags << FLAGS_SHIFT) | Math.floor(place / LOW)) >>> 0
    words[word + 2] = size
    words[word + 3] = tag >>> 0
    if (levelOf(flags) > 0) this.#addLevel(levelOf(flags), this.max)
    this.max++
  }

  #wordsOf(at: number): Uint32Array {
    return this.#chunks ? this.#chunks[Math.floor(at / CHUNK)]! : this.#shelf.page(this.#block)
  }

  #wordOf(at: number): number {
    return this.#chunks ? (at % CHUNK) * WORDS : this.#shelf.wordOf(this.#block) + at * WORDS
  }

  /** A queue with few messages stays small; one that has filled a chunk gets the next in one piece. */
  #grow(): void {
    if (!this.#chunks && this.#of + 1 < blockSizes.length) return this.#growOnShelf()
    if (!this.#chunks) return this.leaveShelf(this.#room * 2)
    const last = this.#chunks.at(-1)!
    if (last.length < CHUNK * WORDS) this.#chunks = [wider(last, last.length * 2)]
    else this.#chunks.push(new Uint32Array(CHUNK * WORDS))
    this.#room = (this.#chunks.length - 1) * CHUNK + this.#chunks.at(-1)!.length / WORDS
  }

  #growOnShelf(): void {
    const of = this.#of + 1
    const block = this.#shelf.take(of)
    const words = this.#shelf.page(block)
    const to = this.#shelf.wordOf(block)
    if (this.#of >= 0) {
      const from = this.#shelf.wordOf(this.#block)
      words.set(this.#shelf.page(this.#block).subarray(from, from + this.#room * WORDS), to)
      this.#shelf.give(this.#of, this.#block)
    }
    this.#of = of
    this.#block = block
    this.#room = blockSizes[of]!
  }

  /** What stands on the shelf goes into an array of its own: of a queue that outgrows it, or that no name leads to any more. */
  leaveShelf(room = this.#room): void {
    if (this.#of < 0) return
    const from = this.#shelf.wordOf(this.#block)
    const words = this.#shelf.page(this.#block).subarray(from, from + this.#room * WORDS)
    this.#chunks = [wider(words, room * WORDS)]
    this.#room = room
    this.#shelf.give(this.#of, this.#block)
    this.#of = -1
  }

  /** Offsets up to `offset` (exclusive) whose records are not there. */
  skipTo(offset: number): void {
    while (this.max < offset) this.push(0, 0, 0, flag.lost)
  }

  #addLevel(level: number, offset: number): void {
    this.#levels ??= new Map()
    const offsets = this.#levels.get(level)
    if (offsets) offsets.push(offset)
    else this.#levels.set(level, [offset])
  }

  /** The offsets of each priority above 0 that is in the queue, ascending. */
  get levels(): ReadonlyMap<number, readonly number[]> {
    return this.#levels ?? none
  }

  /** The first offset of this priority from `from` on; −1: there is none. */
  nextOf(level: number, from: number): number {
    const offsets = this.levels.get(level) ?? []
    let low = 0
    let high = offsets.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (offsets[middle]! < from) low = middle + 1
      else high = middle
    }
    return offsets[low] ?? -1
  }

  place(offset: number): number {
    return this.#word(offset, 0) + (this.#word(offset, 1) & PLACE_BITS) * LOW
  }
  size(offset: number): number {
    return this.#word(offset, 2)
  }
  tag(offset: number): number {
    return this.#word(offset, 3) | 0
  }
  flags(offset: number): number {
    return this.#word(offset, 1) >>> FLAGS_SHIFT
  }

  #word(offset: number, word: number): number {
    const at = offset - this.#base
    return this.#wordsOf(at)[this.#wordOf(at) + word]!
  }

  /** Where it ended when the log did at this position. */
  reach(position: number): number {
    let max = this.max
    while (max > this.min && (this.flags(max - 1) & flag.lost) === 0 && this.place(max - 1) >= position) max--
    return max
  }

  /** The offset of the record at this place; −1: it is not here. */
  offsetAt(place: number): number {
    let low = this.min
    let high = this.max
    while (low < high) {
      const middle = (low + high) >>> 1
      let known = middle
      while (known < high && this.flags(known) & flag.lost) known++
      if (known < high && this.place(known) < place) low = known + 1
      else high = middle
    }
    while (low < this.max && this.flags(low) & flag.lost) low++
    return low < this.max && this.place(low) === place ? low : -1
  }

  /** Forgets what lies below this position of the log. @returns whether anything was */
  dropBelow(position: number): boolean {
    const before = this.min
    while (this.min < this.max && (this.flags(this.min) & flag.lost || this.place(this.min) < position)) this.min++
    this.#trim()
    return this.min > before
  }

  /** Forgets the offsets below `offset`. */
  dropTo(offset: number): void {
    if (offset > this.max) this.startAt(offset)
    else this.min = Math.max(this.min, offset)
    this.#trim()
  }

  #trim(): void {
    const whole = Math.floor((this.min - this.#base) / CHUNK)
    if (whole <= 0 || !this.#chunks) return
    if (whole === this.#chunks.length) return this.startAt(this.max)
    this.#chunks.splice(0, whole)
    this.#base += whole * CHUNK
    this.#room -= whole * CHUNK
    for (const [level, offsets] of this.#levels ?? []) {
      const kept = offsets.findIndex((offset) => offset >= this.#base)
      if (kept < 0) this.#levels?.delete(level)
      else offsets.splice(0, kept)
    }
  }
}

/** Java's String.hashCode, as RocketMQ's consume queue has it of a tag; 0 without one. */
export const hashTag = (tag: string | undefined): number => {
  let hash = 0
  if (tag !== undefined) for (let at = 0; at < tag.length; at++) hash = (Math.imul(hash, 31) + tag.charCodeAt(at)) | 0
  return hash
}
