import { isIP } from 'node:net'
import { Fault, type Session, type TopicInfo, type TopicType } from '@sluice/core'
import type { Endpoints, MessageQueue, Resource } from './wire.ts'

const accepts = {
  normal: ['NORMAL'],
  fifo: ['FIFO'],
  delay: ['DELAY'],
  transaction: ['TRANSACTION'],
  priority: ['PRIORITY'],
  lite: ['LITE'],
  mixed: ['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION', 'PRIORITY'],
} as const satisfies Record<TopicType, readonly string[]>

/**
 * Where the client shall go: where it came from, as it wrote it, so that NAT, port mapping and load balancers work.
 * Clients compare endpoints as text; a domain name with several addresses would break Java and Python.
 */
export const endpointsFor = (
  asked: Endpoints | undefined,
  advertised: { readonly host: string; readonly port: number },
): Endpoints => {
  const usable =
    asked &&
    asked.addresses.length > 0 &&
    ['IPv4', 'IPv6', 'DOMAIN_NAME'].includes(asked.scheme ?? '') &&
    (asked.scheme !== 'DOMAIN_NAME' || asked.addresses.length === 1)
  if (usable) return asked
  const { host, port } = advertised
  const version = isIP(host)
  return { scheme: version === 4 ? 'IPv4' : version === 6 ? 'IPv6' : 'DOMAIN_NAME', addresses: [{ host, port }] }
}

const permission = (route: { readable: boolean; writable: boolean }): string =>
  route.readable ? (route.writable ? 'READ_WRITE' : 'READ') : route.writable ? 'WRITE' : 'NONE'

/** Releases that know the types which came later, as they name themselves (Node says HTTP). */
const knowLater: Readonly<Record<string, number>> = { JAVA: 50_200, PYTHON: 50_102, HTTP: 10_008, NODE_JS: 10_008 }
const later: ReadonlySet<string> = new Set(['LITE', 'PRIORITY'])

/** Java 5.0.8 cannot read a route with a type that it does not know, and then not even start. */
const typesFor = (type: TopicType, { language, version }: Pick<Session, 'language' | 'version'>): readonly string[] => {
  const all: readonly string[] = accepts[type]
  if (version >= (knowLater[language] ?? Number.POSITIVE_INFINITY)) return all
  const known = all.filter((one) => !later.has(one))
  return known.length > 0 ? known : accepts.normal
}

/** Queues in the order of the topic, the same at each call. Broker id 0: clients use no other. */
export const toQueues = (
  topic: Resource,
  info: TopicInfo,
  endpoints: Endpoints,
  client: Pick<Session, 'language' | 'version'>,
): readonly MessageQueue[] =>
  info.routes.map(({ queue, readable, writable }) => ({
    topic,
    id: queue.index,
    permission: permission({ readable, writable }),
    broker: { name: queue.node, id: 0, endpoints },
    accept_message_types: typesFor(info.type, client),
  }))

const nobody = { language: '', version: 0 }

/**
 * Queues to poll: one of any number (id -1) a broker, each single one for a group in order. Every client of a group
 * gets the same list; they compete. @throws Fault 'forbidden' about 'queue' when there is none
 */
export const toAssignments = (topic: Resource, info: TopicInfo, fifo: boolean, endpoints: Endpoints) => {
  const readable = toQueues(topic, info, endpoints, nobody)
    .filter(({ permission }) => permission === 'READ' || permission === 'READ_WRITE')
    .map((queue) => ({ ...queue, accept_message_types: [] }))
  if (readable.length === 0) throw new Fault('forbidden', 'no readable queue', { about: 'queue' })
  const nodes = new Map(readable.map((queue) => [queue.broker?.name, { ...queue, id: -1 }]))
  return (fifo ? readable : [...nodes.values()]).map((message_queue) => ({ message_queue }))
}
