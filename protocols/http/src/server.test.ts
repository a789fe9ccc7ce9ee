import { gzipSync } from 'node:zlib'
import { Fault } from '@sluice/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Served, serve } from '../test/harness.ts'
import { check } from './schema.ts'
import { problemShape, receivedShape, resultsShape, storedShape } from './shapes.ts'

let served: Served
let base: string
beforeAll(async () => {
  served = await serve({ autoCreate: true, groups: [{ group: 'g', fifo: false, maxAttempts: 16, backoff: [50] }] })
  base = served.base
})
afterAll(() => served.close())

const post = async (path: string, body: string | Uint8Array | object, headers: Record<string, string> = {}) => {
  const plain = typeof body === 'string' || body instanceof Uint8Array
  const answer = await fetch(base + path, {
    method: 'POST',
    headers,
    body: plain ? (body as string) : JSON.stringify(body),
  })
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as never as Reply }
}
type Message = { body: string; encoding: string; receiptHandle: string; messageId: string; attempt: number }
interface Reply {
  messageId: string
  messages: (Message & Record<string, unknown>)[]
  results: { status: number; code?: string; receiptHandle?: string }[]
  code: string
  requestId: string
  retryAfterMs?: number
  detail?: string
}
const receive = async (topic: string, more: object = {}) =>
  (await post(`/v1/topics/${topic}/groups/g/messages:receive`, { waitMs: 2_000, ...more })).body.messages

describe('publish', () => {
  it('stores any body as it is, with what the headers say', async () => {
    const { status, body } = await post('/v1/topics/jobs/messages', '{"prompt": 1.0}', {
      'content-type': 'application/json',
      'x-mq-priority': '9',
      'x-mq-tag': 'urgent',
      'x-mq-key': 'a b',
      'x-mq-property-colour': '%E7%BA%A2',
      'x-mq-path': 'eu/1',
    })
    expect(status).toBe(201)
    check(storedShape, body, 'body')
    expect(served.gateway.messages('jobs')[0]).toMatchObject({
      body: Buffer.from('{"prompt": 1.0}'),
      contentType: 'application/json',
      priority: 9,
      tag: 'urgent',
      keys: ['a', 'b'],
      properties: { colour: '红' },
      path: 'eu/1',
      via: 'http',
      bornHost: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    })
  })

  it('takes a list, each message with its own result', async () => {
    const list = {
      messages: [
        { body: 'one', tag: 'a' },
        { body: 'AAE=', encoding: 'base64' },
      ],
    }
    const type = { 'content-type': 'application/vnd.sluice.messages+json' }
    const all = await post('/v1/topics/list/messages', list, type)
    expect(all.status).toBe(201)
    check(resultsShape, all.body, 'body')
    served.gateway.answer('publish', async (command) => ({
      stored: command.messages.map(() => new Fault('throttled', 'too fast', { retryAfter: 1_500 })),
    }))
    const none = await post('/v1/topics/list/messages', list, type)
    served.gateway.answer('publish', undefined as never)
    expect(none.status).toBe(207)
    expect(none.body.results).toEqual(
      [0, 1].map(() => ({ status: 429, code: 'throttled', detail: 'too fast', retryAfterMs: 1_500 })),
    )
  })

  it.each([
    [
      'binary',
      { 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't', 'ce-specversion': '1.0', 'content-type': 'text/plain' },
      'hi',
      'hi',
    ],
    [
      'structured',
      { 'content-type': 'application/cloudevents+json; charset=utf-8' },
      '{"id":"1","source":"/s","type":"t","specversion":"1.0","data":{"n": 1.00}}',
      '{"n": 1.00}',
    ],
    [
      'batch',
      { 'content-type': 'application/cloudevents-batch+json' },
      '[{"id":"1","source":"/s","type":"t","specversion":"1.0","data_base64":"aGk="}]',
      'hi',
    ],
  ])('takes a CloudEvent, %s', async (mode, headers, sent, stored) => {
    const { status } = await post(`/v1/topics/ce-${mode}/messages`, sent, headers as Record<string, string>)
    expect(status).toBe(201)
    const [message] = served.gateway.messages(`ce-${mode}`)
    expect(message?.body.toString()).toBe(stored)
    expect(message).toMatchObject({ tag: 't', keys: ['1'], properties: { 'ce-source': '/s', 'ce-id': '1' } })
  })

  it('remembers an Idempotency-Key', async () => {
    const once = () => post('/v1/topics/once/messages', 'x', { 'idempotency-key': 'k1' })
    const [first, second] = [await once(), await once()]
    expect(second.body.messageId).toBe(first.body.messageId)
    expect(served.gateway.messages('once')).toHaveLength(1)
  })

  it('takes an empty body and a topic in percent-encoding', async () => {
    expect((await post('/v1/topics/%6eever/messages', '')).status).toBe(201)
    expect(served.gateway.messages('never')[0]?.body).toHaveLength(0)
  })
})

