import {
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Filter,
  type Lease,
  type Ms,
  type Offset,
  type Replies,
} from '@sluice/core'
import { emptyBatch, RecordBatch } from './batch.ts'
import type { Core } from './core.ts'
import type { Cursor, Held } from './cursor.ts'
import { deadLetter } from './dead.ts'
import { groupNotFound, topicNotFound } from './errors.ts'
import { writePopped, writeSettled } from './events.ts'
import type { GroupState, GroupTopic } from './groups.ts'
import { offsetOf } from './offsets.ts'
import { flag } from './queueIndex.ts'
import { type Wanted, wantedOf } from './read.ts'
import { topicOrNew } from './topicCommands.ts'
import type { QueueState, Reader, TopicState } from './topics.ts'

/** Index entries that one pop looks at before it lets others run. */
const SCAN_MAX = 65_536
/** Messages of one pop. */
export const POP_MAX = 1024
/** Batches a group and topic that are remembered by attempt id. */
const ATTEMPTS_MAX = 1024
/** What a receipt says of a message that is held by a session: longer than any client looks. */
export const SESSION_MS: Ms = 2_147_483_647
/** Every so many pops new messages go before those that came back, so that neither starves the other. */
const NEW_FIRST = 4

type PopCommand = CommandOf<'pop'>
type GroupSource = Extract<PopCommand['source'], { kind: 'group' }>

interface Ask {
  readonly core: Core
  readonly topic: TopicState
  readonly groupTopic: GroupTopic
  readonly queues: readonly QueueState[]
  readonly wanted: Wanted
  readonly max: number
  readonly invisible: Ms
  readonly session: string | undefined
  readonly fifo: boolean
  readonly attemptId: string | undefined
}

interface Taken {
  readonly queue: QueueState
  readonly cursor: Cursor
  readonly held: Held
  readonly poppedAt: number
  readonly place: number
  readonly size: number
  readonly flags: number
}

const filterOf = (group: GroupState, source: GroupSource): Filter | undefined =>
  source.filter ?? group.subscriptions.get(source.topic)?.filter

/** Where this group begins in a queue that it has never popped. */
const begin = async (core: Core, group: GroupState, queue: QueueState, cursor: Cursor): Promise<void> => {
  if (cursor.next >= 0) return
  if (cursor.committed >= 0) {
    cursor.next = Math.max(cursor.committed, queue.records.min)
    return
  }
  const from = group.subscriptions.get(queue.topic.spec.topic)?.from ?? 'min'
  const offset = await offsetOf(core, queue, from)
  if (cursor.next >= 0) return
  cursor.next = Math.max(offset, queue.records.min)
  if (cursor.next === 0) return
  // Written down, so that what is published from now on is not skipped when the broker starts again.
  const where = { group: group.spec.group, topic: queue.topic.spec.topic, queue: queue.queue.index }
  core.log.append(
    writePopped({ ...where, next: cursor.next, poppedAt: 0, invisible: 0, session: undefined, items: [] }),
  )
}

/** In each turn another queue is the first to be looked at. */
const rotated = <T>(list: readonly T[], turn: number): readonly T[] => {
  const from = turn % list.length
  return from === 0 ? list : [...list.slice(from), ...list.slice(0, from)]
}

/** Settled on delivery: out of everybody's reach while its record is read. */
const DELIVERING = ''

const hold = (ask: Ask, cursor: Cursor, offset: Offset): Held => {
  const { core, invisible } = ask
  const session = ask.session ?? (invisible === 0 ? DELIVERING : undefined)
  const known = cursor.held.get(offset)
  const now = core.clock.now()
  if (!known) return cursor.hold({ offset, poppedAt: now, invisible, attempt: 1, next: 2, session })
  const attempt = known.next
  cursor.move(known, { poppedAt: Math.max(now, known.poppedAt + 1), invisible, attempt, next: attempt + 1, session })
  return known
}

const take = (ask: Ask, queue: QueueState, cursor: Cursor, offset: Offset): Taken => {
  const held = hold(ask, cursor, offset)
  const { records } = queue
  return {
    queue,
    cursor,
    held,
    poppedAt: held.poppedAt,
    place: records.place(offset),
    size: records.size(offset),
    flags: records.flags(offset),
  }
}

/** Messages whose time came back, the soonest first. Those with too many attempts go to the dead letters instead. */
const takeDue = (ask: Ask, queue: QueueState, cursor: Cursor, taken: Taken[]): void => {
  const { max } = ask
  const now = ask.core.clock.now()
  while (taken.length < max) {
    const held = cursor.dueBy(now)
    if (!held) return
    takeAgain(ask, queue, cursor, held, taken)
  }
}

