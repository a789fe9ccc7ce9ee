import { type CommandOf, type Context, Fault, type Message, type Queue, type Replies, type Stored } from '@sluice/core'
import {
  type Draft,
  deliverAtOf,
  draftRecord,
  offsetMsgIdIn,
  PropertyView,
  type StoredRecord,
  system,
  viewRecord,
  writeRecord,
} from '@sluice/remoting'
import type { Core } from './core.ts'
import { noInbox, unsupported } from './errors.ts'
import { type Prelude, writeDelayDone, writePrelude } from './events.ts'
import { type Facts, factsOf } from './facts.ts'
import { CHECK_AFTER_MS, type HalfState, handleOf } from './halves.ts'
import { topicOrNew } from './topicCommands.ts'
import { checkType, isSystemTopic, QUEUES_MAX, type QueueState, type TopicState } from './topics.ts'

/** Furthest that a delivery may lie ahead. Source: RocketMQ's timerMaxDelaySec is 3 days; ours is bound by disk only. */
export const DELAY_MAX = 366 * 24 * 3600 * 1000
/** Longest that a producer may have before it is asked. */
const CHECK_AFTER_MAX = 24 * 3600 * 1000
/** Messages of one command. */
export const MESSAGES_MAX = 10_000

/** A record appended, with what it is known by. Not durable before the log says so. */
export interface Appended {
  readonly stored: Stored
  readonly size: number
}

export interface AppendMore {
  readonly reconsumeTimes?: number
  /** Key of the half message that this one was. */
  readonly prepared?: number
  readonly sysFlag?: number
  readonly bornHost?: string
  /** Whose message it is, for noLocal. */
  readonly publisher?: string
  /** More entries follow in the same turn that this record counts only together with. */
  readonly chained?: boolean
  /** Producer group of the command. */
  readonly group?: string
}

const idOf = ({ id }: Facts, core: Core, place: number): string => id ?? offsetMsgIdIn(core.settings.storeHost, place)

const write = (core: Core, draft: Draft, queue: number, offset: number, more: AppendMore): number => {
  const { log } = core
  const at = log.reserve(draft.size)
  const { place } = log
  const { reconsumeTimes, prepared, sysFlag } = more
  const placement = { queue, offset, place, storedAt: core.now(), reconsumeTimes, prepared, sysFlag }
  const body = writeRecord(log.room, at, draft, placement)
  log.commit(more.chained, body)
  return place
}

/** To the end of a queue. */
export const appendTo = (
  core: Core,
  queue: QueueState,
  message: Message,
  more: AppendMore,
  facts = factsOf(message),
): Appended => {
  const { state, log } = core
  const draft = draftRecord(message, core.settings.storeHost, more.bornHost)
  const { publisher } = more
  if (publisher !== undefined && state.bindings.noLocals > 0 && state.leavesOut(message, facts, publisher))
    log.append(writePrelude({ publisher }), true)
  const offset = queue.records.max
  const place = write(core, draft, queue.index, offset, more)
  state.indexed(queue, offset, place, draft.size, message, facts, publisher)
  return { stored: { id: idOf(facts, core, place), queue: queue.queue, offset, place }, size: draft.size }
}

/** Into the log but no queue: for an inbox, for later, or in place of another. */
export const appendBeside = (
  core: Core,
  queue: Queue,
  message: Message,
  prelude: Prelude,
  more: AppendMore,
): Appended => {
  const draft = draftRecord(message, core.settings.storeHost, more.bornHost)
  core.log.append(writePrelude(prelude), true)
  const place = write(core, draft, Math.max(0, queue.index), 0, more)
  return { stored: { id: idOf(factsOf(message), core, place), queue, offset: 0, place }, size: draft.size }
}

/** A stored message to be stored once more, with these properties. */
export const again = (message: StoredRecord, packed: Buffer, topic = message.topic): Message => ({
  topic,
  body: message.body,
  properties: {},
  packed,
  bornAt: message.bornAt,
  bornHost: message.bornHost,
  ...(message.encoding && { encoding: message.encoding }),
  ...(message.original && { original: message.original }),
})

const deliverAt = (core: Core, message: Message, { timed }: Facts): number | undefined => {
  if (!timed) return undefined
  const now = core.clock.now()
  const { packed } = message
  const at = packed ? deliverAtOf(new PropertyView(packed), now) : message.deliverAt
  if (at !== undefined && at > now + DELAY_MAX)
    throw new Fault('invalid', `delivery lies over ${DELAY_MAX} ms ahead`, { about: 'deliverAt' })
  return at
}

