import { type CommandOf, Fault, losses, type Offset, type Queue, type Start } from '@sluice/core'
import { type Asker, contextOf, type Hall, type Poll, type Unary } from './calls.ts'
import { noMessage, ok } from './faults.ts'
import { Answer, bytesOf, polled } from './receive.ts'
import { checkGroup, checkTopic } from './rules.ts'
import { BATCH_MAX, fromDelivered, pollOf, toFilter } from './translate.ts'
import {
  exact,
  type MessageQueue,
  type OffsetRequest,
  type PullMessageRequest,
  type PullMessageResponse,
  toMs,
} from './wire.ts'

/** Bytes of a pulled batch, beside its first message. */
const PULL_BYTES = 4 * 1024 * 1024

/** One queue of one broker. @throws Fault 'invalid' about 'topic' or 'queue' */
export const queueOf = (queue: MessageQueue | undefined): Queue => {
  const topic = checkTopic(queue?.topic)
  const index = queue?.id ?? 0
  if (index < 0) throw new Fault('invalid', 'message_queue.id names one queue', { about: 'queue' })
  return { topic, node: queue?.broker?.name ?? '', index }
}

/** @throws Fault 'invalid' about 'offset' */
export const offsetOf = (offset: string | number | undefined): Offset => {
  const known = exact(offset, 'offset')
  if (known < 0) throw new Fault('invalid', 'offset is below 0', { about: 'offset' })
  return known
}

export const updateOffset: Unary<OffsetRequest> = async (request, asker, hall) => {
  const group = checkGroup(request.group)
  const queue = queueOf(request.message_queue)
  const offset = offsetOf(request.offset)
  await hall.gateway.handle({ kind: 'commitOffset', queue, group, offset }, contextOf(asker, hall))
  return { status: ok }
}

/** Where the group goes on. @throws Fault 'notFound' about 'offset' when it never said */
export const getOffset: Unary<OffsetRequest> = async (request, asker, hall) => {
  const at = { group: checkGroup(request.group) }
  try {
    return { status: ok, offset: await offsetAt(queueOf(request.message_queue), at, asker, hall) }
  } catch (error) {
    if (Fault.from(error).code !== 'notFound') throw error
    throw new Fault('notFound', 'the group has no offset here', { about: 'offset' })
  }
}

export const queryOffset: Unary<OffsetRequest> = async (request, asker, hall) => ({
  status: ok,
  offset: await offsetAt(queueOf(request.message_queue), startOf(request), asker, hall),
})

/** @throws Fault 'invalid' about 'offset' */
export const startOf = ({ query_offset_policy: policy, timestamp }: OffsetRequest): Start => {
  if (policy === undefined || policy === 'BEGINNING') return 'min'
  if (policy === 'END') return 'max'
  if (policy !== 'TIMESTAMP' || !timestamp) {
    throw new Fault('invalid', 'policy BEGINNING, END, or TIMESTAMP with a timestamp', { about: 'offset' })
  }
  return { time: toMs(timestamp, 'offset') }
}

const offsetAt = async (queue: Queue, at: Start | { group: string }, asker: Asker, { gateway, ...hall }: Hall) =>
  (await gateway.handle({ kind: 'queryOffset', queue, at }, contextOf(asker, { gateway, ...hall }))).offset

/** PullMessage: status, messages without receipts, and where to go on, which is said with a refused offset as well. */
export const pullMessage: Poll<PullMessageRequest> = async (request, asker, hall) => {
  const answer = new Answer<PullMessageResponse>(asker.exchange, hall.gateway.clock)
  try {
    const asked = toRead(request, asker, hall)
    const { offset } = asked.from
    const reply = await polled(asker, hall, asked, () => [{ status: noMessage }, { next_offset: offset }])
    const outside = reply !== undefined && (offset < reply.min || offset > reply.max)
    const read = reply ? [...reply.batch] : []
    const delivered = read.slice(0, asker.exchange.place.owed.admit(read.map(bytesOf)))
    const next = read[delivered.length]?.message.offset ?? reply?.next ?? offset
    if (outside) await answer.write({ status: hall.refuse(outOf(reply)) })
    else await answer.write({ status: delivered.length > 0 ? ok : noMessage })
    await answer.give(delivered, (one) => {
      for (const field of losses(one.message, 'grpc')) {
        hall.gateway.lost(one.message.via ?? 'remoting', 'grpc', field)
      }
      return { message: fromDelivered(one, request.message_queue?.topic ?? { name: one.message.topic }) }
    })
    await answer.write({ next_offset: next })
  } catch (error) {
    await answer.write({ status: hall.refuse(error) })
  }
  answer.end()
}

const outOf = ({ min, max }: { min: Offset; max: Offset }) =>
  new Fault('invalid', `offset is not from ${min} to ${max}`, { about: 'offset' })

type Read = CommandOf<'read'> & { readonly from: { readonly by: 'offset'; readonly offset: Offset } }

const toRead = (request: PullMessageRequest, { left, client, told }: Asker, { gateway: { limits } }: Hall): Read => {
  const filter = toFilter(request.filter_expression)
  const group = checkGroup(request.group)
  return {
    kind: 'read',
    from: { by: 'offset', queue: queueOf(request.message_queue), offset: offsetOf(request.offset), group },
    max: Math.max(1, Math.min(BATCH_MAX, request.batch_size ?? 0)),
    bytes: PULL_BYTES,
    wait: told ? 0 : pollOf(request, left, client.requestTimeout, limits),
    ...(filter && { filter }),
  }
}
