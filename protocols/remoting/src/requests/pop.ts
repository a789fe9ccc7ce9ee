import { type Context, Fault, type GroupSpec, type Lease, type Outcome, type Replies } from '@sluice/core'
import { response } from '@sluice/remoting'
import { type Checkpoint, checkpointIn, isRetry, originalTopic } from '../checkpoint.ts'
import { type Desk, done, type Handler, type NamedHandler } from '../desk.ts'
import { integer, json, list, string, text } from '../fields.ts'
import { nothingPopped } from '../popAnswer.ts'
import { POP_MAX } from '../popRequest.ts'
import { recordsOf } from '../records.ts'
import { BROKER } from '../routes.ts'
import { RETRY } from '../translate.ts'

/** Messages of one BATCH_ACK. */
export const ACKS_MAX = 10_000

/**
 * QUERY_ASSIGNMENT (400). `null` is "keep what you have": at a refusal a client would do without the broker from then
 * on, also when it merely came before its topic.
 */
export const assignment: NamedHandler = async (frame, desk) => {
  const data = json(frame.body)
  const topic = needed(data.topic, 'topic')
  const group = needed(data.consumerGroup, 'consumerGroup')
  const context = await desk.identify(string(data.clientId), frame)
  const strategy = string(data.strategyName) ?? 'AVG'
  const model = data.messageModel === 'BROADCASTING' ? 'broadcast' : 'cluster'
  try {
    const { queues } = await desk.gateway.handle({ kind: 'assign', topic, group, strategy, model }, context)
    return assigned(queues && (await messageQueues(topic, queues, context, desk)))
  } catch (error) {
    if (Fault.is(error) && error.code === 'topicNotFound') return assigned(undefined)
    throw error
  }
}

const assigned = (assignments: readonly object[] | undefined) => ({
  code: response.success,
  body: Buffer.from(JSON.stringify({ messageQueueAssignments: assignments ?? null })),
})

/** Any queue of any node is one and the same to a client. */
const messageQueues = async (
  topic: string,
  queues: NonNullable<Replies['assign']['queues']>,
  context: Context,
  { topics }: Desk,
): Promise<readonly object[]> => {
  const numbered = await topics.get(topic, context)
  const assignments = new Map<number, object>()
  for (const { queue, mode } of queues) {
    const queueId = queue.index < 0 ? -1 : (numbered.number(queue) ?? queue.index)
    const messageQueue = { topic, brokerName: BROKER, queueId }
    assignments.set(queueId, { messageQueue, mode: mode.toUpperCase(), attachments: null })
  }
  return [...assignments.values()]
}

const needed = (value: unknown, name: string): string => {
  const said = string(value)
  if (said === undefined) throw new Fault('malformed', `field ${name} of the body is missing`)
  return said
}

/** SET_MESSAGE_REQUEST_MODE (401): whether a group's consumers of a topic pull or pop, and how many share a queue. */
export const setRequestMode: Handler = async ({ body }, context, { gateway, topics }) => {
  const data = json(body)
  const topic = needed(data.topic, 'topic')
  const group = needed(data.consumerGroup, 'consumerGroup')
  if (topic.startsWith(RETRY)) throw new Fault('forbidden', 'retries are pulled', { about: 'topic' })
  if (data.mode !== 'PULL' && data.mode !== 'POP') throw new Fault('invalid', 'field mode is neither PULL nor POP')
  const share = Number(data.popShareQueueNum ?? 0)
  if (!Number.isSafeInteger(share)) throw new Fault('malformed', 'field popShareQueueNum is no integer')
  await topics.get(topic, context)
  const { progress: _, ...spec } = await gateway.handle({ kind: 'group', group }, context)
  const modes: GroupSpec['modes'] = { ...spec.modes, [topic]: { mode: data.mode === 'POP' ? 'pop' : 'pull', share } }
  await gateway.handle({ kind: 'admin', action: { do: 'putGroup', spec: { ...spec, modes } } }, context)
  return done
}

const leaseOf = async ({ lease, queue }: Checkpoint, context: Context, { topics }: Desk): Promise<Lease> => {
  const { node, index } = await topics.queue(lease.topic, queue, context)
  return { ...lease, node, queue: index }
}

const settle = async (
  receipts: readonly Lease[],
  outcome: Outcome,
  context: Context,
  { gateway }: Desk,
): Promise<Replies['settle']> => {
  const reply = await gateway.handle({ kind: 'settle', receipts, outcome }, context)
  const [first] = reply.failed
  if (first && reply.failed.length === receipts.length) throw first.fault
  return reply
}