describe('receive and settle', () => {
  it('gives text as text, bytes as base64, and all fields', async () => {
    await post('/v1/topics/r1/messages', 'grün', { 'content-type': 'text/plain' })
    await post('/v1/topics/r1/messages', new Uint8Array([0, 255]))
    const messages = await receive('r1', { maxMessages: 10 })
    check(receivedShape, { messages }, 'body')
    expect(messages.map(({ body, encoding }) => [body, encoding])).toEqual([
      ['grün', 'utf8'],
      ['AP8=', 'base64'],
    ])
    const [again] = await (async () => {
      const handles = { receiptHandles: messages.map(({ receiptHandle }) => receiptHandle) }
      await post('/v1/topics/r1/groups/g/messages:nack', { ...handles, afterMs: 0 })
      return receive('r1', { maxMessages: 10, bodyEncoding: 'base64' })
    })()
    expect(again).toMatchObject({ encoding: 'base64', attempt: 2 })
  })

  it('inflates what was published compressed, and tells where it cannot', async () => {
    await post('/v1/topics/gz/messages', gzipSync('plain'), {
      'content-encoding': 'gzip',
      'content-type': 'text/plain',
    })
    await post('/v1/topics/gz/messages', 'not gzip', { 'content-encoding': 'gzip', 'content-type': 'text/plain' })
    const [good, bad] = await receive('gz', { maxMessages: 2 })
    expect(good).toMatchObject({ body: 'plain', encoding: 'utf8' })
    expect(good).not.toHaveProperty('contentEncoding')
    expect(bad).toMatchObject({ encoding: 'base64', contentEncoding: 'gzip' })
  })

  it('settles each handle by itself; a changed one fails alone', async () => {
    await post('/v1/topics/s1/messages', 'x')
    const [message] = await receive('s1')
    const handle = message!.receiptHandle
    const changed = `${handle.slice(0, 40)}${handle[40] === 'A' ? 'B' : 'A'}${handle.slice(41)}`
    const ack = (group: string, receiptHandles: string[]) =>
      post(`/v1/topics/s1/groups/${group}/messages:ack`, { receiptHandles })
    const other = await ack('other', [handle])
    expect(other.body.results).toMatchObject([{ status: 410, code: 'receiptExpired' }])
    const { status, body } = await ack('g', ['nonsense', changed, handle])
    expect(status).toBe(200)
    expect(body.results.map(({ status }) => status)).toEqual([410, 410, 200])
    expect((await ack('g', [handle])).body.results).toMatchObject([{ status: 410 }])
  })

  it('extends with a new handle, and the old one fails', async () => {
    await post('/v1/topics/e1/messages', 'x')
    const [message] = await receive('e1')
    const extend = { receiptHandles: [message!.receiptHandle], invisibleMs: 60_000 }
    const { body } = await post('/v1/topics/e1/groups/g/messages:extend', extend)
    const renewed = body.results[0]!.receiptHandle as string
    expect(renewed).not.toBe(message!.receiptHandle)
    const ack = { receiptHandles: [message!.receiptHandle, renewed] }
    const acked = await post('/v1/topics/e1/groups/g/messages:ack', ack)
    expect(acked.body.results.map(({ status }) => status)).toEqual([410, 200])
  })

  it('gives CloudEvents to whoever accepts them', async () => {
    await post('/v1/topics/ceout/messages', '{"n": 1.0}', {
      'ce-id': 'i',
      'ce-source': '/s',
      'ce-type': 't',
      'ce-specversion': '1.0',
      'content-type': 'application/json',
    })
    const answer = await fetch(`${base}/v1/topics/ceout/groups/g/messages:receive`, {
      method: 'POST',
      headers: { accept: 'application/cloudevents-batch+json' },
    })
    expect(answer.headers.get('content-type')).toContain('application/cloudevents-batch+json')
    const text = await answer.text()
    expect(text).toContain('"data":{"n": 1.0}')
    expect(JSON.parse(text)).toMatchObject([{ id: 'i', source: '/s', type: 't', specversion: '1.0', attempt: 1 }])
  })

  it('gives back what does not fit one answer', async () => {
    const small = await serve({ autoCreate: true, limits: { outboundBytes: 1_000 } })
    try {
      for (let n = 0; n < 3; n++)
        await fetch(`${small.base}/v1/topics/big/messages`, { method: 'POST', body: 'x'.repeat(800) })
      const path = `${small.base}/v1/topics/big/groups/g/messages:receive`
      const take = async () => {
        const answer = await fetch(path, { method: 'POST', body: '{"maxMessages":3,"waitMs":1000}' })
        return ((await answer.json()) as Reply).messages
      }
      expect(await take()).toMatchObject([{ attempt: 1 }])
      expect(await take()).toMatchObject([{ attempt: 1 }])
    } finally {
      await small.close()
    }
  })
})

