import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import http from '@sluice/protocol-http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

interface Message {
  readonly messageId: string
  readonly body: string
  readonly receiptHandle: string
  readonly attempt: number
  readonly properties?: Readonly<Record<string, string>>
  readonly priority?: number
}

const api = (port: number) => {
  const base = `http://127.0.0.1:${port}/v1/topics`
  const post = async <T>(path: string, body: object) => {
    const answer = await fetch(`${base}/${path}`, { method: 'POST', body: JSON.stringify(body) })
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as T }
  }
  return {
    base,
    publish: (topic: string, body: string, headers: Record<string, string> = {}) =>
      fetch(`${base}/${topic}/messages`, { method: 'POST', body, headers }),
    receive: async (topic: string, group: string, more: object = {}) =>
      (await post<{ messages: Message[] }>(`${topic}/groups/${group}/messages:receive`, { waitMs: 5_000, ...more }))
        .body.messages,
    settle: async (topic: string, group: string, verb: string, handles: readonly string[], more: object = {}) =>
      (
        await post<{ results: { status: number; receiptHandle?: string }[] }>(
          `${topic}/groups/${group}/messages:${verb}`,
          { receiptHandles: handles, ...more },
        )
      ).body.results,
  }
}

describe('HTTP over the broker', () => {
  let gateway: RunningGateway
  let at: ReturnType<typeof api>
  beforeAll(async () => {
    gateway = await startGateway({ protocols: [http()] })
    at = api(gateway.port)
  })
  afterAll(() => gateway?.close())

  it('every field that HTTP can say comes back', async () => {
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'x-mq-tag': 'urgent',
      'x-mq-key': 'k1 k2',
      'x-mq-path': 'eu/west',
      'x-mq-correlation-id': 'c%201',
      'x-mq-reply-to': 'answers',
      'x-mq-id': 'MINE-1',
      'x-mq-expires-at': String(Date.now() + 3_600_000),
      'x-mq-property-empty': '',
      'x-mq-property-colour': '%E7%BA%A2',
      traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    }
    expect((await at.publish('fields', 'grün', headers)).status).toBe(201)
    const [message] = await at.receive('fields', 'g')
    expect(message).toMatchObject({
      messageId: 'MINE-1',
      body: 'grün',
      encoding: 'utf8',
      contentType: headers['content-type'],
      tag: 'urgent',
      keys: ['k1', 'k2'],
      path: 'eu/west',
      correlationId: 'c 1',
      replyTo: 'answers',
      expiresAt: Number(headers['x-mq-expires-at']),
      properties: { colour: '红', empty: '' },
      traceparent: headers.traceparent,
      via: 'http',
      attempt: 1,
      bornHost: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    })
    expect(await at.settle('fields', 'g', 'ack', [message!.receiptHandle])).toEqual([{ status: 200 }])
  })

  it('a consumer that is stuck with one job blocks no other; the end of its lease brings back just that one', async () => {
    for (const body of ['slow', 'quick']) await at.publish('jobs', body)
    const [stuck] = await at.receive('jobs', 'llm', { invisibleMs: 1_500 })
    const [other] = await at.receive('jobs', 'llm', { invisibleMs: 60_000 })
    expect(await at.settle('jobs', 'llm', 'ack', [other!.receiptHandle])).toEqual([{ status: 200 }])
    const again = await at.receive('jobs', 'llm', { maxMessages: 32, waitMs: 10_000 })
    expect(again).toMatchObject([{ messageId: stuck!.messageId, attempt: 2 }])
    const [late] = await at.settle('jobs', 'llm', 'ack', [stuck!.receiptHandle])
    expect(late).toMatchObject({ status: 410, code: 'receiptExpired' })
    const [renewed] = await at.settle('jobs', 'llm', 'extend', [again[0]!.receiptHandle], { invisibleMs: 60_000 })
    expect(await at.settle('jobs', 'llm', 'ack', [again[0]!.receiptHandle, renewed!.receiptHandle!])).toMatchObject([
      { status: 410 },
      { status: 200 },
    ])
  })

  it('nack brings a message back when it says, dead never', async () => {
    await at.publish('moods', 'x')
    const [first] = await at.receive('moods', 'g')
    expect(await at.settle('moods', 'g', 'nack', [first!.receiptHandle], { afterMs: 0 })).toMatchObject([
      { status: 200 },
    ])
    const [second] = await at.receive('moods', 'g')
    expect(second).toMatchObject({ messageId: first!.messageId, attempt: 2 })
    expect(await at.settle('moods', 'g', 'dead', [second!.receiptHandle])).toMatchObject([{ status: 200 }])
    expect(await at.receive('moods', 'g', { waitMs: 300 })).toEqual([])
  })

  it('a list of messages is stored in its order', async () => {
    const list = { messages: ['a', 'b', 'c'].map((body) => ({ body, shardingKey: 'one', properties: { n: body } })) }
    const answer = await at.publish('lists', JSON.stringify(list), {
      'content-type': 'application/vnd.sluice.messages+json',
    })
    expect(answer.status).toBe(201)
    const bodies: string[] = []
    while (bodies.length < 3) {
      const messages = await at.receive('lists', 'g', { maxMessages: 32, ordered: true })
      bodies.push(...messages.map(({ body }) => body))
      await at.settle(
        'lists',
        'g',
        'ack',
        messages.map(({ receiptHandle }) => receiptHandle),
      )
    }
    expect(bodies).toEqual(['a', 'b', 'c'])
  })

  it('a poll ends with the message that it waited for', async () => {
    await at.publish('waits', 'first')
    await at.receive('waits', 'g')
    const waiting = at.receive('waits', 'g')
    const began = Date.now()
    await at.publish('waits', 'second')
    expect(await waiting).toMatchObject([{ body: 'second' }])
    expect(Date.now() - began).toBeLessThan(3_000)
  })

  it('a stream gives what is published and acknowledges it', async () => {
    await at.publish('events', 'e0')
    const abort = new AbortController()
    const answer = await fetch(`${at.base}/events/groups/g/stream`, { signal: abort.signal })
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    let text = ''
    const reading = (async () => {
      for await (const chunk of answer.body!) text += Buffer.from(chunk as Uint8Array).toString()
    })().catch(() => undefined)
    await at.publish('events', 'e1')
    await expect.poll(() => text, { timeout: 10_000 }).toMatch(/e0.*e1|e1.*e0/s)
    abort.abort()
    await reading
    expect(await at.receive('events', 'g', { waitMs: 300 })).toEqual([])
  })
})

