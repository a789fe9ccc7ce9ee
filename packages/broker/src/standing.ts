import { BytesWriter } from './bytes.ts'
import { flag } from './queueIndex.ts'
import type { QueueState } from './topics.ts'

/** u32 of an entry: number of its queue and flags << 24 · place − base · size · i32 tag */
export const ENTRY_WORDS = 4
export const NUMBER_MAX = 0xffffff
export const FLAGS_SHIFT = 24
/** Entries of a page. */
const PAGE = 4096

/** Of one segment, as it is written into its sidecar. */
export interface Stood {
  /** The place that its places are counted from. */
  readonly base: number
  /** How many queues the table names. */
  readonly queues: number
  /** text topic · number queue · number offset of its first record here; of each queue, in the order of their numbers */
  readonly table: Buffer
  readonly pages: readonly Uint32Array[]
  /** It had more queues than have a number: it is not to be written. */
  readonly isPart: boolean
}

/**
 * What stands in queues of the segment that is being written, in the order of the log. Written down with each record,
 * while all of it is at hand: when the segment is full nobody has to look for its queues, however many there are.
 */
export class Standing {
  #segment = 1
  #queues = 0
  #base = 0
  #table: BytesWriter | undefined
  #pages: Uint32Array[] = []
  #page = new Uint32Array(0)
  #used = 0

  /**
   * Before its index has it.
   * @param gap offsets of the queue were left out before it
   */
  add(queue: QueueState, offset: number, gap: boolean, place: number, size: number, tag: number, flags: number): void {
    if (queue.segment !== this.#segment) this.#enter(queue, offset, place)
    else if (gap) this.#put(queue.number | (flag.lost << FLAGS_SHIFT), Math.floor(offset / LOW), offset, 0)
    this.#put(queue.number | (flags << FLAGS_SHIFT), place - this.#base, size, tag)
  }

  #enter(queue: QueueState, offset: number, place: number): void {
    if (!this.#table) {
      this.#table = new BytesWriter()
      this.#base = place
    }
    queue.segment = this.#segment
    queue.number = Math.min(this.#queues++, NUMBER_MAX)
    this.#table.text(queue.topic.name).number(queue.index).number(offset)
  }

  #put(first: number, second: number, third: number, fourth: number): void {
    if (this.#used === this.#page.length) {
      this.#page = new Uint32Array(PAGE * ENTRY_WORDS)
      this.#pages.push(this.#page)
      this.#used = 0
    }
    const page = this.#page
    const at = this.#used
    page[at] = first
    page[at + 1] = second
    page[at + 2] = third
    page[at + 3] = fourth
    this.#used = at + ENTRY_WORDS
  }

  /** As it is now: what comes later is not in it. */
  get stood(): Stood {
    const { length } = this.#pages
    return {
      base: this.#base,
      queues: this.#queues,
      table: this.#table?.done() ?? Buffer.alloc(0),
      pages: this.#pages.map((page, at) => (at === length - 1 ? page.subarray(0, this.#used) : page)),
      isPart: this.#queues > NUMBER_MAX,
    }
  }

  /** Another segment begins. */
  next(): void {
    this.#segment++
    this.#queues = 0
    this.#table = undefined
    this.#pages = []
    this.#page = new Uint32Array(0)
    this.#used = 0
  }
}
const LOW = 2 ** 32
