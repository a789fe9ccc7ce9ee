import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Fault, type FaultCode } from '@sluice/core'
import { type AdminParts, type Answer, type Route, routesOf } from './adminRoutes.ts'

export interface AdminOptions extends AdminParts {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export interface Admin {
  readonly port: number
  /** Answers what it has been asked, then ends; a second at the most. */
  close(): Promise<void>
}

/** Scrapers, health checks and people: more at once is nobody's wish. */
const CONNECTIONS_MAX = 256
const CLOSE_MS = 1_000

/**
 * Health, metrics and operation on a port of its own. Its connections never hold a drain open.
 * @throws what `listen` throws
 */
export const startAdmin = async (options: AdminOptions): Promise<Admin> => {
  const routes = routesOf(options)
  let answering = 0
  let idle = () => {}
  const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
    answering++
    response.once('close', () => {
      if (--answering === 0) idle()
    })
    void answer(routes, request, options).then((reply) => send(request, response, reply))
  })
  server.maxConnections = CONNECTIONS_MAX
  await listening(server, options)
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      if (answering > 0) {
        await new Promise<void>((resolve) => {
          const cancel = setTimeout(resolve, CLOSE_MS)
          idle = () => {
            clearTimeout(cancel)
            resolve()
          }
        })
      }
      server.closeAllConnections()
      await closed
    },
  }
}

const listening = (server: Server, { host, port }: AdminOptions): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })

const answer = async (
  routes: ReadonlyMap<string, Readonly<Record<string, Route>>>,
  request: IncomingMessage,
  { log }: AdminOptions,
): Promise<Answer> => {
  try {
    const { route, name } = find(routes, request)
    return await route(request, name)
  } catch (error) {
    if (error instanceof NotAllowed) return { ...problem(405, 'not-allowed', error.message), allow: error.allow }
    const fault = Fault.from(error)
    if (fault.code === 'internal') log.error('admin.failed', { url: request.url, error: String(fault.cause ?? fault) })
    return problem(statuses[fault.code], fault.code, fault.code === 'internal' ? 'internal error' : fault.message)
  }
}

class NotAllowed extends Error {
  readonly allow: string
  constructor(method: string | undefined, known: readonly string[]) {
    super(`${method} is not one of ${known.join(', ')}`)
    this.allow = known.join(', ')
  }
}

/** @throws Fault 'notFound', 'forbidden', 'invalid'; NotAllowed */
const find = (
  routes: ReadonlyMap<string, Readonly<Record<string, Route>>>,
  request: IncomingMessage,
): { readonly route: Route; readonly name: string } => {
  const path = (request.url ?? '').replace(/\?.*$/, '')
  const one = /^\/v1\/topics\/([^/]+)$/.exec(path)?.[1]
  const methods = routes.get(one === undefined ? path : '/v1/topics/{topic}')
  if (!methods) throw new Fault('notFound', 'no such resource')
  const method = request.method === 'HEAD' ? 'GET' : request.method!
  const route = Object.hasOwn(methods, method) ? methods[method] : undefined
  if (!route) {
    const known = Object.keys(methods).flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name]))
    throw new NotAllowed(request.method, known)
  }
  // A page in somebody's browser can post to loopback without being asked; browsers say where such a request comes from.
  if (method !== 'GET' && request.headers.origin !== undefined)
    throw new Fault('forbidden', 'nothing is changed from a web page')
  return { route, name: one === undefined ? '' : decoded(one) }
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Fault('invalid', 'bad percent-encoding', { about: 'topic' })
  }
}

const statuses = {
  malformed: 400,
  tooLarge: 413,
  unsupported: 501,
  unauthenticated: 401,
  forbidden: 403,
  invalid: 400,
  topicNotFound: 404,
  groupNotFound: 404,
  receiptExpired: 410,
  notFound: 404,
  conflict: 409,
  limit: 422,
  throttled: 429,
  busy: 503,
  circuitOpen: 503,
  unavailable: 503,
  draining: 503,
  outcomeUnknown: 504,
  internal: 500,
} as const satisfies Record<FaultCode, number>

/** RFC 9457. */
const problem = (status: number, code: string, detail: string): Answer => ({
  status,
  type: 'application/problem+json',
  body: { type: `urn:sluice:fault:${code}`, title: code, status, detail, code },
})

const send = (request: IncomingMessage, response: ServerResponse, { status, type, body, allow }: Answer): void => {
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`
  response.writeHead(status, {
    'content-type': type ?? 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(allow && { allow }),
  })
  response.end(request.method === 'HEAD' ? undefined : text)
}