/** Whether it may be handed out once more. */
const takeAgain = (ask: Ask, queue: QueueState, cursor: Cursor, held: Held, taken: Taken[]): boolean => {
  const { core, groupTopic } = ask
  if (held.offset < queue.records.min) {
    cursor.settle(held.offset)
    return true
  }
  if (held.next > groupTopic.group.spec.maxAttempts) {
    void deadLetter(core, groupTopic, queue, cursor, held, 'attempts')
    return false
  }
  taken.push(take(ask, queue, cursor, held.offset))
  return true
}

const takeNew = (ask: Ask, queue: QueueState, cursor: Cursor, taken: Taken[]): void => {
  const { records } = queue
  const { hashes } = ask.wanted
  if (cursor.next < records.min) cursor.next = records.min
  const room = ask.core.state.bounds.leases - ask.groupTopic.held
  const end = Math.min(queue.visible, cursor.next + SCAN_MAX)
  let fresh = 0
  while (cursor.next < end && taken.length < ask.max && fresh < room) {
    const offset = cursor.next++
    if (records.flags(offset) & flag.lost) continue
    if (hashes && !hashes.has(records.tag(offset))) continue
    taken.push(take(ask, queue, cursor, offset))
    fresh++
  }
}

/** One batch out at a time, and until all of it is settled nothing after it. */
const takeInOrder = (ask: Ask, queue: QueueState, cursor: Cursor, taken: Taken[]): void => {
  if (cursor.held.size === 0) return takeNew(ask, queue, cursor, taken)
  const now = ask.core.clock.now()
  if (isBlocked(cursor, now)) return
  for (const held of [...cursor.held.values()]) {
    if (taken.length >= ask.max || !takeAgain(ask, queue, cursor, held, taken)) return
  }
}

const select = (ask: Ask): Taken[] => {
  const { groupTopic } = ask
  const taken: Taken[] = []
  const turn = groupTopic.turn++
  const queues = rotated(ask.queues, turn)
  const cursors = queues.map((queue) => groupTopic.cursor(queue.queue.index))
  if (ask.fifo) {
    for (let at = 0; at < queues.length && taken.length === 0; at++) takeInOrder(ask, queues[at]!, cursors[at]!, taken)
    return taken
  }
  const steps = turn % NEW_FIRST === NEW_FIRST - 1 ? [takeNew, takeDue] : [takeDue, takeNew]
  for (const step of steps) for (const [at, queue] of queues.entries()) step(ask, queue, cursors[at]!, taken)
  return taken
}

/** What was taken before under this attempt id and is still out, with its times renewed. */
const repeat = (ask: Ask): Taken[] | undefined => {
  const { attemptId, groupTopic, topic, core } = ask
  const batch = attemptId === undefined ? undefined : groupTopic.attempts.get(attemptId)
  if (!batch) return undefined
  const taken: Taken[] = []
  for (const { queue: index, held, poppedAt } of batch) {
    const queue = topic.queues[index]!
    const cursor = groupTopic.cursor(index)
    if (cursor.held.get(held.offset) !== held || held.poppedAt !== poppedAt || held.dying) continue
    const again = Math.max(core.clock.now(), held.poppedAt + 1)
    const { attempt, next } = held
    cursor.move(held, { poppedAt: again, invisible: ask.invisible, attempt, next, session: ask.session })
    const { records } = queue
    const { offset } = held
    if (offset < records.min) continue
    taken.push({
      queue,
      cursor,
      held,
      poppedAt: again,
      place: records.place(offset),
      size: records.size(offset),
      flags: records.flags(offset),
    })
  }
  return taken.length > 0 ? taken : undefined
}

const remember = ({ attemptId, groupTopic }: Ask, taken: readonly Taken[]): void => {
  if (attemptId === undefined) return
  const { attempts } = groupTopic
  attempts.delete(attemptId)
  if (attempts.size >= ATTEMPTS_MAX) attempts.delete(attempts.keys().next().value as string)
  attempts.set(
    attemptId,
    taken.map(({ queue, held, poppedAt }) => ({ queue: queue.queue.index, held, poppedAt })),
  )
}

interface Kept extends Taken {
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
    if (record && good) kept.push({ ...one, record })
    else gone.push(one)
  })
  return { kept, gone }
}

