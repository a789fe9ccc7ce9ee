import type { Filter, Ms, Offset } from '@sluice/core'
import type { Core } from './core.ts'
import type { Cursor, Held } from './cursor.ts'
import { deadLetter } from './dead.ts'
import type { GroupTopic } from './groups.ts'
import { takeUrgent } from './popUrgent.ts'
import { flag, levelOf } from './queueIndex.ts'
import type { Wanted } from './read.ts'
import type { QueueState, TopicState } from './topics.ts'

/** Index entries that one pop looks at before it lets others run. */
const SCAN_MAX = 65_536
/** Every so many pops new messages go before those that came back, so that neither starves the other. */
const NEW_FIRST = 4
/** Messages of a queue that one pop sends to the dead letters. */
const DEAD_MAX = 64
/** Batches a group and topic that are remembered by attempt id. */
const ATTEMPTS_MAX = 1024

/** What one pop of a group wants. */
export interface Wish {
  readonly topic: TopicState
  /** One queue alone. */
  readonly only: number | undefined
  readonly filter: Filter | undefined
  readonly max: number
  readonly invisible: Ms
  readonly session: string | undefined
  readonly fifo: boolean
  readonly attemptId: string | undefined
}

/** A wish with what it is granted from, as it is asked each time that a pop is woken; pops that want the same share it. */
export interface Ask extends Wish {
  readonly core: Core
  readonly groupTopic: GroupTopic
  readonly queues: readonly QueueState[]
  readonly wanted: Wanted
  /** Of the queues, those in which the group is known to have begun. */
  begun: number
}

/** A message that is held for this pop; its record is not read yet. */
export interface Taken {
  readonly queue: QueueState
  readonly cursor: Cursor
  readonly held: Held
  readonly poppedAt: number
  readonly place: number
  readonly size: number
  readonly flags: number
  /** It was held before: the log knows of it. */
  readonly again: boolean
}

/** In each turn another queue is the first to be looked at. */
const rotated = <T>(list: readonly T[], turn: number): readonly T[] => {
  const from = turn % list.length
  return from === 0 ? list : [...list.slice(from), ...list.slice(0, from)]
}

/** Settled on delivery: out of everybody's reach while its record is read. */
export const DELIVERING = ''

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

export const take = (ask: Ask, queue: QueueState, cursor: Cursor, offset: Offset): Taken => {
  const again = cursor.held.has(offset)
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
    again,
  }
}

/** Messages whose time came back, the soonest first. Those with too many attempts go to the dead letters instead. */
const takeDue = (ask: Ask, queue: QueueState, cursor: Cursor, taken: Taken[]): void => {
  const { max } = ask
  const now = ask.core.clock.now()
  for (let dead = 0; taken.length < max && dead < DEAD_MAX; ) {
    const held = cursor.dueBy(now)
    if (!held) return
    if (!takeAgain(ask, queue, cursor, held, taken)) dead++
  }
}

/** Whether it may be handed out once more. */
const takeAgain = (ask: Ask, queue: QueueState, cursor: Cursor, held: Held, taken: Taken[]): boolean => {
  const { core, groupTopic } = ask
  if (held.offset < queue.records.min) {
    cursor.settle(held.offset)
    return true
  }
  if (!held.returned) core.counters.expiredLeases++
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
    const flags = records.flags(offset)
    if (flags & flag.lost || cursor.isAhead(offset, levelOf(flags))) continue
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

export const select = (ask: Ask): Taken[] => {
  const { groupTopic } = ask
  const taken: Taken[] = []
  const turn = groupTopic.turn++
  const queues = rotated(ask.queues, turn)
  const cursors = queues.map((queue) => groupTopic.cursor(queue.index))
  if (ask.fifo) {
    for (let at = 0; at < queues.length && taken.length === 0; at++) takeInOrder(ask, queues[at]!, cursors[at]!, taken)
    return taken
  }
  takeUrgent(ask, queues, cursors, taken)
  const steps = turn % NEW_FIRST === NEW_FIRST - 1 ? [takeNew, takeDue] : [takeDue, takeNew]
  for (const step of steps) for (const [at, queue] of queues.entries()) step(ask, queue, cursors[at]!, taken)
  return taken
}

/** What was taken before under this attempt id and is still out, with its times renewed. */
export const repeat = (ask: Ask): Taken[] | undefined => {
  const { attemptId, groupTopic, topic, core } = ask
  const batch = attemptId === undefined ? undefined : groupTopic.attempts?.get(attemptId)
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
      again: true,
    })
  }
  return taken.length > 0 ? taken : undefined
}

export const remember = ({ attemptId, groupTopic }: Ask, taken: readonly Taken[]): void => {
  if (attemptId === undefined) return
  const attempts = (groupTopic.attempts ??= new Map())
  attempts.delete(attemptId)
  if (attempts.size >= ATTEMPTS_MAX) attempts.delete(attempts.keys().next().value as string)
  attempts.set(
    attemptId,
    taken.map(({ queue, held, poppedAt }) => ({ queue: queue.index, held, poppedAt })),
  )
}

const isBlocked = (cursor: Cursor, now: number): boolean => {
  for (const held of cursor.held.values()) if (held.due > now) return true
  return false
}

/** Whether a pop now would find something, as far as the index can tell. */
export const isThereMore = (ask: Ask): boolean => {
  const now = ask.core.clock.now()
  const room = ask.groupTopic.held < ask.core.state.bounds.leases
  for (const queue of ask.queues) {
    const cursor = ask.groupTopic.cursor(queue.index)
    if (ask.fifo && isBlocked(cursor, now)) continue
    if ((room && cursor.next < queue.visible) || cursor.dueBy(now)) return true
  }
  return false
}
