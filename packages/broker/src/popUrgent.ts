import type { Cursor } from './cursor.ts'
import { type Ask, type Taken, take } from './popSelect.ts'
import { flag, levelOf } from './queueIndex.ts'
import type { QueueState } from './topics.ts'

/** Index entries of higher priorities that one pop looks at. */
const SCAN_MAX = 65_536

/** Priorities above 0 in these queues, the highest first. */
const levelsOf = (queues: readonly QueueState[]): readonly number[] => {
  const levels = new Set<number>()
  for (const { records } of queues) for (const level of records.levels.keys()) levels.add(level)
  return [...levels].sort((a, b) => b - a)
}

/**
 * Messages that were never popped, the highest priority of all queues first. What has none waits for its turn, and so do
 * ordered pops and pulls: there the offset alone counts.
 */
export const takeUrgent = (
  ask: Ask,
  queues: readonly QueueState[],
  cursors: readonly Cursor[],
  taken: Taken[],
): void => {
  const levels = levelsOf(queues)
  if (levels.length === 0) return
  const room = Math.min(ask.max, ask.core.state.bounds.leases - ask.groupTopic.held)
  let left = SCAN_MAX
  for (const level of levels) {
    for (const [at, queue] of queues.entries()) {
      left = takeLevel(ask, queue, cursors[at]!, { level, room, left }, taken)
      if (taken.length >= room || left <= 0) break
    }
    if (taken.length >= room || left <= 0) break
  }
  for (const [at, queue] of queues.entries()) passOver(queue, cursors[at]!)
}

const takeLevel = (
  ask: Ask,
  queue: QueueState,
  cursor: Cursor,
  { level, room, left }: { readonly level: number; readonly room: number; readonly left: number },
  taken: Taken[],
): number => {
  const { records } = queue
  const { hashes } = ask.wanted
  let tries = left
  while (taken.length < room && tries > 0) {
    const offset = records.nextOf(level, Math.max(cursor.next, cursor.ahead.get(level) ?? 0, records.min))
    if (offset < 0 || offset >= queue.visible) break
    tries--
    cursor.took(level, offset + 1)
    if (records.flags(offset) & flag.lost || (hashes && !hashes.has(records.tag(offset)))) continue
    taken.push(take(ask, queue, cursor, offset))
  }
  return tries
}

/** What begins with messages that are taken begins after them. */
const passOver = (queue: QueueState, cursor: Cursor): void => {
  const { records, visible } = queue
  while (
    cursor.next >= records.min &&
    cursor.next < visible &&
    cursor.isAhead(cursor.next, levelOf(records.flags(cursor.next)))
  )
    cursor.next++
}
