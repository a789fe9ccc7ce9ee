/** What the index knows of a record without reading it: two flags, and above them its priority. */
export const flag = { expires: 1, lost: 2 } as const
const LEVEL_SHIFT = 2
/** Higher priorities are this one. */
export const LEVEL_MAX = 63

export const flagsOf = (expires: boolean, priority: number | undefined): number =>
  (expires ? flag.expires : 0) | (Math.min(Math.max(0, priority ?? 0), LEVEL_MAX) << LEVEL_SHIFT)
export const levelOf = (flags: number): number => flags >> LEVEL_SHIFT

const CHUNK = 4096
/** A queue with fewer messages has a plain array: a small typed one costs three objects, one of them outside the heap. */
const PLAIN = 32
/** u32 place, low · u8 flags, 3 bits nothing, 21 bits place, high · u32 size · i32 tag hash */
const WORDS = 4
const PLACE_BITS = 0x1fffff
const FLAGS_SHIFT = 24
const LOW = 2 ** 32

const none: ReadonlyMap<number, readonly number[]> = new Map()

/**
 * Where the messages of one queue are: 16 bytes a message, in chunks of 4,096, the first of which grows.
 * Offsets run without a hole from `min` to `max` (exclusive); an offset whose record could not be recovered is flagged lost.
 */
export class QueueIndex {
  #chunks: (Uint32Array | number[])[] = []
  /** Offset of the first chunk's first slot. */
  #base = 0
  #levels: Map<number, number[]> | undefined
  min = 0
  max = 0

  /** Begins elsewhere than at 0. Only while it is empty. */
  startAt(offset: number): void {
    this.#chunks = []
    this.#levels = undefined
    this.#base = this.min = this.max = offset
  }

  push(place: number, size: number, tag: number, flags: number): void {
    const at = this.max - this.#base
    const word = (at % CHUNK) * WORDS
    const chunk = this.#room(Math.floor(at / CHUNK), word)
    chunk[word] = place % LOW
    chunk[word + 1] = ((flags << FLAGS_SHIFT) | Math.floor(place / LOW)) >>> 0
    chunk[word + 2] = size
    chunk[word + 3] = tag >>> 0
    if (levelOf(flags) > 0) this.#addLevel(levelOf(flags), this.max)
    this.max++
  }

  /** The chunk of this number, with room for a message at this word. */
  #room(number: number, word: number): Uint32Array | number[] {
    let chunk = this.#chunks[number]
    // A queue with few messages stays small; one that has filled a chunk gets the next in one piece.
    if (!chunk) chunk = number === 0 ? [0, 0, 0, 0] : new Uint32Array(CHUNK * WORDS)
    else if (word < chunk.length || word < PLAIN * WORDS) return chunk
    else {
      const bigger = new Uint32Array(Math.min(CHUNK * WORDS, chunk.length * 2))
      bigger.set(chunk)
      chunk = bigger
    }
    this.#chunks[number] = chunk
    return chunk
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
    return this.#chunks[Math.floor(at / CHUNK)]![(at % CHUNK) * WORDS + word]!
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
    if (whole <= 0) return
    this.#chunks.splice(0, whole)
    this.#base += whole * CHUNK
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
