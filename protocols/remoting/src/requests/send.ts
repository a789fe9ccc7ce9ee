import { type CommandOf, type Context, Fault, type Queue, type Replies, type Stored } from '@sluice/core'
import { type Frame, isOneway, offsetMsgId, response } from '@sluice/remoting'
import { type Answer, type Desk, done } from '../desk.ts'
import { recallHandleOf } from '../recall.ts'
import { Numbered } from '../topics.ts'
import { type Send, TEMPLATE, toSend } from '../translate.ts'

/** SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320). */
export const send = (frame: Frame, context: Context, desk: Desk): Promise<Answer> => {
  const { gateway } = desk
  const sent = toSend(frame, { from: context.session.remoteAddress, at: gateway.clock.now() }, gateway.limits)
  const oneway = isOneway(frame)
  if (sent.asker !== undefined) return asking(sent, sent.asker, oneway, context, desk)
  if (sent.queue < 0) return publish(sent, undefined, oneway, context, desk)
  const queue = desk.topics.queue(sent.topic, sent.queue, context)
  return queue instanceof Promise
    ? queue.catch(unlessNew(sent, context, desk)).then((found) => publish(sent, found, oneway, context, desk))
    : publish(sent, queue, oneway, context, desk)
}

/** A request: from here on its replies are looked for. */
const asking = async (sent: Send, asker: string, oneway: boolean, context: Context, desk: Desk): Promise<Answer> => {
  await desk.awaitReplies(context, asker, sent.group)
  const queue = sent.queue < 0 ? undefined : desk.topics.queue(sent.topic, sent.queue, context)
  const found = queue instanceof Promise ? await queue.catch(unlessNew(sent, context, desk)) : queue
  return publish(sent, found, oneway, context, desk)
}

/**
 * A topic that does not exist yet is made by the publish itself, or that is refused. Its queues will be as the client
 * saw them at the template: what it put into one queue must not be spread over several.
 */
const unlessNew =
  ({ topic, queue }: Send, context: Context, { topics }: Desk) =>
  async (error: unknown): Promise<Queue | undefined> => {
    if (!Fault.is(error) || error.code !== 'topicNotFound') throw error
    try {
      return { ...(await topics.queue(TEMPLATE, queue, context)), topic }
    } catch {
      return undefined
    }
  }

const publish = (
  { group, topic, messages }: Send,
  into: Queue | undefined,
  oneway: boolean,
  context: Context,
  desk: Desk,
): Promise<Answer> => {
  const command: CommandOf<'publish'> = into
    ? { kind: 'publish', messages, group, oneway, into }
    : { kind: 'publish', messages, group, oneway }
  return desk.gateway.handle(command, context).then(
    ({ stored }) => (oneway ? done : answerOf(topic, stored, context, desk)),
    (error: unknown) => {
      if (Fault.is(error) && error.code === 'topicNotFound') desk.topics.forget(topic, context)
      throw error
    },
  )
}

const answerOf = (
  topic: string,
  stored: Replies['publish']['stored'],
  context: Context,
  desk: Desk,
): Answer | Promise<Answer> => {
  const all = stored.map(whole)
  const first = all[0] as Stored
  if (first.half) desk.halves.add(first.half)
  const say = (numbered: Numbered): Answer =>
    toSendAnswer(topic, all, numbered.number(first.queue) ?? first.queue.index, desk.store)
  const numbered = desk.topics.get(topic, context)
  return numbered instanceof Numbered ? say(numbered) : numbered.then(say)
}

/** A batch is stored or refused as one: what was stored of a refused one comes again. */
const whole = (stored: Stored | Fault): Stored => {
  if (Fault.is(stored)) throw stored
  return stored
}

const weaker = {
  flushTimeout: response.flushDiskTimeout,
  replicaTimeout: response.flushSlaveTimeout,
  noReplica: response.slaveNotAvailable,
} as const

export const toSendAnswer = (topic: string, stored: readonly Stored[], queue: number, store: Buffer): Answer => {
  const first = stored[0] as Stored
  const { id, durable, recallHandle } = first
  // A client ends its transaction with what it reads here.
  const { place, offset } = first.half ?? first
  const ext: Record<string, string> = {
    msgId:
      stored.length === 1 ? offsetMsgId(store, place) : stored.map((one) => offsetMsgId(store, one.place)).join(','),
    queueId: String(queue),
    queueOffset: String(offset),
    transactionId: id,
    MSG_REGION: 'DefaultRegion',
    TRACE_ON: 'false',
  }
  if (recallHandle !== undefined) ext.recallHandle = recallHandleOf(topic, first)
  return { code: durable ? weaker[durable] : response.success, ext }
}
