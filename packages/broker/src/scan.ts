import { announced, type Entry, findEntry, HEADER, openEntry } from './entry.ts'
import type { Segment, Segments } from './segments.ts'

/** What a scan came upon that is no entry. `to`: where entries go on, or what was written ends. */
export interface Damage {
  readonly at: number
  readonly to: number
}

/** Bytes read at a time. */
const WINDOW = 4 * 1024 * 1024
/** Bytes compared at a time. */
const ZEROS = 4096

/** Of the segment that was written last: whether what lies behind damage is still part of the log. `to`: the next whole entry. */
export type GoOn = (at: number, to: number) => boolean | Promise<boolean>

/**
 * The entries of a segment from a position on. Chains are handed over as a whole; one that is not whole is damage from
 * its first entry on. After damage the scan goes on at the next whole entry; where `goOn` is given, only if it says so,
 * and zeros that nothing follows are no damage: they were laid ahead of the end.
 * @returns the position after the last whole chain
 */
export const scanSegment = async (
  segments: Segments,
  segment: Segment,
  from: number,
  apply: (entry: Entry) => void,
  damaged: (damage: Damage) => void,
  goOn?: GoOn,
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
    // This is rare, and short but for zeros.
    const rest = await segments.read(at, segment.end - at)
    const found = findEntry(rest, 1, at)
    if (found < 0 || (goOn && !(await goOn(good, at + found)))) {
      const to = goOn ? at + lengthWithoutZeros(rest) : segment.end
      if (to > good) damaged({ at: good, to })
      return good
    }
    damaged({ at: good, to: at + found })
    at = good = at + found
  }
  if (chain.length > 0) damaged({ at: good, to: at })
  return good
}

/** Up to the last byte that is none. */
const lengthWithoutZeros = (bytes: Buffer): number => {
  const zeros = Buffer.alloc(ZEROS)
  let length = bytes.length
  while (length >= ZEROS && bytes.compare(zeros, 0, ZEROS, length - ZEROS, length) === 0) length -= ZEROS
  while (length > 0 && bytes[length - 1] === 0) length--
  return length
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
