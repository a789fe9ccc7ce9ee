import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Fault, type Gateway, type Ms } from '@sluice/core'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { BATCH, STRUCTURED } from './cloudevents.ts'
import type { HttpConnection } from './connection.ts'
import { converse } from './conversation.ts'
import { answerTo, Refusal, rawAnswer, troubleFrom } from './faults.ts'
import { openapi } from './openapi.ts'
import { LISTED, methodAt, paths } from './paths.ts'
import { requestIds } from './requestId.ts'

export interface AppOptions {
  /** An idle connection is kept so long; longer than what a balancer in front keeps it. */
  readonly keepAliveMs: Ms
  /** Request line and headers together. */
  readonly headerBytes: number
}

export interface App {
  /** Serves a connection that somebody else accepted. */
  serve(socket: Duplex): void
  close(): Promise<void>
}

/** Longest percent-decoded path segment: a name of 255 characters, each as up to four bytes. */
const SEGMENT_MAX = 1_024

/**
 * fastify over a server that never listens. `connectionOf`: what was accepted with this socket.
 * `upgrade`: a WebSocket handshake; the socket is no longer ours.
 */
export const createApp = async (
  gateway: Gateway,
  options: AppOptions,
  connectionOf: (socket: object) => HttpConnection | undefined,
  upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer, requestId: string) => void,
): Promise<App> => {
  const { bodyBytes, frameBytes } = gateway.limits
  const newId = requestIds()
  const refuse = (trouble: Fault | Refusal) => (_path: string, request: IncomingMessage, response: ServerResponse) => {
    const { status, headers, body } = answerTo(trouble, newId(request.headers['x-request-id']), request.url)
    connectionOf(request.socket)?.last(response, true)
    response.writeHead(status, { ...headers, connection: 'close' }).end(body)
  }
  let server: Server | undefined
  const app = fastify({
    logger: false,
    return503OnClosing: false,
    bodyLimit: bodyBytes,
    exposeHeadRoutes: false,
    routerOptions: {
      maxParamLength: SEGMENT_MAX,
      onBadUrl: refuse(new Fault('malformed', 'the address is not well-formed')),
      onMaxParamLength: refuse(new Refusal('uriTooLong', 'a part of the address is too long')),
    },
    requestIdHeader: false,
    genReqId: (request) => newId(request.headers['x-request-id']),
    serverFactory: (handler) => {
      server = serverOf(gateway, options, connectionOf, newId, handler, upgrade)
      return server
    },
    clientErrorHandler: (error, socket) => brokenRequest(connectionOf(socket), error, socket, newId),
  })
  app.removeAllContentTypeParsers()
  const asIs = (_request: unknown, body: Buffer, done: (error: null, body: Buffer) => void) => done(null, body)
  app.addContentTypeParser('*', { parseAs: 'buffer' }, asIs)
  // Base64 makes three bytes four; each body is measured again once it is decoded.
  const bodyLimit = Math.ceil((frameBytes * 4) / 3)
  app.addContentTypeParser([LISTED, STRUCTURED, BATCH], { parseAs: 'buffer', bodyLimit }, asIs)
  addHooks(app, gateway, (request) => {
    const connection = connectionOf(request.raw.socket)
    if (!connection) throw new Fault('internal', 'a request without its connection')
    return connection
  })
  await app.ready()
  const running = server as unknown as Server
  // Node watches how long headers and bodies take only once a server says that it listens.
  running.emit('listening')
  return {
    serve: (socket) => void running.emit('connection', socket),
    close: async () => {
      await app.close()
      running.close()
    },
  }
}

