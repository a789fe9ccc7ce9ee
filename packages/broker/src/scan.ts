import { announced, type Entry, findEntry, HEADER, openEntry } from './entry.ts'
import type { Segment, Segments } from './segments.ts'

/** What a scan came upon that is no entry. `to`: where entries go on; undefined: there are none behind it. */
export interface Damage {
  readonly at: number
  readonly to: number | undefined
}

const WINDOW = 4 * 1024 * 1024

/**
 * The entries of a segment from a position on. Chains are handed over as a whole; one that is not whole is damage from
 * its first entry on. After damage the scan goes on at the next whole entry, if there is one.
 * @returns the position after the last whole chain
 */
export const scanSegment = async (
  segments: Segments,
  segment: Segment,
  from: number,
  apply: (entry: Entry) => void,
  damaged: (damage: Damage) => void,
): Promise<number> => {
  let at = from
  let good = from
  let chain: Entry[] = []
  let window: Buffer = Buffer.alloc(0)
  let start = from
  const fill = async (need: number): Promise<void> => {
    if (at - start + need <= window.length) return
    window = await segments.read(at, Math.max(WINDOW, need))
    start = at
  }
  while (at < segment.end) {
    await fill(HEADER)
    const size = window.length - (at - start) < HEADER ? 0 : announced(window, at - start)
    if (size > 0) await fill(HEADER + size)
    const entry = size > 0 ? openEntry(window, at - start, at) : undefined
    if (entry) {
      at += HEADER + entry.payload.length
      // The window is dropped sooner or later and an entry may be kept: chains are short, a copy is cheap.
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
    damaged({ at: good, to: next })
    if (next === undefined) return good
    at = good = next
  }
  if (chain.length > 0) damaged({ at: good, to: undefined })
  return good
}

/** Looks for a whole entry behind damage. The rest of the segment is read at once: this is rare, and short at a torn tail. */
const findNext = async (segments: Segments, segment: Segment, from: number): Promise<number | undefined> => {
  const bytes = await segments.read(from + 1, segment.end - from - 1)
  const found = findEntry(bytes, 0, from + 1)
  return found < 0 ? undefined : from + 1 + found
}
