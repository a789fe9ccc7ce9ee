import type { Delivered, Lease, Ms, Offset, Replies } from '@sluice/core'
import { emptyBatch, RecordBatch } from './batch.ts'
import type { Core } from './core.ts'
import type { Cursor, Held } from './cursor.ts'
import { writePopped, writeSettled } from './events.ts'
import type { GroupTopic } from './groups.ts'
import type { Look } from './popPoll.ts'
import { type Ask, DELIVERING, isThereMore, remember, repeat, select, type Taken } from './popSelect.ts'
import { wakeNext } from './popWake.ts'
import { flag } from './queueIndex.ts'

/** What a receipt says of a message that is held by a session: longer than any client looks. */
export const SESSION_MS: Ms = 2_147_483_647

interface Kept {
  readonly taken: Taken
  readonly record: Buffer
}

/** Reads what was taken; what has expired, does not match after all or cannot be read is settled and left out. */
const keepGood = (ask: Ask, taken: readonly Taken[], records: readonly (Buffer | undefined)[]) => {
  const kept: Kept[] = []
  const gone: Taken[] = []
  const now = ask.core.clock.now()
  const { matches } = ask.wanted
  taken.forEach((one, index) => {
    if (one.cursor.held.get(one.held.offset) !== one.held || one.held.poppedAt !== one.poppedAt) return
    const record = records[index]
    let good = record !== undefined
    if (record && (matches || one.flags & flag.expires)) {
      const message = ask.core.view(record, one.place)
      good = (message.expiresAt === undefined || message.expiresAt > now) && (!matches || matches(message))
    }
    if (record && good) kept.push({ taken: one, record })
    else gone.push(one)
  })
  return { kept, gone }
}

const settlesAtOnce = ({ invisible, session }: Ask): boolean => invisible === 0 && session === undefined

const byCursor = (taken: readonly Taken[]): Map<Cursor, Taken[]> => {
  const cursors = new Map<Cursor, Taken[]>()
  for (const one of taken) {
    const list = cursors.get(one.cursor)
    if (list) list.push(one)
    else cursors.set(one.cursor, [one])
  }
  return cursors
}

interface Progress {
  readonly next: Offset
  /** Grows with each message that is taken before its turn. */
  readonly ahead: number
}

const aheadOf = ({ ahead }: Cursor): number => {
  let sum = 0
  for (const next of ahead.values()) sum += next
  return sum
}
const progressOf = (cursor: Cursor): Progress => ({ next: cursor.next, ahead: aheadOf(cursor) })

/** What is held from now on. What a queue's cursor passed over is settled, also where nothing was taken. */
const writeHeld = (ask: Ask, taken: readonly Taken[], before: readonly Progress[]): void => {
  const { core, groupTopic, invisible } = ask
  const session = ask.session ?? (settlesAtOnce(ask) ? DELIVERING : undefined)
  const cursors = byCursor(taken)
  ask.queues.forEach(({ index }, at) => {
    const cursor = groupTopic.cursor(index)
    const mine = cursors.get(cursor) ?? []
    const levels = cursor.levels
    if (mine.length === 0 && before[at]!.next === cursor.next && before[at]!.ahead === aheadOf(cursor)) return
    const items = mine.map(({ held, poppedAt }) => ({ offset: held.offset, attempt: held.attempt, poppedAt }))
    const poppedAt = items.reduce((least, item) => Math.min(least, item.poppedAt), core.clock.now())
    const where = { group: groupTopic.group.spec.group, topic: groupTopic.topic, queue: index }
    core.log.append(writePopped({ ...where, next: cursor.next, poppedAt, invisible, session, items, levels }))
  })
}

