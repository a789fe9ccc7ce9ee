import { crc32 } from 'node:zlib'
import { BytesReader, BytesWriter } from './bytes.ts'
import type { State } from './state.ts'
import type { QueueState } from './topics.ts'

/**
 * What stands in the queues of one segment, so that a start need not read it:
 *   u32 SIDECAR · number version · number start · number end · number newest ·
 *   list of (text topic · number queue · number first offset · bytes of 13 a record: u32 place − start, u32 size, i32 tag, u8 flags) ·
 *   u32 CRC-32 of all before
 */
const SIDECAR = 0x534c5358 // "SLSX"
const VERSION = 1
const BYTES = 13

export interface Sidecar {
  readonly start: number
  /** It speaks of the records below this position. */
  readonly end: number
  /** When the newest of them was stored. */
  readonly newest: number
}

/** Part of a queue. */
interface Stretch {
  readonly queue: QueueState
  readonly from: number
  readonly to: number
}

/** What stands in queues of the segment that ends now. */
export const stretchesOf = (queues: Iterable<QueueState>): readonly Stretch[] => {
  const stretches: Stretch[] = []
  for (const queue of queues)
    if (queue.segmentFrom >= 0) stretches.push({ queue, from: queue.segmentFrom, to: queue.records.max })
  return stretches
}

/** Bytes after which others run. */
const SLICE = 64 * 1024

/** The parts of the file, each made when it is asked for: what stands in queues does not change. */
export function* sliceSidecar(stretches: readonly Stretch[], { start, end, newest }: Sidecar): Generator<Buffer, void> {
  let writer = new BytesWriter(SLICE * 2).u32(SIDECAR).number(VERSION).number(start).number(end).number(newest)
  writer.number(stretches.length)
  let crc = 0
  for (const stretch of stretches) {
    putStretch(writer, stretch, start)
    if (writer.length < SLICE) continue
    crc = crc32(writer.done(), crc)
    yield writer.done()
    writer = new BytesWriter(SLICE * 2)
  }
  crc = crc32(writer.done(), crc)
  yield writer.u32(crc).done()
}

/** Whatever a retention has taken away meanwhile is left out. */
const putStretch = (
  writer: BytesWriter,
  { queue: { topic, queue, records }, from, to }: Stretch,
  start: number,
): void => {
  const first = Math.min(Math.max(from, records.min), to)
  const length = (to - first) * BYTES
  writer.text(topic.spec.topic).number(queue.index).number(first).number(length)
  let at = writer.reserve(length)
  const { raw } = writer
  for (let offset = first; offset < to; offset++) {
    at = raw.writeUInt32BE(Math.max(0, records.place(offset) - start), at)
    at = raw.writeUInt32BE(records.size(offset), at)
    at = raw.writeInt32BE(records.tag(offset), at)
    at = raw.writeUInt8(records.flags(offset), at)
  }
}

/** Undefined: not a sidecar of this segment, or damaged. */
export const openSidecar = (bytes: Buffer, start: number): { sidecar: Sidecar; body: BytesReader } | undefined => {
  if (bytes.length < 12 || bytes.readUInt32BE(0) !== SIDECAR) return undefined
  if (crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(bytes.length - 4)) return undefined
  const body = new BytesReader(bytes, 4)
  if (body.number() !== VERSION || body.number() !== start) return undefined
  return { sidecar: { start, end: body.number(), newest: body.number() }, body }
}

/** Puts the records below `limit` into the queues of topics that still are what they were. */
export const loadSidecar = (body: BytesReader, start: number, limit: number, state: State): void => {
  body.list(() => {
    const topic = state.topics.get(body.text())
    const index = body.number()
    const queue = topic?.queues[index]
    const first = body.number()
    const bytes = body.bytes()
    if (!topic || !queue) return
    for (let at = 0, offset = first; at < bytes.length; at += BYTES, offset++) {
      const place = start + bytes.readUInt32BE(at)
      if (place >= limit || place <= topic.created) continue
      const size = bytes.readUInt32BE(at + 4)
      state.restore(queue, offset, place, size, bytes.readInt32BE(at + 8), bytes.readUInt8(at + 12))
    }
  })
}