describe('HTTP in a drain', () => {
  it('answers polls, ends streams, closes what is idle, and forces nothing', async () => {
    const gateway = await startGateway({ protocols: [http()] })
    const at = api(gateway.port)
    await at.publish('orders', 'x')
    await at.receive('orders', 'a')
    const stream = await fetch(`${at.base}/orders/groups/b/stream`)
    const text = stream.text()
    const poll = at.receive('orders', 'a', { waitMs: 30_000 })
    const metrics = async () => (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
    await expect.poll(metrics).toMatch(/^sluice_inflight_commands\{.*http.*\} 2$/m)
    const began = Date.now()
    const verdict = await gateway.drain({ leavingMs: 0, announceMs: 500, settleMs: 5_000 })
    expect(Date.now() - began).toBeLessThan(4_500)
    expect(await poll).toEqual([])
    expect(await text).toMatch(/retry: 500\n\n$/)
    expect(verdict.clean).toBe(true)
    expect(verdict.byProtocol.http).toMatchObject({ forced: 0, inflightAtClose: 0 })
    expect(verdict.byProtocol.http!.told).toBeGreaterThanOrEqual(2)
  })

  it('is not seen by clients that are at work', async () => {
    const data = mkdtempSync(join(tmpdir(), 'sluice-http-'))
    let doorClosed = false
    const info = (event: string, fields?: object): void => {
      if (event === 'drain') doorClosed ||= (fields as { phase: string }).phase === 'settling'
    }
    const log = { info, warn: () => undefined, error: () => undefined }
    const gateway = await startGateway({ protocols: [http()], data, log })
    const at = api(gateway.port)
    const stored: string[] = []
    const errors: unknown[] = []
    let over = false
    const work = async (worker: number) => {
      for (let n = 0; !over; n++) {
        const body = `${worker}-${n}`
        try {
          const answer = await at.publish('busy', body)
          if (answer.status === 201) stored.push(body)
          else errors.push(answer.status)
          await answer.text()
        } catch (error) {
          const { code } = (error as { cause?: { code?: string } }).cause ?? {}
          // What waited in the listener's queue as it closed is reset by the system; it was never heard.
          if (doorClosed && (code === 'ECONNREFUSED' || code === 'ECONNRESET')) return
          errors.push(code ?? error)
        }
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const workers = [0, 1, 2, 3].map(work)
    await expect.poll(() => stored.length).toBeGreaterThan(20)
    const verdict = await gateway.drain({ leavingMs: 0, announceMs: 1_000, settleMs: 3_000 })
    over = true
    await Promise.all(workers)
    expect(errors).toEqual([])
    expect(verdict.clean).toBe(true)
    expect(verdict.byProtocol.http).toMatchObject({ forced: 0 })
    const next = await startGateway({ protocols: [http()], data })
    const found: string[] = []
    for (let more = 1; more > 0; ) {
      const messages = await api(next.port).receive('busy', 'g', { maxMessages: 32, waitMs: 300 })
      found.push(...messages.map(({ body }) => body))
      more = messages.length
    }
    expect(found.sort()).toEqual(stored.sort())
    await next.close()
    rmSync(data, { recursive: true })
  })
})

describe('WebSockets', () => {
  it('carry MQTT to the same topics', async () => {
    const { connect } = await import('mqtt')
    const gateway = await startGateway({})
    const at = api(gateway.port)
    const client = connect(`ws://127.0.0.1:${gateway.port}/mqtt`, { protocolVersion: 5, reconnectPeriod: 0 })
    try {
      await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject))
      await client.publishAsync('plant/1/temp', '21.5', { qos: 1 })
      expect(await at.receive('plant', 'g')).toMatchObject([{ body: '21.5', path: '1/temp', via: 'mqtt' }])
      await client.subscribeAsync('plant/2/#', { qos: 1 })
      const message = new Promise<Buffer>((resolve) => client.once('message', (_, body) => resolve(body)))
      await at.publish('plant', 'warm', { 'x-mq-path': '2/state' })
      expect(String(await message)).toBe('warm')
    } finally {
      await client.endAsync(true)
      await gateway.close()
    }
  })

  it('carry AMQP to the same topics', async () => {
    const { default: rhea } = await import('rhea')
    const { WebSocket } = await import('ws')
    const gateway = await startGateway({})
    const at = api(gateway.port)
    const container = rhea.create_container()
    const dial = container.websocket_connect(WebSocket as never)
    const details = dial(`ws://127.0.0.1:${gateway.port}/amqp`, ['amqp'], {})
    const connection = container.connect({ connection_details: details as never, reconnect: false } as never)
    try {
      const sender = connection.open_sender('deeds')
      await new Promise((resolve) => sender.once('sendable', resolve))
      const accepted = new Promise((resolve) => sender.once('accepted', resolve))
      sender.send({ body: container.message.data_section(Buffer.from('by amqp')) })
      await accepted
      expect(await at.receive('deeds', 'g')).toMatchObject([{ body: 'by amqp', via: 'amqp' }])
    } finally {
      connection.close()
      await gateway.close()
    }
  })
})