/** @param written what the log says is held; the rest need not be taken back there */
const writeDone = (ask: Ask, done: readonly Taken[], written: ReadonlySet<Taken>): void => {
  const { core, groupTopic } = ask
  for (const [cursor, taken] of byCursor(done)) {
    const offsets: Offset[] = []
    for (const one of taken) if (cursor.settle(one.held.offset) && written.has(one)) offsets.push(one.held.offset)
    if (offsets.length === 0) continue
    const where = { group: groupTopic.group.spec.group, topic: groupTopic.topic, queue: taken[0]!.queue.index }
    core.log.append(writeSettled(where, offsets))
  }
}

export const leaseOf = (
  core: Core,
  groupTopic: GroupTopic,
  queue: number,
  held: Held,
  place: Offset,
  first: Offset,
  fifo: boolean,
): Lease => ({
  of: 'group',
  node: core.settings.node,
  topic: groupTopic.topic,
  group: groupTopic.group.spec.group,
  queue,
  offset: held.offset,
  place,
  first,
  poppedAt: held.poppedAt,
  invisible: held.session === undefined ? held.invisible : SESSION_MS,
  revive: fifo ? 999 : 0,
  retry: 0,
  attempt: held.attempt,
})

const batchOf = (ask: Ask, kept: readonly Kept[]): Replies['pop']['batch'] => {
  if (kept.length === 0) return emptyBatch
  const { core, groupTopic, fifo } = ask
  const settled = settlesAtOnce(ask)
  const firsts = new Map<Cursor, Offset>()
  for (const { taken } of kept) {
    const { cursor, held } = taken
    firsts.set(cursor, Math.min(held.offset, firsts.get(cursor) ?? held.offset))
  }
  const receipts = settled
    ? undefined
    : kept.map(({ taken: { queue, cursor, held, place } }) =>
        leaseOf(core, groupTopic, queue.index, held, place, firsts.get(cursor)!, fifo),
      )
  const attempts = kept.map(({ taken }) => taken.held.attempt)
  return new RecordBatch(
    kept.map(({ record }) => record),
    (record, index): Delivered => ({
      message: core.view(record, kept[index]!.taken.place),
      attempt: attempts[index]!,
      ...(receipts && { receipt: receipts[index]! }),
    }),
  )
}

/**
 * One look, at once when all it takes is in memory. The pop is written before it answers but need not be on the disk: if
 * it is lost, the messages are there again. When records must be read from the disk it is written before, so that the log
 * never says that the cursor is past a message which nobody holds.
 */
export const takeOnce = (ask: Ask): Look | Promise<Look> => {
  const { core, groupTopic } = ask
  if (ask.max === 0) return isThereMore(ask) ? { batch: emptyBatch, more: true } : undefined
  const before = ask.queues.map(({ index }) => progressOf(groupTopic.cursor(index)))
  const taken = repeat(ask) ?? select(ask)
  const found = core.read(taken)
  if (taken.length > 0 && ask.session !== undefined) core.holds(ask.session, groupTopic)
  if (Array.isArray(found)) {
    const { kept, gone } = keepGood(ask, taken, found)
    // Of what is settled in this same turn the log need not hear, unless it knows that it was out before.
    const settled = new Set(settlesAtOnce(ask) ? taken : gone)
    const written = settled.size === 0 ? taken : taken.filter((one) => one.again || !settled.has(one))
    writeHeld(ask, written, before)
    return finish(ask, written, kept, gone)
  }
  writeHeld(ask, taken, before)
  return found.then((records) => {
    const { kept, gone } = keepGood(ask, taken, records)
    return finish(ask, taken, kept, gone)
  })
}

/** @param written what the log says is held */
const finish = (ask: Ask, written: readonly Taken[], kept: readonly Kept[], gone: readonly Taken[]): Look => {
  const mine = kept.map(({ taken }) => taken)
  writeDone(ask, settlesAtOnce(ask) ? [...gone, ...mine] : gone, new Set(written))
  remember(ask, mine)
  const more = isThereMore(ask)
  if (more) wakeNext(ask.groupTopic)
  return kept.length > 0 ? { batch: batchOf(ask, kept), more } : undefined
}