/** @throws Fault 'tooLarge' about 'body' */
export const checkMessage = (core: Core, message: Message): void => {
  if (message.body.length > core.settings.bodyBytes)
    throw new Fault('tooLarge', `body of ${message.body.length} bytes is over ${core.settings.bodyBytes}`, {
      about: 'body',
    })
}

const queueOf = (topic: TopicState, { group }: Facts, into: Queue | undefined): QueueState => {
  if (!into || into.index < 0) return topic.pick(group)
  const queue = into.index < QUEUES_MAX ? topic.queues[into.index] : undefined
  if (!queue) throw new Fault('invalid', `topic ${topic.spec.topic} has no queue ${into.index}`, { about: 'queue' })
  return queue
}

/** A client that could not have the broker send a message back sends it to %RETRY% itself, and counts itself. */
const sentBack = (packed: Buffer): Pick<AppendMore, 'reconsumeTimes'> => {
  const times = Number(new PropertyView(packed).get(system.attempts))
  return times > 0 && times < 2 ** 31 ? { reconsumeTimes: Math.floor(times) } : {}
}

/** One message to where the command says. `more.chained` where the answer is to be kept with it. */
export const publishOne = (
  core: Core,
  message: Message,
  into: Queue | { inbox: string } | undefined,
  more: AppendMore,
): Stored => {
  checkMessage(core, message)
  if (into && 'inbox' in into) return intoInbox(core, message, into.inbox, more)
  if (isSystemTopic(message.topic) && message.packed) more = { ...more, ...sentBack(message.packed) }
  const facts = factsOf(message)
  const at = deliverAt(core, message, facts)
  const topic = topicOrNew(core, message.topic)
  if (!topic.isMixed) checkType(facts, topic.spec, into !== undefined && into.index >= 0, at)
  return facts.half ? hide(core, message, into, facts, more) : placeAt(core, message, into, more, facts, topic, at)
}

/** In a queue now, or in the log alone until its time. */
export const place = (core: Core, message: Message, into: Queue | undefined, more: AppendMore): Stored => {
  const facts = factsOf(message)
  const topic = topicOrNew(core, message.topic)
  return placeAt(core, message, into, more, facts, topic, deliverAt(core, message, facts))
}

const placeAt = (
  core: Core,
  message: Message,
  into: Queue | undefined,
  more: AppendMore,
  facts: Facts,
  topic: TopicState,
  at: number | undefined,
): Stored => {
  const queue = queueOf(topic, facts, into)
  if (at === undefined || at <= core.clock.now()) return appendTo(core, queue, message, more, facts).stored
  return delay(core, into && into.index >= 0 ? queue.queue : { ...queue.queue, index: -1 }, message, at, more)
}

/** A half message: invisible until its producer decides. */
const hide = (core: Core, message: Message, into: Queue | undefined, facts: Facts, more: AppendMore): Stored => {
  const { state, settings } = core
  checkHalves(core, 0)
  const chosen = into && into.index >= 0 ? queueOf(topicOrNew(core, message.topic), facts, into).queue.index : -1
  const checkAfter = Math.min(Math.max(0, message.half?.checkAfter ?? CHECK_AFTER_MS), CHECK_AFTER_MAX)
  const group = more.group ?? (message.packed && new PropertyView(message.packed).get(system.producerGroup)) ?? ''
  const { publisher } = more
  const prelude: Prelude = {
    half: { group, checkAfter },
    ...(chosen >= 0 && { queue: chosen }),
    ...(publisher !== undefined && { publisher }),
  }
  const queue = { topic: message.topic, node: settings.node, index: chosen }
  const { stored, size } = appendBeside(core, queue, message, prelude, more)
  const half: HalfState = {
    key: stored.place,
    place: stored.place,
    size,
    topic: message.topic,
    group,
    id: stored.id,
    queue: chosen,
    publisher,
    storedAt: state.storedAt,
    checks: 0,
    checkAt: core.clock.now() + checkAfter,
    wanted: false,
    ending: false,
  }
  state.halves.add(half)
  core.undecided()
  return { ...stored, half: handleOf(settings.node, half) }
}

/** Names a message that waits for its time, for as long as it does. */
export const recallHandle = (key: number, at: number): string => `${key}-${at}`
const HANDLE = /^(\d{1,16})-(\d{1,16})$/

/**
 * Takes a message back that waits for its time; durable when it answers.
 * @throws Fault 'notFound' about 'handle' when it does not wait any more
 */