/** Writes the pop down. It need not be durable for the answer: if it is lost, the messages are there again. */
const writeDown = (
  ask: Ask,
  kept: readonly Kept[],
  gone: readonly Taken[],
  before: ReadonlyMap<Cursor, Offset>,
): void => {
  const { core, groupTopic, invisible, session } = ask
  const settled = invisible === 0 && session === undefined
  for (const { cursor, held } of gone) cursor.settle(held.offset)
  for (const queue of ask.queues) {
    const cursor = groupTopic.cursor(queue.queue.index)
    const mine = kept.filter((one) => one.cursor === cursor)
    const mineGone = gone.filter((one) => one.cursor === cursor)
    if (mine.length === 0 && mineGone.length === 0 && before.get(cursor) === cursor.next) continue
    const where = { group: groupTopic.group.spec.group, topic: groupTopic.topic, queue: queue.queue.index }
    const done = [...mineGone, ...(settled ? mine : [])].map(({ held }) => held.offset)
    if (settled) for (const { held } of mine) cursor.settle(held.offset)
    const items = settled
      ? []
      : mine.map(({ held }) => ({ offset: held.offset, attempt: held.attempt, poppedAt: held.poppedAt }))
    const poppedAt = Math.min(core.clock.now(), ...items.map((item) => item.poppedAt))
    core.log.append(writePopped({ ...where, next: cursor.next, poppedAt, invisible, session, items }), done.length > 0)
    if (done.length > 0) core.log.append(writeSettled(where, done))
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
  const { core, groupTopic, invisible, session, fifo } = ask
  const settled = invisible === 0 && session === undefined
  const firsts = new Map<Cursor, Offset>()
  for (const { cursor, held } of kept) firsts.set(cursor, Math.min(held.offset, firsts.get(cursor) ?? held.offset))
  const receipts = settled
    ? undefined
    : kept.map(({ queue, cursor, held, place }) =>
        leaseOf(core, groupTopic, queue.queue.index, held, place, firsts.get(cursor)!, fifo),
      )
  const attempts = kept.map(({ held }) => held.attempt)
  return new RecordBatch(
    kept.map(({ record }) => record),
    (record, index): Delivered => ({
      message: core.view(record, kept[index]!.place),
      attempt: attempts[index]!,
      ...(receipts && { receipt: receipts[index]! }),
    }),
  )
}

const isBlocked = (cursor: Cursor, now: number): boolean => {
  for (const held of cursor.held.values()) if (held.due > now) return true
  return false
}

/** Whether a pop now would find something, as far as the index can tell. */
const isThereMore = (ask: Ask): boolean => {
  const now = ask.core.clock.now()
  const room = ask.groupTopic.held < ask.core.state.bounds.leases
  for (const queue of ask.queues) {
    const cursor = ask.groupTopic.cursor(queue.queue.index)
    if (ask.fifo && isBlocked(cursor, now)) continue
    if ((room && cursor.next < queue.visible) || cursor.dueBy(now)) return true
  }
  return false
}

const gatherOnce = async (ask: Ask): Promise<Replies['pop'] | undefined> => {
  const { core, groupTopic } = ask
  if (ask.max === 0) return isThereMore(ask) ? { batch: emptyBatch, more: true } : undefined
  const before = new Map(
    ask.queues.map((queue) => [groupTopic.cursor(queue.queue.index), groupTopic.cursor(queue.queue.index).next]),
  )
  const repeated = repeat(ask)
  const taken = repeated ?? select(ask)
  const found = core.read(taken)
  const records = Array.isArray(found) ? found : await found
  const { kept, gone } = keepGood(ask, taken, records)
  writeDown(ask, kept, gone, before)
  remember(ask, kept)
  const more = isThereMore(ask)
  if (more) wakeNext(groupTopic)
  return kept.length > 0 ? { batch: batchOf(ask, kept), more } : undefined
}

const askOf = async (core: Core, command: PopCommand, source: GroupSource, context: Context): Promise<Ask> => {
  const topic = topicOrNew(core, source.topic)
  const group = core.state.group(source.group)
  const groupTopic = group.topic(source.topic)
  const { queue: one } = source
  if (one && one.index >= topic.queues.length)
    throw new Fault('invalid', `topic ${source.topic} has no queue ${one.index}`, { about: 'queue' })
  const queues = one && one.index >= 0 ? [topic.queues[one.index]!] : topic.queues
  const wanted = wantedOf(filterOf(group, source))
  for (const queue of queues) {
    const cursor = groupTopic.cursor(queue.queue.index)
    if (cursor.next < 0) await begin(core, group, queue, cursor)
  }
  const bySession = command.invisible === 'session'
  return {
    core,
    topic,
    groupTopic,
    queues,
    wanted,
    max: Math.min(command.max, POP_MAX),
    invisible: command.invisible === 'session' ? SESSION_MS : command.invisible,
    session: bySession ? context.session.id : undefined,
    fifo: command.fifo || group.spec.fifo,
    attemptId: command.attemptId,
  }
}

export const popGroup = async (
  core: Core,
  command: PopCommand,
  source: GroupSource,
  context: Context,
): Promise<Replies['pop']> => {
  core.log.admit()
  const ask = await askOf(core, command, source, context)
  const until = Math.min(core.clock.now() + command.wait, context.deadline)
  while (!context.signal?.aborted) {
    const reply = await gatherOnce(ask)
    if (reply && context.signal?.aborted) giveBack(ask, reply)
    else if (reply) return reply
    if (core.clock.now() >= until || context.signal?.aborted || !(await wake(ask, until, context.signal))) break
    if (ask.topic.deleted) throw topicNotFound(source.topic)
    if (core.state.groups.get(source.group) !== ask.groupTopic.group) throw groupNotFound(source.group)
  }
  return { batch: emptyBatch, more: false }
}

/** Its client left while the records were read: they are there again, uncounted. */
const giveBack = (ask: Ask, { batch }: Replies['pop']): void => {
  const now = ask.core.clock.now()
  for (const { receipt } of batch) {
    if (receipt?.of !== 'group') continue
    const cursor = ask.groupTopic.cursor(receipt.queue)
    const held = cursor.held.get(receipt.offset)
    if (held?.poppedAt !== receipt.poppedAt) continue
    held.next = held.attempt
    cursor.giveBack(held, now)
  }
  wakeNext(ask.groupTopic)
}

/**
 * Parks the pop under (group, topic). Woken one at a time, the longest waiting first; a woken one that finds nothing
 * parks again behind the others.
 */
const wake = (ask: Ask, until: number, signal: AbortSignal | undefined): Promise<boolean> => {
  const { core, groupTopic, topic } = ask
  if (core.parked >= core.state.bounds.parked)
    throw new Fault('limit', `${core.parked} polls wait already`, { about: 'poll' })
  if (core.closing) return Promise.resolve(false)
  if (isThereMore(ask)) return new Promise((resolve) => setImmediate(resolve, true))
  core.parked++
  return new Promise((resolve) => {
    const done = (woken: boolean): void => {
      core.parked--
      groupTopic.parked.delete(reader)
      core.waiting.delete(gone)
      if (groupTopic.parked.size === 0) topic.waiting.delete(waiterOf(groupTopic))
      cancel()
      signal?.removeEventListener('abort', gone)
      resolve(woken)
    }
    const gone = () => done(false)
    const reader: Reader = { wake: () => done(true) }
    groupTopic.parked.add(reader)
    core.waiting.add(gone)
    topic.waiting.add(waiterOf(groupTopic))
    const cancel = core.wheel.at(until, gone)
    signal?.addEventListener('abort', gone, { once: true })
    wakeWhenDue(core, groupTopic)
  })
}

const waiters = new WeakMap<GroupTopic, Reader>()
const waiterOf = (groupTopic: GroupTopic): Reader => {
  let waiter = waiters.get(groupTopic)
  if (!waiter) waiters.set(groupTopic, (waiter = { wake: () => wakeNext(groupTopic) }))
  return waiter
}

/** Lets the pop that waits longest look again; it wakes the next one if it leaves something. */
export const wakeNext = (groupTopic: GroupTopic): void => {
  const [first] = groupTopic.parked
  first?.wake()
}

/** One wheel entry a group and topic, and only while somebody waits. */
export const wakeWhenDue = (core: Core, groupTopic: GroupTopic): void => {
  if (groupTopic.parked.size === 0) return
  let due = Number.POSITIVE_INFINITY
  for (const cursor of groupTopic.cursors.values()) due = Math.min(due, cursor.nextDue)
  if (due >= groupTopic.wakeAt) return
  groupTopic.unwake?.()
  groupTopic.wakeAt = due
  groupTopic.unwake = core.wheel.at(due, () => {
    groupTopic.wakeAt = Number.POSITIVE_INFINITY
    groupTopic.unwake = undefined
    wakeNext(groupTopic)
    wakeWhenDue(core, groupTopic)
  })
}