describe('refusals', () => {
  it.each([
    ['GET', '/', 404, 'noRoute'],
    ['GET', '/topics/old/messages', 404, 'noRoute'],
    ['GET', '/v1/topics/t/messages', 405, 'methodNotAllowed'],
    ['POST', '/v1/topics/a%2Fb/messages', 400, 'invalid'],
    ['POST', '/v1/topics/%zz/messages', 400, 'malformed'],
    ['POST', `/v1/topics/${'x'.repeat(2_000)}/messages`, 414, 'uriTooLong'],
    ['POST', `/v1/topics/${'x'.repeat(300)}/messages`, 400, 'invalid'],
    ['GET', '/v1/topics/t/groups/g/stream?ack=maybe', 400, 'invalid'],
    ['GET', '/v1/topics/t/groups/g/stream?what=1', 400, 'invalid'],
    ['GET', '/v1/topics/t/groups/g/ws', 404, 'noRoute'],
  ])('%s %s', async (method, path, status, code) => {
    const answer = await fetch(base + path, { method })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    const problem = (await answer.json()) as Reply
    check(problemShape, problem, 'body')
    expect(problem).toMatchObject({ code, requestId: answer.headers.get('x-request-id') })
  })

  it.each([
    ['bad JSON', 'x', {}, 400, 'malformed'],
    ['JSON that is too deep', '['.repeat(100), {}, 400, 'malformed'],
    ['no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), {}, 400, 'malformed'],
    ['no object', '[]', {}, 400, 'invalid'],
    ['an unknown member', '{"max":1}', {}, 400, 'invalid'],
    ['too many messages', '{"maxMessages":33}', {}, 400, 'invalid'],
    ['both filters', '{"filter":{"tag":"a","sql":"b"}}', {}, 400, 'invalid'],
    ['a foreign page', '{}', { 'sec-fetch-site': 'cross-site' }, 403, 'forbidden'],
    ['a foreign scheme', '{}', { authorization: 'Digest x' }, 401, 'unauthenticated'],
    ['a body of no end', ' '.repeat(1024 * 1024 + 1), {}, 413, 'tooLarge'],
  ])('receive with %s', async (_, body, headers, status, code) => {
    const answer = await post('/v1/topics/t/groups/g/messages:receive', body, headers as Record<string, string>)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })

  it.each([
    ['x-mq-priority', 'high'],
    ['x-mq-deliver-at', '-1'],
    ['x-mq-tag', '%zz'],
    ['x-mq-tag', '%ff'],
    ['x-mq-tag', ''],
    ['x-mq-tagg', 'a'],
    ['x-mq-retain', 'yes'],
    ['x-mq-property-x-mq-via', 'mqtt'],
    ['ce-id', '1'],
    ['idempotency-key', 'x'.repeat(256)],
  ])('publish with %s: %s', async (name, value) => {
    const answer = await post('/v1/topics/t/messages', 'x', { [name]: value })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid'])
  })

  it('413 for a body over the limit, announced or not, without reading it all', async () => {
    const small = await serve({ limits: { bodyBytes: 1_000, frameBytes: 2_000 } })
    try {
      const path = `${small.base}/v1/topics/orders/messages`
      const announced = await fetch(path, { method: 'POST', body: 'x'.repeat(1_001) })
      expect([announced.status, announced.headers.get('connection')]).toEqual([413, 'close'])
      const endless = new ReadableStream({ pull: (controller) => controller.enqueue(Buffer.alloc(900)) })
      const chunked = await fetch(path, { method: 'POST', body: endless, duplex: 'half' } as RequestInit)
      expect(chunked.status).toBe(413)
      const list = JSON.stringify({ messages: [{ body: 'x'.repeat(1_001) }] })
      const type = { 'content-type': 'application/vnd.sluice.messages+json' }
      expect((await fetch(path, { method: 'POST', body: list, headers: type })).status).toBe(413)
      expect(small.gateway.of('publish')).toHaveLength(0)
    } finally {
      await small.close()
    }
  })

  it('says when to come back, and never what went wrong inside', async () => {
    served.gateway.failNext('publish', new Fault('throttled', 'slow down', { retryAfter: 1_200 }))
    const throttled = await post('/v1/topics/t/messages', 'x')
    expect([throttled.status, throttled.headers.get('retry-after')]).toEqual([429, '2'])
    expect(throttled.body.retryAfterMs).toBe(1_200)
    served.gateway.failNext('publish', new Error('secret'))
    const failed = await post('/v1/topics/t/messages', 'x', { 'x-request-id': 'mine-1' })
    expect(failed.status).toBe(500)
    expect(JSON.stringify(failed.body)).not.toContain('secret')
    expect(failed.body.requestId).toBe('mine-1')
    const logged = served.gateway.logs.find(({ event }) => event === 'request.failed')
    expect(logged?.fields).toMatchObject({ requestId: 'mine-1', error: expect.stringContaining('secret') })
  })

  it('asks for credentials, and each request is its own', async () => {
    const closed = await serve({ users: { ann: 'secret:1', bob: 'other' } })
    try {
      const path = `${closed.base}/v1/topics/orders/messages`
      const as = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` })
      const publish = async (headers: Record<string, string>) =>
        (await fetch(path, { method: 'POST', body: 'x', headers })).status
      const nobody = await fetch(path, { method: 'POST', body: 'x' })
      expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Basic')])
      await nobody.body?.cancel()
      expect(await publish(as('ann:wrong'))).toBe(401)
      expect(await publish(as('ann:secret:1'))).toBe(201)
      expect(await publish(as('bob:other'))).toBe(201)
      expect(await publish(as('bob:wrong'))).toBe(401)
      const publishers = closed.gateway.commands.filter(({ command }) => command.kind === 'publish')
      expect(publishers.map(({ context }) => context.principal.name)).toEqual(['ann', 'bob'])
    } finally {
      await closed.close()
    }
  })
})

it('describes itself', async () => {
  const answer = await fetch(`${base}/openapi.json`)
  const document = (await answer.json()) as { openapi: string; paths: object }
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths)).toContain('/v1/topics/{topic}/groups/{group}/messages:receive')
})
