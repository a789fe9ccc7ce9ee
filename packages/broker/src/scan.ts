import { announced, type Entry, findEntry, HEADER, openEntry } from './entry.ts'
import type { Segment, Segments } from './segments.ts'

/** What a scan came upon that is no entry. `to`: where entries go on; undefined: there are none behind it. */
export interface Damage {
  readonly at: number
  readonly to: number | undefined
}

/** Bytes read at a time. */
const WINDOW = 4 * 1024 * 1024

/** Whether what lies behind damage is still part of the log. `to`: the next whole entry. */
export type GoOn = (at: number, to: number) => boolean | Promise<boolean>

/**
 * The entries of a segment from a position on. Chains are handed over as a whole; one that is not whole is damage from
 * its first entry on. After damage the scan goes on at the next whole entry if `goOn` says so.
 * @returns the position after the last whole chain
 */
export const scanSegment = async (
  segments: Segments,
  segment: Segment,
  from: number,
  apply: (entry: Entry) => void,
  damaged: (damage: Damage) => void,
  goOn: GoOn = () => true,
): Promise<number> => {
  const window = new Window(segments, segment)
  let at = from
  let good = from
  let chain: Entry[] = []
  while (at < segment.end) {
    const entry = await window.entry(at)
    if (entry) {
      at += HEADER + entry.payload.length
      // The window moves on while a chain is held: chains are short, a copy is cheap.
      if (entry.chained) chain.push({ ...entry, payload: Buffer.from(entry.payload) })
      else {
        for (const one of chain) apply(one)
        apply(entry)
        chain = []
        good = at
      }
      continue
    }
    chain = []
    const next = await findNext(segments, segment, at)
    if (next === undefined || !(await goOn(good, next))) {
      damaged({ at: good, to: undefined })
      return good
    }
    damaged({ at: good, to: next })
    at = good = next
  }
  if (chain.length > 0) damaged({ at: good, to: undefined })
  return good
}

/** A few MiB of a segment at a time. */
class Window {
  readonly #segments: Segments
  readonly #segment: Segment
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0

  constructor(segments: Segments, segment: Segment) {
    this.#segments = segments
    this.#segment = segment
  }

  /** Undefined: no whole entry stands there. */
  async entry(at: number): Promise<Entry | undefined> {
    await this.#need(at, HEADER)
    if (this.#left(at) < HEADER) return undefined
    const size = announced(this.#bytes, at - this.#start)
    if (size === 0 || at + HEADER + size > this.#segment.end) return undefined
    await this.#need(at, HEADER + size)
    return openEntry(this.#bytes, at - this.#start, at)
  }

  #left(at: number): number {
    return this.#bytes.length - (at - this.#start)
  }

  async #need(at: number, bytes: number): Promise<void> {
    if (at >= this.#start && this.#left(at) >= bytes) return
    this.#bytes = await this.#segments.read(at, Math.max(WINDOW, bytes))
    this.#start = at
  }
}

/** Looks for a whole entry behind damage. The rest of the segment is read at once: this is rare, and short at a torn tail. */
const findNext = async (segments: Segments, segment: Segment, from: number): Promise<number | undefined> => {
  const bytes = await segments.read(from + 1, segment.end - from - 1)
  const found = findEntry(bytes, 0, from + 1)
  return found < 0 ? undefined : from + 1 + found
}
