import type { IncomingMessage } from 'node:http'
import { type AdminAction, type Context, Fault, type Handle, type Log, type TopicSpec } from '@sluice/core'
import type { DrainController, Verdict } from '@sluice/drain'
import { openapi } from './adminApi.ts'

export interface AdminParts {
  readonly handle: Handle
  readonly drain: DrainController
  readonly log: Log
  context(): Context
  metrics(): string
  /** Starts the drain; the process ends after it. */
  leave(): Promise<Verdict>
}

export interface Answer {
  readonly status: number
  /** Absent: JSON. */
  readonly type?: string
  readonly body: object | string
  readonly allow?: string
}

/** `name`: the path's last part, where it has one. */
export type Route = (request: IncomingMessage, name: string) => Answer | Promise<Answer>

/** By path, then by method; HEAD goes with GET. */
export const routesOf = (parts: AdminParts): ReadonlyMap<string, Readonly<Record<string, Route>>> => {
  const { handle, drain, context, metrics, leave } = parts
  const admin = <A extends AdminAction>(action: A) => handle<'admin'>({ kind: 'admin', action }, context())
  const live: Route = () => ok({ status: 'live', phase: drain.phase })
  const ready: Route = () =>
    drain.phase === 'serving'
      ? ok({ status: 'ready', phase: drain.phase })
      : { status: 503, body: { status: 'draining', phase: drain.phase } }
  const topic: Readonly<Record<string, Route>> = {
    GET: async (_, name) => ok(await handle({ kind: 'topic', topic: name }, context())),
    PUT: async (request, name) => {
      const spec = topicSpec(name, await json(request))
      const reply = await admin({ do: 'putTopics', topics: [spec] })
      const [failed] = 'failed' in reply ? reply.failed : []
      if (failed) throw failed.fault
      return ok(spec)
    },
    DELETE: async (_, name) => {
      await admin({ do: 'deleteTopic', topic: name })
      return ok({})
    },
  }
  return new Map<string, Readonly<Record<string, Route>>>([
    ['/livez', { GET: live }],
    ['/healthz', { GET: live }],
    ['/startupz', { GET: live }],
    ['/readyz', { GET: ready }],
    ['/metrics', { GET: () => ({ status: 200, type: METRICS, body: metrics() }) }],
    ['/openapi.json', { GET: () => ok(openapi) }],
    ['/v1/drain', { GET: () => ok({ phase: drain.phase }), POST: async () => ok(await leave()) }],
    ['/v1/topics', { GET: async () => ok(await admin({ do: 'listTopics' })) }],
    ['/v1/topics/{topic}', topic],
  ])
}

const METRICS = 'text/plain; version=0.0.4; charset=utf-8'

const ok = (body: object): Answer => ({ status: 200, body })

const types: readonly TopicSpec['type'][] = ['normal', 'fifo', 'delay', 'transaction', 'priority', 'lite', 'mixed']

const topicSpec = (topic: string, body: Readonly<Record<string, unknown>>): TopicSpec => {
  const { queues = 4, type = 'mixed', ...unknown } = body
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw new Fault('invalid', `no such field: ${stranger.slice(0, 64)}`, { about: 'body' })
  if (!Number.isInteger(queues)) throw new Fault('invalid', 'queues is a whole number', { about: 'queues' })
  const known = types.find((one) => one === type)
  if (!known) throw new Fault('invalid', `type is one of ${types.join(', ')}`, { about: 'type' })
  return { topic, queues: queues as number, type: known }
}

export const BODY_MAX = 64 * 1024
/** So much of a body that is too large is read, and thrown away, so that its sender hears the answer. */
const DISCARD_MAX = 8 * 1024 * 1024

/** @throws Fault 'tooLarge', 'malformed' */
const json = async (request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> => {
  const body = await read(request)
  if (body.length === 0) return {}
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object')
    return value as Readonly<Record<string, unknown>>
  } catch {
    throw new Fault('malformed', 'body is not a JSON object')
  }
}

const read = (request: IncomingMessage): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= BODY_MAX) chunks.push(chunk)
      else if (bytes > DISCARD_MAX) request.destroy()
    })
    request.on('end', () => {
      if (bytes > BODY_MAX) reject(new Fault('tooLarge', `body over ${BODY_MAX} bytes`))
      else resolve(Buffer.concat(chunks))
    })
    request.on('error', () => reject(new Fault('malformed', 'body without an end')))
    request.on('close', () => reject(new Fault('malformed', 'body without an end')))
  })
