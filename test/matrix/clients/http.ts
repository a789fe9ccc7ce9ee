import { Agent, request } from 'node:https'
import { Inbox, type MatrixClient, type Target } from '../client.ts'
import type { Sample } from '../samples.ts'

const base = ({ host, port, tls }: Target): string => `${tls ? 'https' : 'http'}://${host}:${port}`
const agent = new Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 8 })

const CONTENT_TYPE = 'application/x-matrix'

interface Answer {
  readonly status: number
  readonly text: string
}

/** `fetch`, but for the self-signed certificate of the TLS pass, which fetch cannot be told to trust. */
const post = async (
  target: Target,
  path: string,
  headers: Record<string, string>,
  body: Buffer | string,
  signal?: AbortSignal,
): Promise<Answer> => {
  if (!target.tls) {
    const response = await fetch(base(target) + path, {
      method: 'POST',
      headers,
      body: new Uint8Array(Buffer.from(body)),
      ...(signal && { signal }),
    })
    return { status: response.status, text: await response.text() }
  }
  return new Promise((resolve, reject) => {
    const call = request(
      base(target) + path,
      { method: 'POST', headers, agent, ...(signal && { signal }) },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        )
      },
    )
    call.on('error', reject)
    call.end(body)
  })
}

const publish = (target: Target, topic: string, sample: Sample): Promise<Answer> => {
  const headers: Record<string, string> = {
    'content-type': CONTENT_TYPE,
    'x-mq-tag': encodeURIComponent(sample.tag),
    'x-mq-key': sample.keys.map(encodeURIComponent).join(' '),
  }
  for (const [name, value] of Object.entries(sample.properties))
    headers[`x-mq-property-${name}`] = encodeURIComponent(value)
  return post(target, `/v1/topics/${topic}/messages`, headers, sample.body)
}

interface HttpMessage {
  readonly messageId: string
  readonly receiptHandle: string
  readonly body: string
  readonly encoding: 'utf8' | 'base64'
  readonly tag?: string
  readonly keys?: readonly string[]
  readonly path?: string
  readonly contentType?: string
  readonly properties?: Record<string, string>
  readonly attempt: number
}

export const http: MatrixClient = {
  name: 'http',
  column: 'http',
  refusesEmpty: false,
  contentType: CONTENT_TYPE,
  keepsOrder: true,
  givesId: false,
  async producer(target, topic) {
    return {
      async send(samples) {
        for (let at = 0; at < samples.length; at += 16) {
          const answers = await Promise.all(samples.slice(at, at + 16).map((sample) => publish(target, topic, sample)))
          const bad = answers.find(({ status }) => status !== 201)
          if (bad) throw new Error(`publish: ${bad.status} ${bad.text}`)
        }
      },
      async sendEmpty() {
        const { status } = await post(target, `/v1/topics/${topic}/messages`, { 'content-type': 'text/plain' }, '')
        return status === 201
      },
      async close() {},
    }
  },
  async consumer(target, topic, group) {
    const inbox = new Inbox()
    const abort = new AbortController()
    const path = `/v1/topics/${topic}/groups/${group}/messages`
    const json = { 'content-type': 'application/json' }
    const loop = async (): Promise<void> => {
      while (!abort.signal.aborted) {
        const ask = JSON.stringify({ maxMessages: 32, waitMs: 2_000, invisibleMs: 60_000 })
        const { status, text } = await post(target, `${path}:receive`, json, ask, abort.signal)
        if (status !== 200) throw new Error(`receive: ${status} ${text}`)
        const { messages } = JSON.parse(text) as { messages: readonly HttpMessage[] }
        if (messages.length === 0) continue
        const handles = messages.map(({ receiptHandle }) => receiptHandle)
        const ack = await post(target, `${path}:ack`, json, JSON.stringify({ receiptHandles: handles }))
        if (ack.status !== 200) throw new Error(`ack: ${ack.status} ${ack.text}`)
        for (const one of messages) {
          inbox.push({
            body: Buffer.from(one.body, one.encoding),
            ...(one.tag !== undefined && { tag: one.tag }),
            ...(one.keys && { keys: one.keys }),
            ...(one.path !== undefined && { path: one.path }),
            ...(one.contentType !== undefined && { contentType: one.contentType }),
            properties: one.properties ?? {},
            id: one.messageId,
            attempt: one.attempt,
          })
        }
      }
    }
    const running = loop().catch((error: unknown) => {
      if (!abort.signal.aborted) throw error
    })
    return {
      received: inbox.received,
      wait: (count, ms) => Promise.race([inbox.wait(count, ms), running]),
      async close() {
        abort.abort()
        await running
      },
    }
  },
  async close() {
    agent.destroy()
  },
}