const serverOf = (
  { limits }: Gateway,
  { keepAliveMs, headerBytes }: AppOptions,
  connectionOf: (socket: object) => HttpConnection | undefined,
  newId: (given?: string | string[]) => string,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer, requestId: string) => void,
): Server => {
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    connectionOf(request.socket)?.begin(response, () => handler(request, response))
  }
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMs,
      headersTimeout: limits.handshakeMs,
      requestTimeout: Math.max(limits.handshakeMs, limits.frameMs),
      connectionsCheckingInterval: Math.max(100, Math.min(limits.handshakeMs, limits.frameMs) / 5),
      maxHeaderSize: headerBytes,
      // Ours says so as a problem document.
      requireHostHeader: false,
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    },
    serve,
  )
  server.maxHeadersCount = 0 // bounded by their bytes; above a count Node would drop some without a word
  Object.assign(server, { httpAllowHalfOpen: true }) // who has said all still wants to hear the answer
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    upgrade(request, socket, head, newId(request.headers['x-request-id'])),
  )
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const length = Number(request.headers['content-length'] ?? 0)
    // A body that is refused anyway is not asked for.
    if (!(length > (limits.frameBytes * 4) / 3)) response.writeContinue()
    serve(request, response)
  })
  server.on('checkExpectation', serve)
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    socket.end(rawAnswer(new Refusal('methodNotAllowed', 'no tunnels'), newId()))
  })
  return server
}

const addHooks = (
  app: FastifyInstance,
  gateway: Gateway,
  connectionOf: (request: FastifyRequest) => HttpConnection,
): void => {
  // Hooks that call back: an async one costs each request two promises.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    const trouble = unwelcome(request.raw)
    // What may answer at once waits for the rest of the chunk: the request may end in it, and its connection stays.
    if (trouble || request.is404 || request.method !== 'POST') process.nextTick(done, trouble)
    else done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (connectionOf(request).last(reply.raw, !request.raw.complete)) reply.header('connection', 'close')
    done(null, payload)
  })
  app.setErrorHandler((error, request, reply) => say(gateway, troubleFrom(error), request, reply))
  app.setNotFoundHandler((request, reply) => {
    const method = methodAt(request.url.split('?', 1)[0] as string)
    const refusal = method
      ? new Refusal('methodNotAllowed', `the method here is ${method}`, { allow: method })
      : new Refusal('noRoute', 'nothing at this address')
    return say(gateway, refusal, request, reply)
  })
  converse(app, gateway, connectionOf)
  let document: string | undefined
  app.get(paths.openapi, async (_request, reply) => {
    document ??= JSON.stringify(openapi())
    return reply.type('application/json').send(document)
  })
}

/** What is refused before anything of the body is looked at. */
const unwelcome = ({ headers, httpVersion, httpVersionMajor }: IncomingMessage): Fault | Refusal | undefined => {
  if (httpVersionMajor !== 1) return new Fault('malformed', 'not HTTP/1.0 or HTTP/1.1')
  if (headers.host === undefined && httpVersion === '1.1') return new Fault('malformed', 'no Host header')
  if (headers.expect !== undefined && !/^100-continue$/i.test(headers.expect)) {
    return new Refusal('expectation', 'the only expectation known here is 100-continue')
  }
  // A page elsewhere could make a browser publish to a gateway on loopback, as that needs no credentials.
  if (headers['sec-fetch-site'] === 'cross-site') return new Fault('forbidden', 'not for pages of other sites')
  return undefined
}

const say = (
  gateway: Gateway,
  trouble: Fault | Refusal,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply => {
  if (Fault.is(trouble) && trouble.code === 'internal') {
    const { cause, message } = trouble
    const error = cause instanceof Error ? (cause.stack ?? cause.message) : message
    gateway.log.error('request.failed', { protocol: 'http', requestId: request.id, error })
  }
  const { status, headers, body } = answerTo(trouble, request.id, request.raw.url)
  return reply.status(status).headers(headers).send(Buffer.from(body))
}

/** What Node's parser or its watch refused. */
const brokenRequest = (
  connection: HttpConnection | undefined,
  error: Error & { code?: string },
  socket: Duplex & { bytesRead?: number },
  newId: () => string,
): void => {
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  if (!connection || !(late || error.code?.startsWith('HPE_'))) return void socket.destroy()
  const trouble = troubleFrom(error)
  // Who has not said a word, a browser's spare connection for one, is not told of a request that it never made.
  connection.broken(late && socket.bytesRead === 0 ? undefined : rawAnswer(trouble, newId()), trouble)
}
