import { Fault } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { EventClient, type HttpClient, json } from '../test/client.ts'
import { bench, eventually } from '../test/harness.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
const open = (...options: Parameters<typeof bench>) => {
  const opened = bench(...options)
  closing.push(opened.close)
  return opened
}

const listen = async (client: HttpClient, query = '') => {
  client.wire.write(Buffer.from(`GET /v1/topics/orders/groups/g/stream${query} HTTP/1.1\r\nhost: localhost\r\n\r\n`))
  const head = await client.head()
  return { head, events: new EventClient(client) }
}
const publish = (client: HttpClient, body: string) => client.post('/v1/topics/orders/messages', body)
interface Told {
  body: string
  receiptHandle?: string
  attempt: number
}
const told = (event: { data?: string } | undefined) => JSON.parse(event?.data ?? '{}') as Told

describe('a stream that acknowledges by writing', () => {
  it('begins with a retry line, gives each message as an event and settles it', async () => {
    const { gateway, client } = open()
    const { head, events } = await listen(await client())
    expect(head).toMatchObject({ status: 200, headers: { 'content-type': 'text/event-stream', connection: 'close' } })
    expect(await events.next()).toEqual({ retry: '2000' })
    await publish(await client(), 'one\ntwo')
    const event = await events.next()
    expect(event).toMatchObject({ event: 'message', id: gateway.messages('orders')[0]?.id })
    expect(told(event)).toMatchObject({ body: 'one\ntwo', attempt: 1 })
    expect(told(event)).not.toHaveProperty('receiptHandle')
    await turns()
    expect(gateway.of('settle')).toMatchObject([{ outcome: { kind: 'accept' } }])
  })

  it('says a comment every 15 s', async () => {
    const { gateway, client } = open()
    const { events } = await listen(await client())
    await events.next()
    await gateway.clock.pass(31_000)
    await turns(20)
    expect(events.comments).toBe(2)
  })

  it('filters by tag', async () => {
    const { client } = open()
    const { events } = await listen(await client(), '?tag=b')
    await events.next()
    const producer = await client()
    await producer.post('/v1/topics/orders/messages', 'no', { 'x-mq-tag': 'a' })
    await producer.post('/v1/topics/orders/messages', 'yes', { 'x-mq-tag': 'b' })
    expect(told(await events.next()).body).toBe('yes')
  })

  it('is refused with a status when the topic is not there', async () => {
    const { client } = open({ autoCreate: false })
    const answer = await (await client()).request('GET', '/v1/topics/none/groups/g/stream')
    expect([answer.status, json(answer).code]).toEqual([404, 'topicNotFound'])
  })

  it('ends with an error event when its source fails for good', async () => {
    const { gateway, client } = open()
    const { events } = await listen(await client())
    await events.next()
    await turns()
    gateway.failNext('pop', new Fault('forbidden', 'not any more'))
    await publish(await client(), 'x') // wakes the pop that waits; the next one fails
    await events.next()
    const event = await events.next()
    expect([event?.event, JSON.parse(event?.data ?? '{}')]).toEqual([
      'error',
      expect.objectContaining({ code: 'forbidden' }),
    ])
    expect(await events.next()).toBeUndefined()
  })

  it('ends with a retry line in a drain, and is not busy meanwhile', async () => {
    const { client, connections } = open()
    const { events } = await listen(await client())
    await events.next()
    const [connection] = await connections()
    expect(connection!.busy).toBe(0)
    connection!.goAway('draining')
    expect(await events.next()).toEqual({ retry: '500' })
    expect(await events.next()).toBeUndefined()
    await turns()
    expect(await connections()).toHaveLength(0)
  })

  it('gives back what was not written when its client goes', async () => {
    const { gateway, client, connections } = open({ limits: { outboundBytes: 16 * 1024 } })
    const consumer = await client()
    const { events } = await listen(consumer)
    await events.next()
    consumer.wire.socket.pause()
    const producer = await client()
    for (let n = 0; n < 40; n++) await publish(producer, 'x'.repeat(16 * 1024))
    await turns(30)
    const taken = gateway.given
    expect(taken).toBeLessThan(40)
    expect((await connections())[0]!.busy).toBeGreaterThan(0)
    consumer.wire.destroy()
    await turns(30)
    expect(gateway.of('settle').some(({ outcome }) => outcome.kind === 'retry' && !outcome.counts)).toBe(true)
    expect(gateway.sessions.size).toBe(1)
  })
})

describe('a stream with receipts', () => {
  it('gives handles that are settled elsewhere', async () => {
    const { gateway, client } = open()
    const { events } = await listen(await client(), '?ack=manual&invisibleMs=10000')
    await events.next()
    const producer = await client()
    await publish(producer, 'x')
    const handle = told(await events.next()).receiptHandle
    const acked = await producer.post('/v1/topics/orders/groups/g/messages:ack', { receiptHandles: [handle] })
    expect(json(acked)).toMatchObject({ results: [{ status: 200 }] })
    await publish(producer, 'y')
    expect(told(await events.next())).toMatchObject({ body: 'y', attempt: 1 })
    await gateway.clock.pass(11_000)
    expect(told(await events.next())).toMatchObject({ body: 'y', attempt: 2 })
  })

  it('ends with a retry line in a drain', async () => {
    const { client, connections, gateway } = open()
    const { events } = await listen(await client(), '?ack=manual')
    await events.next()
    await eventually('the poll waits', () => gateway.parked === 1)
    for (const connection of await connections()) connection.goAway('draining')
    expect(await events.next()).toEqual({ retry: '500' })
    expect(await events.next()).toBeUndefined()
    expect(gateway.parked).toBe(0)
  })
})
