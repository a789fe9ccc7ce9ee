import { type CommandOf, type Context, Fault, type Replies, type Start } from '@sluice/core'
import { type Frame, response } from '@sluice/remoting'
import { type Answer, type Desk, done, type Handler } from '../desk.ts'
import { either, integer, text } from '../fields.ts'
import { placeOf, RETRY } from '../translate.ts'

const offsetAnswer = (offset: number): Answer => ({ code: response.success, ext: { offset: String(offset) } })

const query = async (
  frame: Frame,
  context: Context,
  { gateway, topics }: Desk,
  at: CommandOf<'queryOffset'>['at'],
): Promise<Replies['queryOffset']> => {
  const place = placeOf(frame)
  const queue = await topics.queue(place.topic, place.queue, context)
  return gateway.handle({ kind: 'queryOffset', queue, at }, context)
}

/**
 * Clients say what they consume every 30 s; the first time may be lost (Java: two threads that say it at once), and the next
 * one comes 31 s after its client did, or later where an answer took its time.
 */
const YOUNG_MS = 60_000

/**
 * QUERY_CONSUMER_OFFSET (14). 22 where the group has none: the client then decides by what it was told to begin with.
 * A client that wants to begin at the end means the end as it was when it subscribed, and is told that: what comes in
 * between this answer and its own look for the end is not skipped. Of a topic of less than a minute nobody can
 * say who was there first: its messages are not skipped either. RocketMQ's broker skips none that are still in its memory.
 */
export const queryConsumerOffset: Handler = async (frame, context, desk) => {
  const group = text(frame.ext, 'consumerGroup')
  const { topic } = placeOf(frame)
  try {
    return offsetAnswer((await query(frame, context, desk, { group })).offset)
  } catch (error) {
    if (!Fault.is(error) || !isAbsent(error, topic)) throw error
    const wantsNone = frame.ext.setZeroIfNotFound === 'false'
    const since = wantsNone ? undefined : lastSince(group, topic, desk)
    if (!wantsNone && !topic.startsWith(RETRY)) {
      const { offset, storedAt = 0 } = await query(frame, context, desk, 'min')
      if (offset === 0 && storedAt > (since ?? desk.gateway.clock.now()) - YOUNG_MS) return offsetAnswer(0)
    }
    if (since === undefined) throw new Fault('notFound', 'the group has no offset here')
    return offsetAnswer((await query(frame, context, desk, { time: since, edge: 'lower' })).offset)
  }
}

/** The retry topic of a group is there once something is in it. */
const isAbsent = (fault: Fault, topic: string): boolean =>
  (fault.code === 'notFound' && fault.about !== 'queue') || (fault.code === 'topicNotFound' && topic.startsWith(RETRY))

const lastSince = (group: string, topic: string, desk: Desk): number | undefined => {
  const consumer = desk.member.consumes.find((one) => one.group === group)
  // A consumer that pulls by itself says the end whatever it wants.
  return consumer?.from === 'max' && consumer.mode === 'push' && !topic.startsWith(RETRY)
    ? desk.subscribedAt(group, topic)
    : undefined
}

/** UPDATE_CONSUMER_OFFSET (15). */
export const updateConsumerOffset: Handler = async (frame, context, { gateway, topics }) => {
  const place = placeOf(frame)
  const group = text(frame.ext, 'consumerGroup')
  const offset = integer(frame.ext, 'commitOffset')
  const queue = await topics.queue(place.topic, place.queue, context)
  await gateway.handle({ kind: 'commitOffset', queue, group, offset }, context)
  return done
}

/** SEARCH_OFFSET_BY_TIMESTAMP (29). */
export const searchOffset: Handler = async (frame, context, desk) => {
  const time = integer(frame.ext, either(frame.ext, 'timestamp'))
  const edge = frame.ext.boundaryType?.toLowerCase() === 'upper' ? 'upper' : 'lower'
  return offsetAnswer((await query(frame, context, desk, { time, edge })).offset)
}

const at =
  (start: Start): Handler =>
  async (frame, context, desk) =>
    offsetAnswer((await query(frame, context, desk, start)).offset)

const max = at('max')

/** GET_MAX_OFFSET (30); old Go clients search by time with it. */
export const maxOffset: Handler = (frame, context, desk) =>
  frame.ext[either(frame.ext, 'timestamp')] === undefined
    ? max(frame, context, desk)
    : searchOffset(frame, context, desk)

/** GET_MIN_OFFSET (31). */
export const minOffset = at('min')

/** GET_EARLIEST_MSG_STORETIME (32): -1 where there is none. */
export const earliestStoreTime: Handler = async (frame, context, desk) => {
  const { storedAt } = await query(frame, context, desk, 'min')
  return { code: response.success, ext: { timestamp: String(storedAt ?? -1) } }
}
