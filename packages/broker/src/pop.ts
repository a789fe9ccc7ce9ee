import { type CommandOf, type Context, Fault, type Filter, type Replies } from '@sluice/core'
import type { Core } from './core.ts'
import type { Cursor } from './cursor.ts'
import { groupNotFound, topicNotFound } from './errors.ts'
import { writePopped } from './events.ts'
import type { GroupState, GroupTopic } from './groups.ts'
import { offsetOf } from './offsets.ts'
import type { Place } from './park.ts'
import { type Answer, type Look, POP_MAX, Pop } from './popPoll.ts'
import { type Ask, isThereMore, type Wish } from './popSelect.ts'
import { SESSION_MS, takeOnce } from './popTake.ts'
import { benchOf, wakeNext } from './popWake.ts'
import { wantedOf } from './read.ts'
import { topicOrNew } from './topicCommands.ts'
import type { QueueState } from './topics.ts'

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
  const where = { group: group.spec.group, topic: queue.topic.spec.topic, queue: queue.index }
  core.log.append(
    writePopped({ ...where, next: cursor.next, poppedAt: 0, invisible: 0, session: undefined, items: [], levels: [] }),
  )
}

const sameFilter = (one: Filter | undefined, other: Filter | undefined): boolean =>
  one === other || (one?.kind === other?.kind && one?.expression === other?.expression)

/** What this pop asks; the same object as the one before it when it asks the same, as most do. */
const askOf = (core: Core, command: PopCommand, source: GroupSource, context: Context): Ask => {
  const topic = topicOrNew(core, source.topic)
  const group = core.state.group(source.group)
  const groupTopic = group.topic(source.topic)
  const only = source.queue && source.queue.index >= 0 ? source.queue.index : undefined
  if (only !== undefined && only >= topic.queues.length)
    throw new Fault('invalid', `topic ${source.topic} has no queue ${only}`, { about: 'queue' })
  const bySession = command.invisible === 'session'
  const wish: Wish = {
    topic,
    only,
    filter: filterOf(group, source),
    max: Math.min(command.max, POP_MAX),
    invisible: command.invisible === 'session' ? SESSION_MS : command.invisible,
    session: bySession ? context.session.id : undefined,
    fifo: command.fifo || group.spec.fifo,
    attemptId: command.attemptId,
  }
  const { last } = groupTopic
  if (last && isSame(last, wish)) return last
  const queues = only === undefined ? topic.queues : [topic.queues[only]!]
  return (groupTopic.last = askFor(wish, core, groupTopic, queues))
}

/** Field by field: one for each group and topic lives as long as these. */
const askFor = (
  { topic, only, filter, max, invisible, session, fifo, attemptId }: Wish,
  core: Core,
  groupTopic: GroupTopic,
  queues: readonly QueueState[],
): Ask => {
  const wanted = wantedOf(filter)
  return { topic, only, filter, max, invisible, session, fifo, attemptId, core, groupTopic, queues, wanted, begun: 0 }
}

const isSame = (one: Wish, other: Wish): boolean =>
  one.attemptId === other.attemptId &&
  one.topic === other.topic &&
  one.only === other.only &&
  one.max === other.max &&
  one.invisible === other.invisible &&
  one.session === other.session &&
  one.fifo === other.fifo &&
  sameFilter(one.filter, other.filter)

/**
 * Parks under (group, topic). Woken one at a time, the longest waiting first; a woken one that finds nothing parks again
 * behind the others.
 */
class GroupPop extends Pop {
  readonly #ask: Ask

  constructor(ask: Ask, command: PopCommand, context: Context, answer: Answer) {
    super(ask.core, command, context, answer)
    this.#ask = ask
  }

  protected get place(): Place {
    const { core, groupTopic, topic } = this.#ask
    return benchOf(core, groupTopic, topic)
  }

  protected override get isThereMore(): boolean {
    return isThereMore(this.#ask)
  }

  protected look(): Look | Promise<Look> {
    const ask = this.#ask
    const { core, topic, groupTopic } = ask
    const { group } = groupTopic
    if (topic.deleted) {
      wakeNext(groupTopic)
      throw topicNotFound(groupTopic.topic)
    }
    if (core.state.groups.get(group.spec.group) !== group) throw groupNotFound(group.spec.group)
    if (ask.begun < ask.queues.length) return this.#begin()
    const found = takeOnce(ask)
    return found && this.#kept(found)
  }

  async #begin(): Promise<Look> {
    const ask = this.#ask
    const { core, groupTopic, queues } = ask
    const { length } = queues
    for (const queue of queues) await begin(core, groupTopic.group, queue, groupTopic.cursor(queue.index))
    ask.begun = length
    return this.look()
  }

  /** A process that is killed now finds the leases again: nobody else gets these messages before their time. */
  async #kept(found: Look | Promise<Look>): Promise<Look> {
    const reply = found instanceof Promise ? await found : found
    if (!reply) return undefined
    await this.core.log.kept()
    if (!this.signal?.aborted) return reply
    giveBack(this.#ask, reply)
    return undefined
  }
}

export const popGroup = (
  core: Core,
  command: PopCommand,
  source: GroupSource,
  context: Context,
): Promise<Replies['pop']> => {
  try {
    core.log.admit()
    const ask = askOf(core, command, source, context)
    return new Promise((answer) => void new GroupPop(ask, command, context, answer).run())
  } catch (error) {
    return Promise.reject(error)
  }
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
