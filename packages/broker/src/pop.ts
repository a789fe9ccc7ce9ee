import { type CommandOf, type Context, Fault, type Filter, type Replies } from '@sluice/core'
import { emptyBatch } from './batch.ts'
import type { Core } from './core.ts'
import type { Cursor } from './cursor.ts'
import { groupNotFound, topicNotFound } from './errors.ts'
import { writePopped } from './events.ts'
import type { GroupState } from './groups.ts'
import { offsetOf } from './offsets.ts'
import { park } from './park.ts'
import { type Ask, isThereMore } from './popSelect.ts'
import { SESSION_MS, takeOnce } from './popTake.ts'
import { benchOf, wakeNext } from './popWake.ts'
import { wantedOf } from './read.ts'
import { topicOrNew } from './topicCommands.ts'
import type { QueueState } from './topics.ts'

/** Messages of one pop. */
export const POP_MAX = 1024
type PopCommand = CommandOf<'pop'>
type GroupSource = Extract<PopCommand['source'], { kind: 'group' }>

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
    writePopped({ ...where, next: cursor.next, poppedAt: 0, invisible: 0, session: undefined, items: [], levels: [] }),
  )
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
    const reply = await takeOnce(ask)
    // A process that is killed now finds the leases again: nobody else gets these messages before their time.
    if (reply) await core.log.kept()
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
  if (!core.parking.isClosed && isThereMore(ask)) return new Promise((resolve) => setImmediate(resolve, true))
  return park(core, until, signal, benchOf(core, groupTopic, topic))
}
