import { crc32 } from 'node:zlib'
import { BytesReader, BytesWriter } from './bytes.ts'
import { flag } from './queueIndex.ts'
import { ENTRY_WORDS, FLAGS_SHIFT, NUMBER_MAX, type Stood } from './standing.ts'
import type { State } from './state.ts'
import type { QueueState, TopicState } from './topics.ts'

/**
 * What stands in the queues of one segment, so that a start need not read it:
 *   u32 SIDECAR · number version · number start · number end · number newest · number base ·
 *   number of queues · bytes of their table · bytes of ORDER · number of bytes of entries · entries · u32 CRC-32 of all before
 *   table and entries: see `standing.ts`. An entry whose flags say "lost" is no record: offset / 2^32, offset % 2^32 of the
 *   next one of its queue. Its words are in the machine's own order, which ORDER shows.
 */
const SIDECAR = 0x534c5358 // "SLSX"
const VERSION = 2
const ORDER = Buffer.from(new Uint32Array([0x01020304]).buffer)
const LOW = 2 ** 32

export interface Sidecar {
  readonly start: number
  /** It speaks of the records below this position. */
  readonly end: number
  /** When the newest of them was stored. */
  readonly newest: number
}

/** The parts of the file, each made when it is asked for. */
export function* sliceSidecar(stood: Stood, { start, end, newest }: Sidecar): Generator<Buffer, void> {
  const { base, queues, table, pages } = stood
  const head = new BytesWriter(table.length + 128).u32(SIDECAR).number(VERSION).number(start).number(end).number(newest)
  head.number(base).number(queues).bytes(table).bytes(ORDER)
  head.number(pages.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let crc = crc32(head.done())
  yield head.done()
  for (const { buffer, byteOffset, byteLength } of pages) {
    const words = Buffer.from(buffer, byteOffset, byteLength)
    crc = crc32(words, crc)
    yield words
  }
  yield new BytesWriter().u32(crc).done()
}

/** Undefined: not a sidecar of this segment, of another version or kind of machine, or damaged. */
export const openSidecar = (bytes: Buffer, start: number): { sidecar: Sidecar; body: BytesReader } | undefined => {
  if (bytes.length < 12 || bytes.readUInt32BE(0) !== SIDECAR) return undefined
  if (crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(bytes.length - 4)) return undefined
  const body = new BytesReader(bytes, 4)
  if (body.number() !== VERSION || body.number() !== start) return undefined
  return { sidecar: { start, end: body.number(), newest: body.number() }, body }
}

interface Place {
  readonly topic: TopicState | undefined
  readonly queue: QueueState | undefined
  next: number
}

/** Puts the records below `limit` into the queues of topics that still are what they were. @returns false: of another kind of machine */
export const loadSidecar = (body: BytesReader, limit: number, state: State): boolean => {
  const base = body.number()
  const queues = body.number()
  const table = new BytesReader(body.bytes())
  const places = Array.from({ length: queues }, (): Place => {
    const topic = state.topics.get(table.text())
    const index = table.number()
    return { topic, queue: topic?.queues[index], next: table.number() }
  })
  if (!body.bytes().equals(ORDER)) return false
  const { buffer, byteOffset, length } = body.bytes()
  const words = new Uint32Array(buffer.slice(byteOffset, byteOffset + length))
  for (let at = 0; at < words.length; at += ENTRY_WORDS) {
    const of = places[words[at]! & NUMBER_MAX]!
    const flags = words[at]! >>> FLAGS_SHIFT
    if (flags & flag.lost) {
      of.next = words[at + 1]! * LOW + words[at + 2]!
      continue
    }
    const offset = of.next++
    const place = base + words[at + 1]!
    const { topic, queue } = of
    if (!topic || !queue || place >= limit || place <= topic.created) continue
    state.restore(queue, offset, place, words[at + 2]!, words[at + 3]! | 0, flags)
  }
  return true
}
