import { once } from 'node:events'
import net from 'node:net'
import { Fault, type FaultCode, type Handle } from '@sluice/core'
import type { Verdict } from '@sluice/drain'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Admin, startAdmin } from './admin.ts'
import { routesOf } from './adminRoutes.ts'

const verdict: Verdict = { byProtocol: {}, took: 5, clean: true }
let admin: Admin
let asked: unknown[]
let answer: () => unknown
let left: number
let phase: 'serving' | 'leaving'
const logged: unknown[] = []

const parts = () => ({
  host: '127.0.0.1',
  port: 0,
  handle: (async (command: unknown) => {
    asked.push(command)
    return answer()
  }) as unknown as Handle,
  drain: {
    get phase() {
      return phase
    },
  } as never,
  log: {
    info: () => undefined,
    warn: () => undefined,
    error: (event: string, fields?: object) => void logged.push([event, fields]),
  },
  context: () => ({}) as never,
  metrics: () => '# HELP x X.\n',
  leave: async () => {
    left++
    return verdict
  },
})

beforeEach(async () => {
  asked = []
  logged.length = 0
  left = 0
  phase = 'serving'
  answer = () => ({})
  admin = await startAdmin(parts())
})
afterEach(() => admin.close())

const call = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
  const reply = await fetch(`http://127.0.0.1:${admin.port}${path}`, {
    method,
    headers: { connection: 'close', ...headers },
    ...(body !== undefined && { body }),
  })
  const text = await reply.text()
  const type = reply.headers.get('content-type')!
  return {
    status: reply.status,
    type,
    text,
    allow: reply.headers.get('allow'),
    json: type.includes('json') ? JSON.parse(text) : undefined,
  }
}