export const recall = async (core: Core, command: CommandOf<'recall'>): Promise<Replies['recall']> => {
  const { state, log } = core
  const gone = () => new Fault('notFound', 'no message waits under this handle', { about: 'handle' })
  const [, key, at] = HANDLE.exec(command.handle) ?? []
  const delayed = state.delayed.get(Number(key))
  if (key === undefined || delayed?.at !== Number(at)) throw gone()
  log.admit()
  const [record] = await core.read([delayed])
  const message = record && viewRecord(record, state.node)
  if (state.delayed.get(delayed.key) !== delayed || message?.topic !== command.topic) throw gone()
  log.append(writeDelayDone(delayed.key))
  state.delayed.delete(delayed.key)
  await log.done()
  return { id: message.id }
}

/** Invisible until its time: in the log, in no queue. The queue of a message that names none is chosen when it is due. */
export const delay = (core: Core, queue: Queue, message: Message, at: number, more: AppendMore): Stored => {
  const { state } = core
  checkDelayed(core, 0)
  const chosen = queue.index >= 0
  const { stored, size } = appendBeside(
    core,
    queue,
    message,
    { deliverAt: at, ...(chosen && { queue: queue.index }) },
    more,
  )
  state.delay({ key: stored.place, place: stored.place, size, at, queue: queue.index })
  core.delayed()
  return { ...stored, recallHandle: recallHandle(stored.place, at) }
}

/**
 * Whether {@link publishOne} would take it, together with the ones that were tried before it.
 * @throws Fault what it would throw
 */
export const tryOne = (
  core: Core,
  message: Message,
  into: Queue | { inbox: string } | undefined,
  before: { halves: number; delayed: number },
): void => {
  const { state, settings } = core
  checkMessage(core, message)
  draftRecord(message, settings.storeHost, message.bornHost ?? '[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535')
  if (into && 'inbox' in into) {
    if (message.half) throw halfForInbox()
    if (!state.inboxes.has(into.inbox)) throw noInbox(into.inbox)
    return
  }
  const facts = factsOf(message)
  const at = deliverAt(core, message, facts)
  const topic = topicOrNew(core, message.topic)
  if (!topic.isMixed) checkType(facts, topic.spec, into !== undefined && into.index >= 0, at)
  if (into) queueOf(topic, facts, into)
  if (facts.half) checkHalves(core, before.halves++)
  else if (at !== undefined && at > core.clock.now()) checkDelayed(core, before.delayed++)
}

const checkHalves = ({ state }: Core, more: number): void => {
  if (state.halves.size + more >= state.bounds.halves)
    throw new Fault('limit', `${state.halves.size} transactions have no decision yet`, { about: 'transaction' })
}
const checkDelayed = ({ state }: Core, more: number): void => {
  if (state.delayed.size + more >= state.bounds.delayed)
    throw new Fault('limit', `${state.delayed.size} messages wait for their time already`, { about: 'deliverAt' })
}
const halfForInbox = () => unsupported('a half message for an inbox', 'type')

const intoInbox = (core: Core, message: Message, inbox: string, more: AppendMore): Stored => {
  const { state } = core
  if (message.half) throw halfForInbox()
  const found = state.inboxes.get(inbox)
  if (!found) throw noInbox(inbox)
  const queue = { topic: message.topic, node: core.settings.node, index: -1 }
  const { stored, size } = appendBeside(core, queue, message, { into: inbox }, more)
  state.toInbox(inbox, stored.place, size)
  return stored
}

export const moreOf = ({ group }: CommandOf<'publish'>, { session }: Context): AppendMore => ({
  bornHost: session.remoteAddress,
  publisher: session.client,
  ...(group !== undefined && { group }),
})

/** All messages of a command; a refusal of one does not stop the others. */
export const publish = (core: Core, command: CommandOf<'publish'>, context: Context): Promise<Replies['publish']> => {
  const { messages, into } = command
  if (messages.length > MESSAGES_MAX) throw new Fault('limit', `over ${MESSAGES_MAX} messages in one command`)
  const more = moreOf(command, context)
  const { log } = core
  log.admit()
  const stored: (Stored | Fault)[] = []
  let appended = false
  for (const message of messages) {
    try {
      stored.push(publishOne(core, message, into, more))
      appended = true
    } catch (error) {
      stored.push(refusal(error))
    }
  }
  if (command.oneway) return Promise.resolve({ stored: [] })
  return appended ? log.done().then(() => ({ stored })) : Promise.resolve({ stored })
}

/** What a client did wrong is its answer; what we did wrong, and a disk that fails, ends the command. */
export const refusal = (error: unknown): Fault => {
  const fault = Fault.from(error)
  if (fault.code === 'internal' || fault.code === 'unavailable' || fault.code === 'busy') throw error
  return fault
}
