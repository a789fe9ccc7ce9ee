import { crc32 } from 'node:zlib'
import { BytesReader, BytesWriter } from './bytes.ts'
import * as items from './snapshotItems.ts'
import type { State } from './state.ts'
import type { TopicState } from './topics.ts'

/**
 * The state as it is after everything below a position of the log, written in slices while the broker serves:
 *   u32 SNAPSHOT · number version · number position · number storedAt · number epoch · slices · u32 CRC-32 of all before
 *   slice: number kind · number since · bytes (number of items · items)
 * A slice speaks of its items as they are after everything below `since`. A start reads the log again from `position` on,
 * and passes over for each of them what lies below its `since` (`State.applies`). What one entry does to several things
 * is right because of the order in which the slices are made: retained messages before the inboxes that are given them;
 * shares, to which inboxes give back, and the wills that they leave, after them.
 */
const SNAPSHOT = 0x534c534e // "SLSN"
const VERSION = 4
/** Bytes after which a slice ends and others run. */
const SLICE = 64 * 1024

const kind = {
  topic: 1,
  retained: 2,
  delayed: 3,
  half: 4,
  once: 5,
  inbox: 6,
  share: 7,
  will: 8,
  group: 9,
} as const
type KindOf = (typeof kind)[keyof typeof kind]

/** Writes one item; false: it is to be left out. */
type Put<T> = (writer: BytesWriter, item: T) => unknown

/**
 * Its slices, each of the moment that it is asked for. Whoever takes them must keep them until the log is durable up to
 * where it reached at the last one.
 * @param end position after the last entry, now
 * @param slice bytes after which a slice ends
 */
export function* sliceSnapshot(state: State, end: () => number, slice = SLICE): Generator<Buffer, void> {
  const position = end()
  const cut = { end, slice }
  const head = new BytesWriter().u32(SNAPSHOT).number(VERSION).number(position)
  yield head.number(state.storedAt).number(state.epoch).done()
  const inboxes = [...state.inboxes.values()]
  const groups = [...state.groups.values()]
  yield* slices(kind.topic, [...state.topics.values()], cut, () => (writer, topic) => {
    items.putTopic(writer, topic, position)
  })
  yield* slices(kind.retained, state.retained, cut, () => items.putRetained)
  yield* slices(kind.delayed, state.delayed.values(), cut, () => items.putDelayed)
  yield* slices(kind.half, state.halves.all(), cut, () => items.putHalf)
  yield* slices(kind.once, state.once, cut, () => items.putOnce)
  yield* slices(kind.inbox, inboxes, cut, () => (writer, inbox) => {
    const isThere = inbox.logged && state.inboxes.get(inbox.name) === inbox
    if (isThere) items.putInbox(writer, inbox)
    return isThere
  })
  const shares = new Set<string>()
  yield* slices(kind.share, state.shares.values(), cut, () => {
    const drawn = items.drawnNow(state)
    return (writer, share) => {
      // One that ended and was made again stands at the end of the map once more.
      const isFirst = !shares.has(share.key)
      if (isFirst) items.putShare(writer, share, drawn.get(share) ?? [])
      shares.add(share.key)
      return isFirst
    }
  })
  yield* slices(kind.will, state.wills, cut, () => items.putWill)
  yield* slices(kind.group, groups, cut, () => (writer, group) => {
    const isThere = state.groups.get(group.spec.group) === group
    if (isThere) items.putGroup(writer, group)
    return isThere
  })
}

interface Cut {
  readonly end: () => number
  readonly slice: number
}

/** @param open called at the beginning of each slice */
function* slices<T>(of: KindOf, all: Iterable<T>, { end, slice }: Cut, open: () => Put<T>): Generator<Buffer> {
  let put: Put<T> | undefined
  let writer = new BytesWriter(slice * 2)
  let count = 0
  for (const item of all) {
    put ??= open()
    if (put(writer, item) !== false) count++
    if (writer.length < slice) continue
    yield sliceOf(of, end(), count, writer)
    put = undefined
    writer = new BytesWriter(slice * 2)
    count = 0
  }
  if (count > 0) yield sliceOf(of, end(), count, writer)
}

const sliceOf = (of: KindOf, since: number, count: number, written: BytesWriter): Buffer =>
  new BytesWriter(written.length + 32).number(of).number(since).number(count).bytes(written.done()).done()

/** What ends a snapshot. @param crc of all its slices */
export const sealOf = (crc: number): Buffer => new BytesWriter().u32(crc).done()

/** @returns the position that the state belongs to; undefined: not a snapshot, or damaged */
export const positionOf = (bytes: Buffer): number | undefined => {
  if (bytes.length < 12 || bytes.readUInt32BE(0) !== SNAPSHOT) return undefined
  if (crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(bytes.length - 4)) return undefined
  const reader = new BytesReader(bytes, 4)
  return reader.number() === VERSION ? reader.number() : undefined
}

/** Inboxes hold what shares gave them: those are there first. */
const readers: readonly (readonly [KindOf, (reader: BytesReader, state: State, since: number) => unknown])[] = [
  [kind.group, items.takeGroup],
  [kind.retained, items.takeRetained],
  [kind.delayed, items.takeDelayed],
  [kind.half, items.takeHalf],
  [kind.once, items.takeOnce],
  [kind.share, items.takeShare],
  [kind.inbox, items.takeInbox],
  [kind.will, items.takeWill],
]

/** Into an empty state. Only of bytes that {@link positionOf} has checked. @returns how far each queue reaches */
export const readSnapshot = (bytes: Buffer, state: State): Map<TopicState, readonly number[]> => {
  const reader = new BytesReader(bytes.subarray(0, -4), 4)
  reader.number()
  const position = reader.number()
  state.storedAt = reader.number()
  state.epoch = reader.number()
  const found: { of: number; since: number; count: number; body: BytesReader }[] = []
  while (reader.left > 0)
    found.push({
      of: reader.number(),
      since: reader.number(),
      count: reader.number(),
      body: new BytesReader(reader.bytes()),
    })
  const ends = new Map<TopicState, readonly number[]>()
  for (const { of, count, body } of found)
    for (let left = of === kind.topic ? count : 0; left > 0; left--) ends.set(...items.takeTopic(body, state))
  for (const [one, take] of readers) {
    for (const { of, since, count, body } of found)
      for (let left = of === one ? count : 0; left > 0; left--) take(body, state, since > position ? since : 0)
  }
  return ends
}