/** ACK_MESSAGE (200051): 208 where the message is not held any more, or never was. */
export const ack: Handler = async ({ ext }, context, desk) => {
  const lease = await leaseOf(checkpointIn(ext), context, desk)
  await settle([lease], { kind: 'accept' }, context, desk)
  return done
}

/**
 * BATCH_ACK_MESSAGE (200151): acks = [{c group, t topic, r retry "0"|"1"|"2", so first offset, q queue, rq revive,
 * pt popped at, it invisible, b bits: base64 of a little-endian set of offset − so}]
 */
export const batchAck: Handler = async ({ body }, context, desk) => {
  const acks = list(json(body).acks)
  const leases: Lease[] = []
  for (const one of acks) {
    const [queue, first, poppedAt] = [count(one, 'q'), count(one, 'so'), count(one, 'pt')]
    const [group, topic, retry] = [needed(one.c, 'c'), needed(one.t, 't'), Number(one.r ?? 0)]
    if (!isRetry(retry)) throw new Fault('malformed', 'field r of an ack is none of 0, 1 and 2')
    const lease: Checkpoint['lease'] = {
      of: 'group',
      topic: originalTopic(topic, group, retry),
      group,
      offset: first,
      place: -1,
      first,
      poppedAt,
      invisible: count(one, 'it'),
      revive: count(one, 'rq'),
      retry,
      attempt: 0,
    }
    const of = await leaseOf({ lease, queue }, context, desk)
    for (const bit of bitsOf(one.b, ACKS_MAX - leases.length)) leases.push({ ...of, offset: first + bit })
  }
  if (leases.length === 0) throw new Fault('malformed', 'field acks of the body names no message')
  await settle(leases, { kind: 'accept' }, context, desk)
  return done
}

const count = (one: Readonly<Record<string, unknown>>, name: string): number => {
  const value = Number(one[name])
  if (!Number.isSafeInteger(value) || value < 0) throw new Fault('malformed', `field ${name} of an ack is no number`)
  return value
}

const bitsOf = (text: unknown, most: number): readonly number[] => {
  if (typeof text !== 'string') throw new Fault('malformed', 'field b of an ack is no base64')
  const bits: number[] = []
  for (const [at, byte] of Buffer.from(text, 'base64').entries()) {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) bits.push(at * 8 + bit)
    if (bits.length > most) throw new Fault('limit', `over ${ACKS_MAX} messages in one request`)
  }
  return bits
}

/** CHANGE_MESSAGE_INVISIBLETIME (200053): there again after this time, one attempt further; the old receipt is void. */
export const changeInvisible: Handler = async ({ ext }, context, desk) => {
  const after = integer(ext, 'invisibleTime')
  if (after < 0) throw new Fault('invalid', 'field invisibleTime is below 0')
  const lease = await leaseOf(checkpointIn(ext), context, desk)
  const { renewed } = await settle([lease], { kind: 'retry', after, counts: true }, context, desk)
  const now = renewed?.[0]
  const held = now?.of === 'group' ? now : { ...lease, poppedAt: desk.gateway.clock.now(), invisible: after }
  return {
    code: response.success,
    ext: {
      popTime: String(held.poppedAt),
      invisibleTime: String(held.invisible),
      reviveQid: String(held.revive),
    },
  }
}

/** PEEK_MESSAGE (200052): what a pop would give, without taking it. */
export const peek: Handler = async ({ ext }, context, desk) => {
  const [topic, group, number] = [text(ext, 'topic'), text(ext, 'consumerGroup'), integer(ext, 'queueId')]
  const max = integer(ext, 'maxMsgNums')
  if (max < 1 || max > POP_MAX) throw new Fault('invalid', `field maxMsgNums is not from 1 to ${POP_MAX}`)
  const queue = number < 0 ? undefined : await desk.topics.queue(topic, number, context)
  const source = { kind: 'group', topic, group, ...(queue && { queue }) } as const
  const { batch } = await desk.gateway.handle(
    { kind: 'read', from: { by: 'source', source }, max, bytes: PEEK_BYTES, wait: 0 },
    context,
  )
  const nothing = nothingPopped(response.pullNotFound)
  if (batch.count === 0) return nothing
  return { ...nothing, code: response.success, parts: recordsOf(batch, desk.store, desk.gateway) }
}

const PEEK_BYTES = 1024 * 1024

/** POLLING_INFO (200055): how many pops of the group wait here. */
export const pollingInfo: Handler = ({ ext }, _, { parked }) => {
  const waits = parked.count(text(ext, 'topic'), text(ext, 'consumerGroup'), integer(ext, 'queueId'))
  return { code: response.success, ext: { pollingNum: String(waits) } }
}
