import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type SluiceProcess, startSluice } from '../run/process.ts'

// The wire of the official client, spoken by hand: its own API acknowledges only what it has received itself.
const require = createRequire(import.meta.url)
const sdk = createRequire(require.resolve('rocketmq-client-nodejs'))
const { credentials, Metadata } = sdk('@grpc/grpc-js') as typeof import('@grpc/grpc-js')
const service = sdk('../proto/apache/rocketmq/v2/service_pb.js') as Record<string, new () => Setters>
const definition = sdk('../proto/apache/rocketmq/v2/definition_pb.js') as Record<string, new () => Setters>
const { MessagingServiceClient } = sdk('../proto/apache/rocketmq/v2/service_grpc_pb.js') as {
  MessagingServiceClient: new (address: string, how: object) => AckClient
}

interface Setters {
  setName(name: string): this
  setGroup(group: unknown): this
  setTopic(topic: unknown): this
  addEntries(entry: unknown): unknown
  setMessageId(id: string): this
  setReceiptHandle(handle: string): this
}

interface AckReply {
  getStatus(): { getCode(): number }
  getEntriesList(): { getStatus(): { getCode(): number } }[]
}

interface AckClient {
  ackMessage(request: unknown, metadata: unknown, done: (error: Error | null, reply: AckReply) => void): void
  close(): void
}

const OK = 20000
const INVALID_RECEIPT_HANDLE = 40013
/** Longer than a busy machine takes to start a process. */
const INVISIBLE_MS = 12_000

const ackOverGrpc = (port: number, group: string, topic: string, handle: string): Promise<number> => {
  const client = new MessagingServiceClient(`127.0.0.1:${port}`, credentials.createInsecure())
  const resource = (name: string) => new definition.Resource!().setName(name)
  const entry = new service.AckMessageEntry!().setMessageId('01'.padEnd(34, '0')).setReceiptHandle(handle)
  const request = new service.AckMessageRequest!().setGroup(resource(group)).setTopic(resource(topic))
  request.addEntries(entry)
  const metadata = new Metadata()
  metadata.set('x-mq-client-id', 'receipts-test')
  return new Promise((resolve, reject) => {
    client.ackMessage(request, metadata, (error, reply) => {
      client.close()
      if (error) reject(error)
      else resolve(reply.getEntriesList()[0]?.getStatus().getCode() ?? reply.getStatus().getCode())
    })
  })
}

interface Message {
  readonly body: string
  readonly receiptHandle: string
  readonly attempt: number
}

const receive = async (port: number, group: string, waitMs: number): Promise<readonly Message[]> => {
  const reply = await fetch(`http://127.0.0.1:${port}/v1/topics/jobs/groups/${group}/messages:receive`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ maxMessages: 1, waitMs, invisibleMs: INVISIBLE_MS }),
  })
  return ((await reply.json()) as { messages: readonly Message[] }).messages
}

const publish = (port: number, body: string) =>
  fetch(`http://127.0.0.1:${port}/v1/topics/jobs/messages`, { method: 'POST', body, headers: { connection: 'close' } })

describe('receipts', () => {
  const data = mkdtempSync(join(tmpdir(), 'sluice-receipts-'))
  const started: SluiceProcess[] = []
  const start = async () => {
    const sluice = await startSluice({ data })
    started.push(sluice)
    return sluice
  }
  afterAll(async () => {
    for (const sluice of started) sluice.kill('SIGKILL')
    await Promise.all(started.map(({ exited }) => exited))
    rmSync(data, { recursive: true, force: true })
  })

  it('outlive the process that gave them, and are refused when changed', async () => {
    const a = await start()
    for (const body of ['settled', 'forgotten']) expect((await publish(a.port, body)).status).toBe(201)
    const [settled] = await receive(a.port, 'workers', 1_000)
    const [forgotten] = await receive(a.port, 'workers', 1_000)
    const poppedAt = Date.now()
    expect([settled?.body, forgotten?.body].sort()).toEqual(['forgotten', 'settled'])
    a.kill('SIGKILL')
    expect(await a.exited).toBe('SIGKILL')

    const b = await start()
    const handle = settled!.receiptHandle
    const flipped = handle.slice(0, 20) + (handle[20] === 'A' ? 'B' : 'A') + handle.slice(21)
    expect(await ackOverGrpc(b.port, 'workers', 'jobs', flipped)).toBe(INVALID_RECEIPT_HANDLE)
    // Both are invisible still, although this process never saw their pop.
    expect(await receive(b.port, 'workers', 200)).toEqual([])
    expect(await ackOverGrpc(b.port, 'workers', 'jobs', handle)).toBe(OK)
    const again = await receive(b.port, 'workers', INVISIBLE_MS + 5_000)
    expect(Date.now() - poppedAt).toBeGreaterThanOrEqual(INVISIBLE_MS - 1_000)
    expect(again.map(({ body, attempt }) => ({ body, attempt }))).toEqual([{ body: forgotten!.body, attempt: 2 }])
    expect(await receive(b.port, 'workers', 500)).toEqual([])
  }, 60_000)
})
