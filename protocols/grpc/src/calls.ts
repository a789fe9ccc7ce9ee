import { type Context, Fault, type Gateway, type Ms, type Principal, type TopicInfo } from '@sluice/core'
import type { Client, Clients } from './clients.ts'
import type { Exchange } from './exchange.ts'
import { ok } from './faults.ts'
import type { Groups } from './groups.ts'
import { endpointsFor, toAssignments, toQueues } from './routes.ts'
import { checkGroup, checkTopic } from './rules.ts'
import type { HeartbeatRequest, QueryAssignmentRequest, QueryRouteRequest, Resource, Status } from './wire.ts'

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

/** Answers in parts, and ends the call. */
export type Poll<Request> = (request: Request, asker: Asker, hall: Hall) => Promise<void>

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
  return { status: ok, message_queues: toQueues(topic, info, endpoints, asker.client.session) }
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
