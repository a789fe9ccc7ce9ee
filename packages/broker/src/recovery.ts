import type { Clock, Log as Lines } from '@sluice/core'
import { viewRecord } from '@sluice/remoting'
import type { Checkpoints } from './checkpoints.ts'
import type { Counters } from './core.ts'
import { type Entry, isControl, isRecordPayload } from './entry.ts'
import { isBeside, PRELUDE, readEvent, readPrelude, SYNCED } from './events.ts'
import { factsOf } from './facts.ts'
import type { OpenFile } from './files.ts'
import { flagsOf, hashTag } from './queueIndex.ts'
import { Replay } from './replay.ts'
import { type Damage, scanSegment } from './scan.ts'
import type { Segment, Segments } from './segments.ts'
import { loadSidecar } from './sidecar.ts'
import { readSnapshot } from './snapshot.ts'
import type { State } from './state.ts'
import type { TopicState } from './topics.ts'

export interface Recovered {
  readonly file: OpenFile
  /** Where the log goes on. */
  readonly end: number
}

export interface RecoveryParts {
  readonly segments: Segments
  readonly checkpoints: Checkpoints
  readonly state: State
  readonly counters: Counters
  readonly clock: Clock
  readonly lines: Lines
}

/**
 * Rebuilds the state and opens the log for writing on:
 *   newest whole snapshot → queues of the records below its position from sidecars, or by reading where there is none →
 *   everything from its position on, read and applied again → what the log ends with that is not whole is cut off
 */
export const recover = async (parts: RecoveryParts): Promise<Recovered> => {
  const { segments, checkpoints, state, clock, lines } = parts
  const snapshot = await checkpoints.load()
  await segments.load()
  const from = snapshot?.position ?? segments.first
  const reach = snapshot ? readSnapshot(snapshot.bytes, state) : undefined
  if (!snapshot && segments.first > 0) lines.error('state.lost', { first: segments.first })
  const replay = new Replay(state, lines)
  const damages: Damage[] = []
  let end = from
  for (const [index, segment] of segments.list.entries()) {
    const next = segments.list[index + 1]
    segment.newest = clock.now()
    const scanned = await recoverSegment(parts, segment, from, replay, damages)
    end = Math.max(end, scanned)
    // A segment is whole on the disk before the next one gets its name.
    if (next && scanned < next.start) {
      if (damages.at(-1)?.at === scanned) damages.pop()
      damages.push({ at: scanned, to: next.start })
    }
    if (next) {
      segment.end = next.start
      await nextSegment(parts, segment)
    }
  }
  report(parts, damages, Math.max(replay.synced, from))
  if (reach) fillUp(parts, reach)
  state.recovered(segments.first, clock.now())
  return { file: await openEnd(parts, end), end }
}

/** A sealed segment that had to be read needs it only once. */
const nextSegment = async ({ state, checkpoints }: RecoveryParts, { start, end }: Segment): Promise<void> => {
  if (!(await checkpoints.sidecar(start))) await checkpoints.saveSidecar(checkpoints.takeSidecar(state, end, start))
  state.standing.next()
}

const openEnd = async ({ segments, clock }: RecoveryParts, end: number): Promise<OpenFile> => {
  const last = segments.list.at(-1)
  // A snapshot may reach further than a log whose end was lost with the disk: nothing is written into the gap.
  if (!last || end > last.end) return segments.create(end, clock.now())
  return segments.reopen(last, end)
}

/** @returns the position after the last whole entry */
const recoverSegment = async (
  parts: RecoveryParts,
  segment: Segment,
  from: number,
  replay: Replay,
  damages: Damage[],
): Promise<number> => {
  const { segments } = parts
  const isLast = segment === segments.list.at(-1)
  const damaged = (damage: Damage) => void damages.push(damage)
  const at =
    segment.start < from ? await recoverIndex(parts, segment, Math.min(from, segment.end), damages) : segment.start
  if (at < from) return at
  const goOn = isLast ? (where: number, next: number) => wasSynced(segments, segment, where, next) : undefined
  return scanSegment(segments, segment, at, (entry) => replay.apply(entry), damaged, goOn)
}

