import type { Clock, Log as Lines } from '@sluice/core'
import type { Counters } from './core.ts'
import type { OpenFile } from './files.ts'
import { Replay } from './replay.ts'
import { type Damage, scanSegment } from './scan.ts'
import type { Segments } from './segments.ts'
import type { State } from './state.ts'

interface Recovered {
  readonly file: OpenFile
  /** Where the log goes on. */
  readonly end: number
}

/** Rebuilds the state from what the directory holds, and opens the log for writing on. */
export const recover = async (
  segments: Segments,
  state: State,
  counters: Counters,
  clock: Clock,
  lines: Lines,
): Promise<Recovered> => {
  await segments.load()
  const replay = new Replay(state)
  const damages: Damage[] = []
  let end = segments.first
  for (const segment of segments.list) {
    segment.newest = clock.now()
    end = await scanSegment(
      segments,
      segment,
      segment.start,
      (entry) => replay.apply(entry),
      (damage) => damages.push(damage),
    )
  }
  const torn = report(damages, replay.synced, segments, counters, lines)
  showAll(state)
  const last = segments.list.at(-1)
  if (!last) return { file: await segments.create(0, clock.now()), end: 0 }
  void torn
  return { file: await segments.reopen(last, end), end }
}

/**
 * Damage that whole entries follow is loss when it lies below what was known to be durable. What the last segment ends
 * with is a torn tail: it was never acknowledged under flush sync.
 */
const report = (
  damages: readonly Damage[],
  synced: number,
  segments: Segments,
  counters: Counters,
  lines: Lines,
): void => {
  const last = segments.list.at(-1)
  for (const { at, to } of damages) {
    const end = to ?? segments.at(at)?.end ?? at
    const bytes = end - at
    const isTail = last !== undefined && at >= last.start && to === undefined
    if (at < synced || !isTail) {
      counters.unreadableBytes += bytes
      lines.error('log.damaged', { at, bytes })
    } else {
      counters.cutBytes += bytes
      lines.warn('log.cut', { at, bytes })
    }
  }
}

const showAll = (state: State): void => {
  for (const topic of state.topics.values()) for (const queue of topic.queues) queue.visible = queue.records.max
  for (const inbox of state.inboxes.values()) inbox.showAll()
  for (const share of state.shares.values()) share.showAll()
}
