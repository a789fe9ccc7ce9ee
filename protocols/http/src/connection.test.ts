import { turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { type HttpClient, json } from '../test/client.ts'
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
const at = '/v1/topics/orders/groups/g/messages:receive'
const poll = (client: HttpClient, more: object = {}) => client.post(at, { waitMs: 30_000, ...more })
const publish = (client: HttpClient, body = 'x') => client.post('/v1/topics/orders/messages', body)

describe('polls', () => {
  it('are answered as soon as there is something, and are no work until then', async () => {
    const { gateway, client, connections } = open()
    const consumer = await client()
    const answer = poll(consumer)
    await eventually('the poll waits', () => gateway.parked === 1)
    expect((await connections())[0]!.busy).toBe(0)
    await publish(await client(), 'now')
    expect(json(await answer)).toMatchObject({ messages: [{ body: 'now' }] })
  })

  it('are answered with nothing when their time is up', async () => {
    const { gateway, client } = open()
    const answer = poll(await client(), { waitMs: 3_000 })
    await eventually('the poll waits', () => gateway.parked === 1)
    await gateway.clock.pass(3_000)
    expect(json(await answer)).toEqual({ messages: [] })
  })

  it('are over at once when their client goes away, and what they took goes back', async () => {
    const { gateway, client } = open()
    const consumer = await client()
    poll(consumer).catch(() => undefined)
    await eventually('the poll waits', () => gateway.parked === 1)
    const hold = gateway.hold('pop')
    const producer = await client()
    await publish(producer)
    await turns()
    expect(hold.waiting).toBe(1)
    consumer.wire.destroy()
    await turns()
    hold.release()
    await turns()
    expect(gateway.of('settle')).toMatchObject([{ outcome: { kind: 'retry', after: 0, counts: false } }])
    expect(json(await poll(producer))).toMatchObject({ messages: [{ attempt: 1 }] })
  })

  it('give back what was behind an answer that never came', async () => {
    const { gateway, client } = open()
    const producer = await client()
    await publish(producer)
    const hold = gateway.hold('publish')
    const consumer = await client()
    publish(consumer).catch(() => undefined)
    poll(consumer).catch(() => undefined)
    consumer.request('GET', '/v1/topics/orders/groups/other/stream').catch(() => undefined)
    await eventually('all are at work', () => hold.waiting === 1 && gateway.of('pop').length >= 2)
    await turns(30)
    consumer.wire.destroy()
    hold.release()
    await eventually('it went back', () => gateway.of('settle').length >= 1)
    await eventually('nothing is left', () => gateway.parked === 0 && gateway.sessions.size === 1)
    expect(json(await poll(producer))).toMatchObject({ messages: [{ attempt: 1 }] })
  })

  it('are over when their client has said its last word', async () => {
    const { gateway, client } = open()
    const consumer = await client()
    const answer = poll(consumer)
    await eventually('the poll waits', () => gateway.parked === 1)
    consumer.wire.socket.end()
    expect(json(await answer)).toEqual({ messages: [] })
    await eventually('nothing is left', () => gateway.parked + gateway.sessions.size === 0)
  })

  it('are bounded for a connection', async () => {
    const { gateway, client } = open({ limits: { parked: 2 } })
    const consumer = await client()
    const [first, second, third] = [poll(consumer), poll(consumer), poll(consumer)]
    await eventually('two polls wait', () => gateway.parked === 2)
    await gateway.clock.pass(30_000)
    expect([(await first!).status, (await second!).status]).toEqual([200, 200])
    const refused = await third!
    expect([refused.status, refused.headers['retry-after'], json(refused).code]).toEqual([429, '1', 'limit'])
  })
})

describe('the drain', () => {
  it('answers parked polls at once, with Connection: close, and then closes', async () => {
    const { gateway, client, connections } = open()
    const consumer = await client()
    const answer = poll(consumer)
    await eventually('the poll waits', () => gateway.parked === 1)
    const [connection] = await connections()
    connection!.goAway('draining')
    const { headers, body } = await answer
    expect([headers.connection, JSON.parse(body.toString())]).toEqual(['close', { messages: [] }])
    await consumer.wire.until((_, ended) => ended)
    await turns()
    expect(connection!.state).toBe('closed')
  })

  it('serves a request that comes after the word, with Connection: close', async () => {
    const { gateway, client, connections } = open()
    const consumer = await client()
    await publish(consumer)
    const [connection] = await connections()
    connection!.goAway('draining')
    expect([connection!.state, consumer.told]).toEqual(['told', false])
    const late = await publish(consumer)
    expect([late.status, late.headers.connection]).toEqual([201, 'close'])
    expect(gateway.messages('orders')).toHaveLength(2)
    await consumer.wire.until((_, ended) => ended)
  })

  it('says close with the last of several pipelined answers only', async () => {
    const { gateway, client, connections } = open()
    const producer = await client()
    const hold = gateway.hold('publish')
    const answers = [publish(producer), publish(producer), publish(producer)]
    await eventually('three wait', () => hold.waiting === 3)
    for (const connection of await connections()) connection.goAway('draining')
    hold.release()
    const told = (await Promise.all(answers)).map(({ headers }) => headers.connection)
    expect(told).toEqual(['keep-alive', 'keep-alive', 'close'])
    expect(gateway.messages('orders')).toHaveLength(3)
  })

  it('closes an idle connection without force, a busy one only with it', async () => {
    const { gateway, client, connections } = open()
    const idle = await client()
    await publish(idle)
    const busy = await client()
    const hold = gateway.hold('publish')
    publish(busy).catch(() => undefined)
    await eventually('the publish waits', () => hold.waiting === 1)
    const [first, second] = await connections()
    for (const connection of [first!, second!]) {
      connection.goAway('draining')
      connection.end(false)
    }
    await idle.wire.until((_, ended) => ended)
    await turns()
    expect([first!.state, second!.state, second!.busy]).toEqual(['closed', 'told', 1])
    second!.end(true)
    await busy.wire.closed
    await turns()
    expect(second!.state).toBe('closed')
  })
})

describe('bounds', () => {
  it('a reader that takes nothing is cut off after stallMs', async () => {
    const { gateway, client, connections } = open({ limits: { stallMs: 5_000 } })
    const consumer = await client()
    await publish(consumer, 'x'.repeat(1024 * 1024))
    consumer.wire.socket.pause()
    poll(consumer).catch(() => undefined)
    await eventually('the answer waits', async () => (await connections())[0]!.busy > 0)
    await gateway.clock.pass(8_000)
    expect(gateway.logs).toContainEqual(expect.objectContaining({ event: 'connection.stalled' }))
    expect(await connections()).toHaveLength(0)
    await turns()
    expect(gateway.of('settle')).toMatchObject([{ outcome: { kind: 'retry', counts: false } }])
  })

  it('requests beyond limits.inflight wait, and nothing is read meanwhile', async () => {
    const { gateway, client } = open({ limits: { inflight: 4 } })
    const producer = await client()
    const hold = gateway.hold('publish')
    const answers = Array.from({ length: 200 }, () => publish(producer, 'x'.repeat(2_000)))
    await eventually('four wait', () => hold.waiting === 4)
    await turns(30)
    expect(hold.waiting).toBe(4)
    expect(producer.wire.socket.writableLength).toBeGreaterThan(100_000)
    hold.release()
    expect((await Promise.all(answers)).every(({ status }) => status === 201)).toBe(true)
  })

  it('the session ends with its connection, and is named by its client', async () => {
    const { gateway, client } = open()
    const one = await client()
    await one.post('/v1/topics/orders/messages', 'x', { 'x-mq-client-id': 'till-7' })
    expect(gateway.commands.at(-1)?.context.session.client).toBe('till-7')
    const other = await client()
    await publish(other)
    expect(gateway.commands.at(-1)?.context.session.client).toMatch(/^http-\d+$/)
    expect(gateway.sessions.size).toBe(2)
    one.wire.destroy()
    other.wire.destroy()
    await eventually('no session is left', () => gateway.sessions.size === 0)
  })

  it('a client that is told to go by the broker goes', async () => {
    const { gateway, client } = open()
    const one = await client()
    await publish(one)
    const { session } = gateway.commands.at(-1)!.context
    await gateway.notify({ session: session.id }, { kind: 'goAway', reason: 'kicked' })
    await one.wire.until((_, ended) => ended)
  })
})