/** The records below `limit`, which the snapshot does not have. */
const recoverIndex = async (
  { segments, checkpoints, state }: RecoveryParts,
  segment: Segment,
  limit: number,
  damages: Damage[],
): Promise<number> => {
  const sidecar = await checkpoints.sidecar(segment.start)
  let at = segment.start
  if (sidecar && loadSidecar(sidecar.body, limit, state)) {
    segment.newest = sidecar.sidecar.newest
    at = Math.min(limit, sidecar.sidecar.end)
  }
  if (at === limit) return limit
  const indexer = new Indexer(state)
  await scanSegment(
    segments,
    { ...segment, end: limit },
    at,
    (entry) => indexer.apply(entry),
    (damage) => void damages.push(damage),
  )
  return limit
}

/**
 * Whether the log was durable beyond damage in its last segment. Each batch says how far it was before; what no later
 * batch speaks of is one that was being written when the power went, in whatever order its pages reached the disk.
 */
const wasSynced = async (segments: Segments, segment: Segment, at: number, next: number): Promise<boolean> => {
  let synced = 0
  const look = ({ payload }: Entry) => {
    if (isControl(payload) && payload.readUInt32BE(0) === SYNCED) synced = Math.max(synced, payload.readDoubleBE(8))
  }
  await scanSegment(segments, segment, next, look, () => undefined)
  return synced > at
}

/** Puts records into their queues and does nothing else: the snapshot has the rest. */
class Indexer {
  readonly #state: State
  #beside = false

  constructor(state: State) {
    this.#state = state
  }

  apply({ payload, place }: Entry): void {
    if (!isRecordPayload(payload)) {
      if (payload.readUInt32BE(0) !== PRELUDE) return
      this.#beside = isBeside(readPrelude(readEvent(payload).body))
      return
    }
    const beside = this.#beside
    this.#beside = false
    if (beside) return
    const message = viewRecord(payload, this.#state.node)
    const topic = this.#state.topics.get(message.topic)
    const queue = topic?.queues[message.queue.index]
    if (!topic || !queue || place <= topic.created) return
    const { tag, expires, priority } = factsOf(message)
    const flags = flagsOf(expires, priority)
    this.#state.restore(queue, message.offset, place, payload.length, hashTag(tag), flags)
  }
}

/**
 * Damage that lies below what was known to be durable is loss, and so is everything before the last segment's end.
 * What the last segment ends with is a torn tail: it was never acknowledged under flush sync.
 */
const report = ({ segments, counters, lines }: RecoveryParts, damages: readonly Damage[], synced: number): void => {
  const last = segments.list.at(-1)
  for (const { at, to } of damages) {
    const bytes = to - at
    if (bytes <= 0) continue
    if (at < synced || (last && at < last.start)) {
      counters.unreadableBytes += bytes
      lines.error('log.damaged', { at, bytes })
    } else {
      counters.cutBytes += bytes
      lines.warn('log.cut', { at, bytes })
    }
  }
}

/** Queues that reached further when the snapshot was taken have lost records: their offsets are not given out again. */
const fillUp = ({ state, lines }: RecoveryParts, reach: ReadonlyMap<TopicState, readonly number[]>): void => {
  for (const [topic, ends] of reach) {
    const name = topic.spec.topic
    // Its name may mean another topic by now.
    if (state.topics.get(name) !== topic) continue
    ends.forEach((max, index) => {
      const records = topic.queues[index]?.records
      if (!records || records.max >= max) return
      if (records.max > records.min)
        lines.error('queue.lost', { topic: name, queue: index, from: records.max, to: max })
      if (records.max === records.min) records.startAt(max)
      else records.skipTo(max)
    })
  }
}
