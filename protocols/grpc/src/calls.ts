import {
  type Context,
  Fault,
  type Gateway,
  type Lease,
  type Ms,
  type Outcome,
  type Principal,
  type TopicInfo,
} from '@sluice/core'
import type { Client, Clients } from './conversation.ts'
import type { Exchange } from './exchange.ts'
import { ok, statusOf, statusOfAll, statusOfStored } from './faults.ts'
import type { Groups } from './groups.ts'
import { endpointsFor, toAssignments, toQueues } from './routes.ts'
import { checkGroup, checkTopic } from './rules.ts'
import { checkInvisible, toPublish } from './translate.ts'
import type {
  AckMessageRequest,
  ChangeInvisibleDurationRequest,
  ForwardToDeadLetterRequest,
  HeartbeatRequest,
  QueryAssignmentRequest,
  QueryRouteRequest,
  Resource,
  SendMessageRequest,
  Status,
} from './wire.ts'

/** What every call has at hand. */
export interface Hall {
  readonly gateway: Gateway
  readonly clients: Clients
  readonly groups: Groups
  /** The status of what was thrown; what is no Fault is ours to mend and logged. */
  refuse(error: unknown): Status
}

/** Who asks, by which stream, and how long it waits. */
export interface Asker {
  readonly client: Client
  readonly principal: Principal
  readonly exchange: Exchange
  readonly address: string
  /** Until the client's deadline; Infinity when it has none. */
  readonly left: Ms
  /** Whether a drain has begun on its connection. */
  readonly told: boolean
}

export type Unary<Request> = (request: Request, asker: Asker, hall: Hall) => Promise<{ readonly status: Status }>

const PATIENCE: Ms = 5_000

/** Our answer comes before the client's deadline: "no answer in time" is better than none. */
export const contextOf = ({ client, principal, left }: Asker, { gateway }: Hall): Context =>
  gateway.context(client.session, Math.max(100, Math.min(PATIENCE, (left * 2) / 3)), { principal })

/** Stands for every topic that a publish would make: the broker knows it only while it makes topics. */
const TEMPLATE = 'TBW102'

/** @throws Fault 'topicNotFound' where neither is known */
const topicInfo = async (topic: string, asker: Asker, hall: Hall): Promise<TopicInfo> => {
  const ask = (name: string) => hall.gateway.handle({ kind: 'topic', topic: name }, contextOf(asker, hall))
  try {
    return await ask(topic)
  } catch (error) {
    if (Fault.from(error).code !== 'topicNotFound') throw error
    return ask(TEMPLATE).catch(() => {
      throw error
    })
  }
}

const routeOf = async (request: QueryRouteRequest, asker: Asker, hall: Hall) => {
  const info = await topicInfo(checkTopic(request.topic), asker, hall)
  const endpoints = endpointsFor(request.endpoints, hall.gateway.advertised(asker.client.session))
  return { topic: request.topic as Resource, info, endpoints }
}

export const queryRoute: Unary<QueryRouteRequest> = async (request, asker, hall) => {
  const { topic, info, endpoints } = await routeOf(request, asker, hall)
  return { status: ok, message_queues: toQueues(topic, info, endpoints) }
}

export const queryAssignment: Unary<QueryAssignmentRequest> = async (request, asker, hall) => {
  const { topic, info, endpoints } = await routeOf(request, asker, hall)
  const group = await hall.groups.of(checkGroup(request.group), contextOf(asker, hall))
  return { status: ok, assignments: toAssignments(topic, info, group?.fifo ?? false, endpoints) }
}

export const heartbeat: Unary<HeartbeatRequest> = async (request, asker, hall) => {
  const member = asker.client.membership(request)
  await hall.gateway.handle({ kind: 'heartbeat', member }, contextOf(asker, hall))
  return { status: ok }
}

export const notifyClientTermination: Unary<object> = async (_, { client }, { clients }) => {
  clients.end(client)
  return { status: ok }
}

/** Entries in the order of the messages, which is how Java finds its own; ids come back as they were sent. */
export const sendMessage: Unary<SendMessageRequest> = async (request, asker, hall) => {
  const { gateway } = hall
  const now = gateway.clock.now()
  const publish = toPublish(request, { limits: gateway.limits, now, address: asker.address })
  const { stored } = await gateway.handle(publish, contextOf(asker, hall))
  const entries = publish.messages.map(({ id }, at) => {
    const result = stored[at] ?? new Fault('internal', 'a message without a result')
    return {
      status: statusOfStored(result),
      message_id: id as string,
      offset: Fault.is(result) ? 0 : result.offset,
    }
  })
  return { status: statusOfAll(entries), entries }
}

/** One command for all handles that are ours; answers in the order of the entries. */
export const ackMessage: Unary<AckMessageRequest> = async (request, asker, hall) => {
  const results: Status[] = []
  const leases: { readonly at: number; readonly lease: Lease }[] = []
  request.entries.forEach(({ receipt_handle }, at) => {
    try {
      leases.push({ at, lease: hall.gateway.seal.openLease(receipt_handle ?? '') })
      results.push(ok)
    } catch (error) {
      results.push(statusOf(error))
    }
  })
  if (leases.length > 0) {
    const receipts = leases.map(({ lease }) => lease)
    const { failed } = await hall.gateway.handle(
      { kind: 'settle', receipts, outcome: { kind: 'accept' } },
      contextOf(asker, hall),
    )
    for (const { at, fault } of failed) results[leases[at]!.at] = statusOf(fault)
  }
  const entries = request.entries.map(({ message_id, receipt_handle }, at) => ({
    message_id: message_id ?? '',
    receipt_handle: receipt_handle ?? '',
    status: results[at] as Status,
  }))
  if (entries.length === 0) throw new Fault('invalid', 'no entries')
  return { status: statusOfAll(entries), entries }
}

/** @throws Fault of its one receipt */
const settleOne = async (handle: string | undefined, outcome: Outcome, asker: Asker, hall: Hall) => {
  const lease = hall.gateway.seal.openLease(handle ?? '')
  const { failed, renewed } = await hall.gateway.handle(
    { kind: 'settle', receipts: [lease], outcome },
    contextOf(asker, hall),
  )
  if (failed[0]) throw failed[0].fault
  return renewed?.[0]
}

/** A simple consumer keeps the handle of the answer even when it is a refusal: it always gets one that may still work. */
export const changeInvisibleDuration: Unary<ChangeInvisibleDurationRequest> = async (request, asker, hall) => {
  const { receipt_handle = '', suspend } = request
  try {
    const after = checkInvisible(request.invisible_duration, 0)
    const renewed = await settleOne(receipt_handle, { kind: 'retry', after, counts: !suspend }, asker, hall)
    const handle = renewed?.of === 'group' ? hall.gateway.seal.lease(renewed) : receipt_handle
    return { status: ok, receipt_handle: handle }
  } catch (error) {
    return { status: hall.refuse(error), receipt_handle }
  }
}

export const forwardToDeadLetter: Unary<ForwardToDeadLetterRequest> = async (request, asker, hall) => {
  await settleOne(request.receipt_handle, { kind: 'dead' }, asker, hall)
  return { status: ok }
}
