import type { Delivered, Gateway, Message } from '@sluice/core'
import { Fault, losses } from '@sluice/core'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { inflated } from './body.ts'
import { BATCH, batchedEvents, binaryEvent, eventText, isBinary, STRUCTURED, structuredEvent } from './cloudevents.ts'
import type { HttpConnection, Who } from './connection.ts'
import { credentialsOf } from './credentials.ts'
import { type Headers, headersOf, messageHeaders } from './headers.ts'
import { LISTED, paths } from './paths.ts'
import { type Asker, giveBack, PATIENCE, poll } from './poll.ts'
import { INVISIBLE_MAX, type ReceivedMessage, settleVerbs } from './shapes.ts'
import { autoStream, INFLATE, manualStream, type StreamOptions } from './stream.ts'
import {
  filterOf,
  INVISIBLE_DEFAULT,
  listedMessages,
  nameOf,
  publishResults,
  rawMessage,
  settleResults,
  sourceOf,
  storedOf,
  toPop,
  toPublish,
  toReceived,
  toSettle,
} from './translate.ts'

type Params = { readonly topic: string; readonly group: string }
type Query = Readonly<Record<string, string | undefined>>

/** The JSON requests are small; what publishes has bounds of its own. */
const JSON_BYTES = 1024 * 1024

const bytesOf = (request: FastifyRequest): Buffer => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0))

/** The routes of `/v1` and what they keep: nothing but what waits on its connection. */
export const converse = (
  app: FastifyInstance,
  gateway: Gateway,
  connectionOf: (request: FastifyRequest) => HttpConnection,
): void => {
  const routes = new Routes(gateway, connectionOf)
  const bounded = { bodyLimit: JSON_BYTES }
  app.post(paths.publish, (request, reply) => routes.publish(request, reply))
  app.post(paths.receive, bounded, (request, reply) => routes.receive(request, reply))
  for (const verb of settleVerbs) app.post(paths[verb], bounded, (request) => routes.settle(verb, request))
  app.get(paths.stream, { exposeHeadRoute: false }, (request, reply) => routes.stream(request, reply))
}

interface Entered {
  readonly gateway: Gateway
  readonly connection: HttpConnection
  readonly asker: Asker
  readonly topic: string
}

class Routes {
  readonly #gateway: Gateway
  readonly #connectionOf: (request: FastifyRequest) => HttpConnection

  constructor(gateway: Gateway, connectionOf: (request: FastifyRequest) => HttpConnection) {
    this.#gateway = gateway
    this.#connectionOf = connectionOf
  }

  async publish(request: FastifyRequest, reply: FastifyReply): Promise<object> {
    const { gateway, connection, asker, topic } = await this.#enter(request)
    const headers = headersOf(request.raw.rawHeaders)
    const { messages, listed } = this.#messages(topic, request, headers, asker)
    const command = toPublish(messages, headers, asker.principal.tenant)
    const context = gateway.context(asker.session, PATIENCE, asker)
    const { stored } = await connection.hold(gateway.handle(command, context))
    if (listed) {
      const results = publishResults(stored)
      reply.status(results.every(({ status }) => status === 201) ? 201 : 207)
      return { results }
    }
    const [one] = stored
    if (!one) throw new Fault('internal', 'no answer for a message')
    if (Fault.is(one)) throw one
    reply.status(201)
    return storedOf(one)
  }

