import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AdminAction, type Context, Fault, type Handle, type TopicSpec } from '@sluice/core'
import type { DrainController, Verdict } from '@sluice/drain'

export interface AdminParts {
  readonly host: string
  readonly port: number
  readonly handle: Handle
  readonly drain: DrainController
  context(): Context
  metrics(): string
  /** Starts the drain; the process ends after it. */
  leave(): Promise<Verdict>
}

export interface Admin {
  readonly port: number
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly body: object | string
}

type Route = (request: IncomingMessage, name: string) => Answer | Promise<Answer>

const BODY_MAX = 64 * 1024

/** Health, metrics and operation on a port of its own. Its connections never hold a drain open. */
export const startAdmin = async (parts: AdminParts): Promise<Admin> => {
  const routes = routesOf(parts)
  const server = createServer((request, response) => {
    void answer(routes, request).then(({ status, body }) => send(request, response, status, body))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(parts.port, parts.host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const answer = async (routes: Readonly<Record<string, Route>>, request: IncomingMessage): Promise<Answer> => {
  const method = request.method === 'HEAD' ? 'GET' : request.method
  const path = (request.url ?? '').replace(/\?.*$/, '')
  const topic = /^\/v1\/topics\/([^/]+)$/.exec(path)
  const route = routes[`${method} ${topic ? '/v1/topics/:topic' : path}`]
  if (!route) return problem(404, 'not-found', 'no such resource')
  try {
    return await route(request, topic ? decodeURIComponent(topic[1]!) : '')
  } catch (error) {
    const fault = Fault.from(error instanceof URIError ? new Fault('invalid', 'bad percent-encoding') : error)
    return problem(statuses[fault.code] ?? 503, fault.code, fault.message)
  }
}

const statuses: Partial<Record<string, number>> = {
  invalid: 400,
  malformed: 400,
  tooLarge: 413,
  unauthenticated: 401,
  forbidden: 403,
  topicNotFound: 404,
  groupNotFound: 404,
  notFound: 404,
  conflict: 409,
  limit: 422,
  unsupported: 501,
  internal: 500,
}

/** RFC 9457. */
const problem = (status: number, code: string, detail: string): Answer => ({
  status,
  body: { type: `urn:sluice:fault:${code}`, title: code, status, detail, code },
})

const send = (request: IncomingMessage, response: ServerResponse, status: number, body: object | string): void => {
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`
  const type =
    typeof body === 'string'
      ? 'text/plain; version=0.0.4; charset=utf-8'
      : status >= 400 && 'type' in body
        ? 'application/problem+json'
        : 'application/json'
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(request.method === 'HEAD' ? undefined : text)
}

const routesOf = ({ handle, drain, context, metrics, leave }: AdminParts): Readonly<Record<string, Route>> => {
  const live: Route = () => ({ status: 200, body: { status: 'live', phase: drain.phase } })
  const ready: Route = () =>
    drain.phase === 'serving'
      ? { status: 200, body: { status: 'ready', phase: drain.phase } }
      : { status: 503, body: { status: 'draining', phase: drain.phase } }
  const admin = <A extends AdminAction>(action: A) => handle<'admin'>({ kind: 'admin', action }, context())
  return {
    'GET /livez': live,
    'GET /healthz': live,
    'GET /readyz': ready,
    'GET /startupz': live,
    'GET /metrics': () => ({ status: 200, body: metrics() }),
    'GET /v1/drain': () => ({ status: 200, body: { phase: drain.phase } }),
    'POST /v1/drain': async () => ({ status: 200, body: await leave() }),
    'GET /v1/topics': async () => ({ status: 200, body: await admin({ do: 'listTopics' }) }),
    'GET /v1/topics/:topic': async (_, topic) => ({
      status: 200,
      body: await handle({ kind: 'topic', topic }, context()),
    }),
    'PUT /v1/topics/:topic': async (request, topic) => {
      const spec = topicSpec(topic, await json(request))
      const reply = await admin({ do: 'putTopics', topics: [spec] })
      const [failed] = 'failed' in reply ? reply.failed : []
      if (failed) throw failed.fault
      return { status: 200, body: spec }
    },
    'DELETE /v1/topics/:topic': async (_, topic) => {
      await admin({ do: 'deleteTopic', topic })
      return { status: 200, body: {} }
    },
  }
}

const types: readonly TopicSpec['type'][] = ['normal', 'fifo', 'delay', 'transaction', 'priority', 'lite', 'mixed']

const topicSpec = (topic: string, body: Record<string, unknown>): TopicSpec => {
  const { queues = 4, type = 'mixed', ...unknown } = body
  const [stranger] = Object.keys(unknown)
  if (stranger) throw new Fault('invalid', `no such field: ${stranger}`, { about: stranger })
  if (!Number.isInteger(queues)) throw new Fault('invalid', 'queues is a whole number', { about: 'queues' })
  const known = types.find((one) => one === type)
  if (!known) throw new Fault('invalid', `type is one of ${types.join(', ')}`, { about: 'type' })
  return { topic, queues: queues as number, type: known }
}

const json = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_MAX) throw new Fault('tooLarge', `body over ${BODY_MAX} bytes`)
    chunks.push(chunk)
  }
  if (bytes === 0) return {}
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object')
    return value as Record<string, unknown>
  } catch {
    throw new Fault('malformed', 'body is not a JSON object')
  }
}