describe('the admin port', () => {
  it('says how it is', async () => {
    for (const path of ['/livez', '/healthz', '/startupz?x=1'])
      expect(await call('GET', path)).toMatchObject({ status: 200, json: { status: 'live', phase: 'serving' } })
    expect(await call('GET', '/readyz?verbose')).toMatchObject({ status: 200, json: { status: 'ready' } })
    phase = 'leaving'
    expect(await call('GET', '/livez')).toMatchObject({ status: 200 })
    expect(await call('GET', '/readyz')).toMatchObject({
      status: 503,
      type: 'application/json',
      json: { status: 'draining', phase: 'leaving' },
    })
    expect(await call('GET', '/v1/drain')).toMatchObject({ json: { phase: 'leaving' } })
    expect(await call('GET', '/metrics')).toMatchObject({
      text: '# HELP x X.\n',
      type: expect.stringContaining('0.0.4'),
    })
  })

  it('leaves when told to', async () => {
    expect(await call('POST', '/v1/drain')).toMatchObject({ status: 200, json: verdict })
    expect(left).toBe(1)
  })

  it('describes every route that it has, and no other', async () => {
    const { json } = await call('GET', '/openapi.json')
    expect(json.openapi).toBe('3.1.0')
    const described = Object.entries(json.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).flatMap((method) => (method === 'parameters' ? [] : [`${method.toUpperCase()} ${path}`])),
    )
    const served = [...routesOf(parts())].flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    )
    expect(described.sort()).toEqual(served.sort())
  })

  it('makes commands of what is asked about topics', async () => {
    await call('GET', '/v1/topics')
    await call('GET', '/v1/topics/a%2Fb')
    await call('PUT', '/v1/topics/t', '{"queues":8,"type":"fifo"}')
    await call('PUT', '/v1/topics/t')
    await call('DELETE', '/v1/topics/t')
    const made = (queues: number, type: string) => ({
      kind: 'admin',
      action: { do: 'putTopics', topics: [{ topic: 't', queues, type }] },
    })
    expect(asked).toEqual([
      { kind: 'admin', action: { do: 'listTopics' } },
      { kind: 'topic', topic: 'a/b' },
      made(8, 'fifo'),
      made(4, 'mixed'),
      { kind: 'admin', action: { do: 'deleteTopic', topic: 't' } },
    ])
    answer = () => ({ failed: [{ at: 0, fault: new Fault('limit', 'over 5 topics') }] })
    expect(await call('PUT', '/v1/topics/t', '{}')).toMatchObject({ status: 422, json: { detail: 'over 5 topics' } })
  })

  it.each([
    ['{', 400, 'malformed'],
    ['[]', 400, 'malformed'],
    ['null', 400, 'malformed'],
    ['{"queues":1.5}', 400, 'invalid'],
    ['{"queues":"1"}', 400, 'invalid'],
    ['{"type":"odd"}', 400, 'invalid'],
    ['{"queue":1}', 400, 'invalid'],
    [' '.repeat(64 * 1024 + 1), 413, 'tooLarge'],
    ['x'.repeat(4 * 1024 * 1024), 413, 'tooLarge'],
  ])('refuses the body %.20s', async (body, status, code) => {
    const reply = await call('PUT', '/v1/topics/t', body)
    expect(reply).toMatchObject({
      status,
      type: 'application/problem+json',
      json: { type: `urn:sluice:fault:${code}`, title: code, status, code },
    })
    expect(asked).toEqual([])
  })

  it('takes the largest body', async () => {
    expect(await call('PUT', '/v1/topics/t', `{}${' '.repeat(64 * 1024 - 2)}`)).toMatchObject({ status: 200 })
  })

  it('refuses what it does not know, in the words of HTTP', async () => {
    for (const path of ['/', '/v1', '/v1/topics/', '/v1/topics/a/b', '/__proto__', '/metrics/x'])
      expect(await call('GET', path)).toMatchObject({ status: 404, json: { code: 'notFound' } })
    expect(await call('POST', '/livez')).toMatchObject({ status: 405, allow: 'GET, HEAD', json: { status: 405 } })
    expect(await call('PATCH', '/v1/topics/t')).toMatchObject({ status: 405, allow: 'GET, HEAD, PUT, DELETE' })
    expect(await call('DELETE', '/v1/drain')).toMatchObject({ status: 405, allow: 'GET, HEAD, POST' })
    expect(await call('GET', '/v1/topics/%zz')).toMatchObject({ status: 400, json: { code: 'invalid' } })
    expect(await call('POST', '/v1/drain', '', { origin: 'null' })).toMatchObject({ status: 403 })
    expect(left).toBe(0)
  })

  it('keeps to itself what went wrong inside, and logs it', async () => {
    const codes: [FaultCode, number][] = [
      ['topicNotFound', 404],
      ['busy', 503],
      ['outcomeUnknown', 504],
      ['throttled', 429],
    ]
    for (const [code, status] of codes) {
      answer = () => Promise.reject(new Fault(code, 'why'))
      expect(await call('GET', '/v1/topics')).toMatchObject({ status, json: { code, detail: 'why' } })
    }
    for (const error of [new Error('secret'), new Fault('internal', 'secret')]) {
      answer = () => Promise.reject(error)
      const reply = await call('GET', '/v1/topics')
      expect(reply).toMatchObject({ status: 500, json: { code: 'internal', detail: 'internal error' } })
    }
    expect(logged).toEqual(
      Array.from({ length: 2 }, () => [
        'admin.failed',
        { url: '/v1/topics', error: expect.stringContaining('secret') },
      ]),
    )
  })

  it('closes with a client that says nothing, and one that waits is answered first', async () => {
    const silent = net.connect(admin.port, '127.0.0.1')
    await once(silent, 'connect')
    let reply = (_: object) => {}
    answer = () => new Promise<object>((resolve) => (reply = resolve))
    const waiting = call('GET', '/v1/topics')
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const closed = admin.close()
    reply({ topics: [] })
    expect(await waiting).toMatchObject({ status: 200, json: { topics: [] } })
    silent.resume()
    await Promise.all([closed, silent.closed || once(silent, 'close')])
  })

  it('is not to be had twice on one port', async () => {
    await expect(startAdmin({ ...parts(), port: admin.port })).rejects.toThrow('EADDRINUSE')
  })
})