  /** The content type decides; see docs/http.md "Publish". */
  #messages(
    topic: string,
    request: FastifyRequest,
    headers: Headers,
    asker: Asker,
  ): { messages: readonly Message[]; listed: boolean } {
    const { bodyBytes } = this.#gateway.limits
    const birth = { bornAt: this.#gateway.clock.now(), bornHost: asker.session.remoteAddress }
    const bytes = bytesOf(request)
    const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
    if (type !== STRUCTURED && type !== BATCH && type !== LISTED) {
      const one = isBinary(headers)
        ? binaryEvent(topic, headers, bytes, birth)
        : rawMessage(topic, headers, bytes, birth)
      return { messages: [one], listed: false }
    }
    const [unexpected] = messageHeaders(headers)
    if (unexpected !== undefined)
      throw new Fault('invalid', `${unexpected} has no place beside ${type}`, { about: unexpected })
    if (request.headers['content-encoding']) {
      throw new Fault('invalid', `Content-Encoding has no place beside ${type}`, { about: 'content-encoding' })
    }
    if (type === STRUCTURED) return { messages: [structuredEvent(topic, bytes, birth, bodyBytes)], listed: false }
    const messages =
      type === BATCH ? batchedEvents(topic, bytes, birth, bodyBytes) : listedMessages(topic, bytes, birth, bodyBytes)
    if (messages.length === 0) throw new Fault('invalid', 'body has no events', { about: 'body' })
    return { messages, listed: true }
  }

  async receive(request: FastifyRequest, reply: FastifyReply): Promise<object | string> {
    const { gateway, connection, asker, topic } = await this.#enter(request)
    const group = nameOf('group', (request.params as Params).group)
    const { pop, bodyEncoding } = toPop(topic, group, bytesOf(request), gateway.limits.pollMs)
    const delivered = await poll(gateway, connection, asker, pop)
    const back = (these: readonly Delivered[]) => connection.hold(giveBack(gateway, asker, these))
    const kept = fitting(delivered, gateway.limits.outboundBytes)
    if (kept.length < delivered.length) back(delivered.slice(kept.length))
    try {
      const messages = await Promise.all(kept.map((one) => this.#received(one, bodyEncoding)))
      connection.onLost(reply.raw, () => void back(kept))
      if (!request.headers.accept?.includes(BATCH)) return { messages }
      reply.type(BATCH)
      return `[${messages.map(eventText).join(',')}]`
    } catch (error) {
      back(kept)
      throw error
    }
  }

  async #received(delivered: Delivered, bodyEncoding: 'auto' | 'base64'): Promise<ReceivedMessage> {
    const { message } = delivered
    const { limits, seal } = this.#gateway
    for (const field of losses(message, 'http')) this.#gateway.lost(message.via ?? 'remoting', 'http', field)
    return toReceived(delivered, await inflated(message, limits.bodyBytes * INFLATE), bodyEncoding, seal)
  }

  async settle(verb: (typeof settleVerbs)[number], request: FastifyRequest): Promise<object> {
    const { gateway, connection, asker, topic } = await this.#enter(request)
    const group = nameOf('group', (request.params as Params).group)
    const settling = toSettle(verb, topic, group, bytesOf(request), gateway.seal)
    const { leases: receipts, outcome } = settling
    if (receipts.length === 0) return { results: settleResults(settling, { failed: [] }, gateway.seal) }
    const { session, ...more } = asker
    const context = gateway.context(session, PATIENCE, more)
    const reply = await connection.hold(gateway.handle({ kind: 'settle', receipts, outcome }, context))
    return { results: settleResults(settling, reply, gateway.seal) }
  }

  async stream(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { gateway, connection, asker, topic } = await this.#enter(request)
    const group = nameOf('group', (request.params as Params).group)
    const { ack, invisible, fifo, filter } = streamQuery(request.query as Query)
    const source = sourceOf(topic, group, filter)
    // What is wrong with the source is said with a status while there is none yet.
    await gateway.handle(
      { kind: 'pop', source, max: 0, invisible, wait: 0, fifo },
      gateway.context(asker.session, PATIENCE, { principal: asker.principal }),
    )
    reply.hijack()
    connection.last(reply.raw, true)
    const options: StreamOptions = { gateway, connection, asker, source, fifo, requestId: request.id }
    const stream = ack === 'auto' ? autoStream(options, reply.raw) : manualStream({ ...options, invisible }, reply.raw)
    connection.hold(stream).catch((error: unknown) => {
      gateway.log.error('request.failed', { protocol: 'http', requestId: request.id, error: String(error) })
      reply.raw.destroy()
    })
    return reply
  }

  /** @throws Fault 'invalid', 'unauthenticated', 'limit' */
  #enter(request: FastifyRequest): Entered | Promise<Entered> {
    const connection = this.#connectionOf(request)
    const credentials = credentialsOf(request.headers, connection.peer, connection.client)
    const topic = nameOf('topic', (request.params as Params).topic)
    const { traceparent } = request.headers
    const entered = ({ session, principal }: Who): Entered => {
      const asker: Asker =
        typeof traceparent === 'string' ? { session, principal, traceparent } : { session, principal }
      return { gateway: this.#gateway, connection, asker, topic }
    }
    const who = connection.who(credentials)
    return who instanceof Promise ? who.then(entered) : entered(who)
  }
}

/** The first ones whose bodies fit an answer, at least one. */
const fitting = (delivered: readonly Delivered[], bytes: number): readonly Delivered[] => {
  let left = bytes
  const over = delivered.findIndex(({ message }, index) => {
    left -= message.body.length
    return left < 0 && index > 0
  })
  return over < 0 ? delivered : delivered.slice(0, over)
}

const streamQuery = (query: Query) => {
  const { ack = 'auto', invisibleMs, ordered = 'false', tag, sql, ...unknown } = query
  const invalid = (about: string, what: string) => new Fault('invalid', `${about} ${what}`, { about })
  for (const [name, value] of Object.entries(query)) {
    if (name in unknown) throw invalid(name, 'is unknown; known are ack, invisibleMs, ordered, tag, sql')
    if (typeof value !== 'string' || value === '') throw invalid(name, 'is given twice or empty')
  }
  if (ack !== 'auto' && ack !== 'manual') throw invalid('ack', 'is neither auto nor manual')
  if (ordered !== 'true' && ordered !== 'false') throw invalid('ordered', 'is neither true nor false')
  if (invisibleMs !== undefined && ack === 'auto') throw invalid('invisibleMs', 'has a meaning with ack=manual only')
  const invisible = invisibleMs === undefined ? INVISIBLE_DEFAULT : Number(invisibleMs)
  if (!Number.isInteger(invisible) || invisible < 1 || invisible > INVISIBLE_MAX) {
    throw invalid('invisibleMs', `is not from 1 to ${INVISIBLE_MAX}`)
  }
  const filter = filterOf({ ...(tag !== undefined && { tag }), ...(sql !== undefined && { sql }) })
  return { ack, invisible, fifo: ordered === 'true', filter } as const
}
