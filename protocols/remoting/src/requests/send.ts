import { type CommandOf, type Context, Fault, type Message, type Queue, type Replies, type Stored } from '@sluice/core'
import { offsetMsgId, response } from '@sluice/remoting'
import { type Answer, type Desk, done } from '../desk.ts'
import { recallHandleOf } from '../recall.ts'
import { Numbered } from '../topics.ts'
import { type Send, TEMPLATE } from '../translate.ts'

/** What goes alone. */
export const send = (sent: Send, oneway: boolean, context: Context, desk: Desk): Promise<Answer> => {
  if (sent.asker !== undefined) return asking(sent, sent.asker, oneway, context, desk)
  return sendInto(queueOf(sent, context, desk), sent, oneway, context, desk)
}

/** A request: from here on its replies are looked for. */
const asking = async (sent: Send, asker: string, oneway: boolean, context: Context, desk: Desk): Promise<Answer> => {
  await desk.awaitReplies(context, asker, sent.group)
  return sendInto(queueOf(sent, context, desk), sent, oneway, context, desk)
}

/** Undefined: any. Without a promise when it is known. */
export const queueOf = (
  { topic, queue }: Pick<Send, 'topic' | 'queue'>,
  context: Context,
  { topics }: Desk,
): Queue | undefined | Promise<Queue> => (queue < 0 ? undefined : topics.queue(topic, queue, context))

export const sendInto = (
  queue: Queue | undefined | Promise<Queue>,
  sent: Send,
  oneway: boolean,
  context: Context,
  desk: Desk,
): Promise<Answer> =>
  queue instanceof Promise
    ? queue.catch(unlessNew(sent, context, desk)).then((found) => publish(sent, found, oneway, context, desk))
    : publish(sent, queue, oneway, context, desk)

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
  return desk.gateway.handle(toPublish(messages, group, oneway, into), context).then(
    ({ stored }) => (oneway ? done : answerWhole(topic, stored, context, desk)),
    (error: unknown) => {
      if (Fault.is(error) && error.code === 'topicNotFound') desk.topics.forget(topic, context)
      throw error
    },
  )
}

export const toPublish = (
  messages: readonly Message[],
  group: string,
  oneway: boolean,
  into: Queue | undefined,
): CommandOf<'publish'> =>
  into ? { kind: 'publish', messages, group, oneway, into } : { kind: 'publish', messages, group, oneway }

const answerWhole = (
  topic: string,
  stored: Replies['publish']['stored'],
  context: Context,
  desk: Desk,
): Answer | Promise<Answer> => {
  const all = stored.map(whole)
  const numbered = desk.topics.get(topic, context)
  return numbered instanceof Numbered
    ? answerOf(topic, all, numbered, desk)
    : numbered.then((found) => answerOf(topic, all, found, desk))
}

/** @param stored all that one request sent */
export const answerOf = (topic: string, stored: readonly Stored[], numbered: Numbered, desk: Desk): Answer => {
  const first = stored[0] as Stored
  if (first.half) desk.halves.add(first.half)
  return toSendAnswer(topic, stored, numberOf(first, numbered), desk.store)
}

/** Of its queue, as clients know it. */
export const numberOf = ({ queue }: Stored, numbered: Numbered): number => numbered.number(queue) ?? queue.index

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
