import { Fault, type Message } from '@sluice/core'
import { type FakeGateway, fakeGateway, fakePeer, serverOf, turns } from '@sluice/testkit'
import type { IConnectPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { WINDOW_MAX } from './connect.ts'
import { mqtt } from './index.ts'

let gateway: FakeGateway
let protocol = mqtt()
beforeEach(() => {
  gateway = fakeGateway()
  protocol = mqtt()
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const enter = async (version: Version, more: Partial<IConnectPacket> = {}) =>
  (await enterAt(protocol, gateway, version, more)).client
const kept = { clean: false, properties: { sessionExpiryInterval: 60 } }

/** As a client of another protocol would. */
const store = async (body: string | Buffer, more: Partial<Message> = {}) => {
  const who = { protocol: 'remoting', client: 'p', language: 'java', version: 1, peer: fakePeer() }
  const session = await gateway.admit(who, async () => undefined)
  const message: Message = { topic: 'a', body: Buffer.from(body), properties: {}, ...more }
  await gateway.handle({ kind: 'publish', messages: [message], oneway: false }, gateway.context(session, 1_000))
  gateway.release(session)
}
const settled = () => gateway.of('settle').map(({ outcome }) => outcome.kind)

describe('a client that has subscribed to nothing', () => {
  it('waits for nothing, and from its first subscription on for everything', async () => {
    const client = await enter(5)
    await turns()
    expect(gateway.of('pop')).toHaveLength(0)
    await client.subscribe('a', 0)
    expect(gateway.of('pop')).toMatchObject([{ invisible: 0 }])
    await client.subscribe('b', 1)
    expect(gateway.of('pop')).toMatchObject([{ invisible: 0 }, { invisible: 'session' }])
    await client.subscribe('c', 1)
    expect(gateway.of('pop')).toHaveLength(2)
  })

  it('is given what waits for it when its session was there before', async () => {
    const first = await enter(4, kept)
    await first.subscribe('a', 1)
    first.wire.destroy()
    await store('x')
    const again = await enter(4, kept)
    expect(await again.next('publish')).toMatchObject({ topic: 'a', qos: 1 })
  })
})

describe('QoS 0', () => {
  it('is settled as it goes, and not at all while nothing else is subscribed', async () => {
    const client = await enter(4)
    await client.subscribe('a', 0)
    await store('x')
    expect(await client.next('publish')).toMatchObject({ topic: 'a', qos: 0, dup: false, retain: false })
    await turns()
    expect(settled()).toEqual([])
    await client.subscribe('b', 1)
    await store('y')
    expect(await client.next('publish')).toMatchObject({ topic: 'a', qos: 0 })
    await turns()
    expect(settled()).toEqual(['accept'])
  })

  it('goes on over the first subscription of another QoS', async () => {
    const client = await enter(5)
    await client.subscribe('a', 0)
    const seen: string[] = []
    for (let n = 0; n < 200; n++) {
      await store(String(n))
      if (n === 100) client.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'b', qos: 1 }] })
    }
    await client.take('suback')
    while (seen.length < 200) seen.push((await client.take('publish')).payload.toString())
    expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => String(n)))
    await store('z', { topic: 'b' })
    const { messageId, qos } = await client.next('publish')
    expect(qos).toBe(1)
    client.send({ cmd: 'puback', messageId: messageId! })
    await turns()
    expect(settled().at(-1)).toBe('accept')
  })

  it('of a session that was there before has its number: its filters may be of any QoS', async () => {
    const first = await enter(5, kept)
    await first.subscribe('a', 1)
    first.wire.destroy()
    const again = await enter(5, kept)
    await store('x')
    expect(await again.next('publish')).toMatchObject({ qos: 1, messageId: 1 })
  })
})

describe('QoS 1', () => {
  it('keeps its number until PUBACK', async () => {
    const client = await enter(5)
    await client.subscribe('a', 1)
    await store('x')
    const { messageId, qos } = await client.next('publish')
    expect({ messageId, qos }).toEqual({ messageId: expect.any(Number), qos: 1 })
    expect(settled()).toEqual([])
    client.send({ cmd: 'puback', messageId: messageId! })
    await turns()
    expect(settled()).toEqual(['accept'])
  })

  it('comes again after a reconnect, under the same number, as a repeat', async () => {
    const first = await enter(5, kept)
    await first.subscribe('a', 1)
    await store('x')
    await store('y')
    const [one, two] = [await first.next('publish'), await first.next('publish')]
    first.send({ cmd: 'puback', messageId: one.messageId! })
    await turns()
    first.wire.destroy()
    const second = await enter(5, kept)
    await store('z')
    expect(await second.next('publish')).toMatchObject({ messageId: two.messageId, dup: true })
    expect(await second.next('publish')).toMatchObject({ dup: false })
  })

  it('waits for a client that is away, in order', async () => {
    const first = await enter(4, { clean: false })
    await first.subscribe('a', 1)
    first.send({ cmd: 'disconnect' })
    await first.wire.rest()
    for (const text of ['1', '2', '3']) await store(text)
    const second = await enter(4, { clean: false })
    for (const text of ['1', '2', '3']) expect((await second.next('publish')).payload.toString()).toBe(text)
  })

  it('is not freed by an answer that is not its own', async () => {
    const client = await enter(5)
    await client.subscribe('a', 1)
    await store('x')
    const { messageId } = await client.next('publish')
    client.send({ cmd: 'puback', messageId: messageId! + 1 })
    client.send({ cmd: 'pubrec', messageId: messageId! })
    client.send({ cmd: 'pubcomp', messageId: messageId! })
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    await turns()
    expect(settled()).toEqual([])
  })

  it('whose end cannot be stored ends the connection, and nothing is lost', async () => {
    const client = await enter(5, kept)
    await client.subscribe('a', 1)
    await store('x')
    const { messageId } = await client.next('publish')
    gateway.failNext('settle', new Fault('receiptExpired', 'planted'))
    client.send({ cmd: 'puback', messageId: messageId! })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x83 })
    const again = await enter(5, kept)
    expect(await again.next('publish')).toMatchObject({ messageId, dup: true })
  })
})

describe('QoS 2', () => {
  const delivered = async (version: Version = 5) => {
    const client = await enter(version, kept)
    await client.subscribe('a', 2)
    await store('x')
    const { messageId, qos } = await client.next('publish')
    expect(qos).toBe(2)
    return { client, messageId: messageId! }
  }

  it('goes through all four packets', async () => {
    const { client, messageId } = await delivered()
    const hold = gateway.hold('settle')
    client.send({ cmd: 'pubrec', messageId })
    await turns()
    expect(client.here()).toEqual([])
    hold.release()
    expect(await client.next('pubrel')).toMatchObject({ messageId })
    client.send({ cmd: 'pubcomp', messageId })
    await turns()
    expect(settled()).toEqual(['received', 'accept'])
  })

  it('goes on with PUBREL after a reconnect', async () => {
    const { client, messageId } = await delivered()
    client.send({ cmd: 'pubrec', messageId })
    await client.next('pubrel')
    client.wire.destroy()
    const again = await enter(5, kept)
    expect(await again.next('pubrel')).toMatchObject({ messageId })
    again.send({ cmd: 'pubcomp', messageId })
    await turns()
    expect(settled()).toEqual(['received', 'accept'])
  })

  it('says PUBREL again to a PUBREC again, and to one of an unknown number', async () => {
    const { client, messageId } = await delivered()
    client.send({ cmd: 'pubrec', messageId })
    await client.next('pubrel')
    client.send({ cmd: 'pubrec', messageId })
    expect(await client.next('pubrel')).toMatchObject({ messageId })
    client.send({ cmd: 'pubrec', messageId: 4_000 })
    expect(await client.next('pubrel')).toMatchObject({ messageId: 4_000, reasonCode: 0x92 })
    expect(settled()).toEqual(['received'])
  })

  it('is over when the client refuses it', async () => {
    const { client, messageId } = await delivered()
    client.send({ cmd: 'pubrec', messageId, reasonCode: 0x83 })
    await turns()
    expect(settled()).toEqual(['accept'])
    expect(client.here()).toEqual([])
  })

  it('is not freed by PUBACK', async () => {
    const { client, messageId } = await delivered(4)
    client.send({ cmd: 'puback', messageId })
    await turns()
    expect(settled()).toEqual([])
  })
})

describe('the window', () => {
  const fill = async (client: TestClient, count: number) => {
    await client.subscribe('a', 1)
    for (let n = 0; n < count; n++) await store(String(n))
    await turns(20)
    return client.here()
  }

  it('is the client’s receive maximum, refilled by its answers', async () => {
    const client = await enter(5, { properties: { receiveMaximum: 2 } })
    const [first, second, ...more] = await fill(client, 5)
    expect([first?.cmd, second?.cmd, more]).toEqual(['publish', 'publish', []])
    client.send({ cmd: 'puback', messageId: first!.messageId! })
    await client.next('publish')
    await turns()
    expect(client.here()).toEqual([])
  })

  it('has a bound of its own', async () => {
    expect(await fill(await enter(5), WINDOW_MAX + 10)).toHaveLength(WINDOW_MAX)
    expect(await fill(await enter(4, { clientId: 'four' }), 110)).toHaveLength(100)
  })

  it('does not hold QoS 0 back for long', async () => {
    const client = await enter(5, { properties: { receiveMaximum: 1 } })
    await client.subscribe('a', 0)
    for (let n = 0; n < 5; n++) await store(String(n))
    for (let n = 0; n < 5; n++) expect((await client.next('publish')).payload.toString()).toBe(String(n))
  })

  it('closes when bytes without an answer reach their bound', async () => {
    gateway.close()
    gateway = fakeGateway({ limits: { outboundBytes: 64 * 1024 } })
    const client = await enter(5)
    await client.subscribe('a', 1)
    for (let n = 0; n < 100; n++) await store(Buffer.alloc(8 * 1024))
    await turns(30)
    const here = client.here()
    expect(here.length).toBeLessThan(50)
    for (const { messageId } of here) client.send({ cmd: 'puback', messageId: messageId! })
    await client.next('publish')
  })
})

describe('a delivery', () => {
  it('that is too large for its client is dropped as if it had been delivered', async () => {
    const client = await enter(5, { properties: { maximumPacketSize: 300 } })
    await client.subscribe('a', 1)
    await store('x'.repeat(300))
    await store('small')
    expect((await client.next('publish')).payload.toString()).toBe('small')
    await turns()
    expect(settled()).toEqual(['accept'])
    expect(gateway.losses).toContainEqual({ from: 'remoting', to: 'mqtt5', field: 'body' })
  })

  it('that no PUBLISH can carry is dropped and counted', async () => {
    const client = await enter(4)
    await client.subscribe('#', 1)
    await store('x', { path: 'a+b' })
    await store('y')
    expect((await client.next('publish')).payload.toString()).toBe('y')
    expect(gateway.losses).toContainEqual({ from: 'remoting', to: 'mqtt3', field: 'topic' })
  })

  it('counts what it lost on the way to 3.1.1', async () => {
    const client = await enter(4)
    await client.subscribe('a', 1)
    await store('x', { tag: 'blue' })
    await client.next('publish')
    expect(gateway.losses.map(({ field }) => field)).toContain('tag')
  })

  it('goes on when the broker has trouble, and ends when the inbox is another’s', async () => {
    const client = await enter(5)
    await client.subscribe('a', 1)
    gateway.failNext('pop', new Fault('unavailable', 'planted'))
    await store('x')
    await gateway.clock.pass(2_000)
    const publish = await client.next('publish')
    gateway.failNext('pop', new Fault('conflict', 'taken over'))
    client.send({ cmd: 'puback', messageId: publish.messageId! })
    await store('y')
    const last = await client.take('disconnect')
    expect(last.reasonCode).toBe(0x8e)
  })
})

describe('many retained messages', () => {
  it('come no faster than the client takes them', async () => {
    const writer = await enter(4, { clientId: 'writer' })
    for (let n = 1; n <= 300; n++) writer.publish(`kept/${n}`, String(n), 1, { messageId: n, retain: true })
    for (let n = 1; n <= 300; n++) await writer.next('puback')
    const client = await enter(5, { properties: { receiveMaximum: 20 } })
    await client.subscribe('kept/#', 1)
    const open: number[] = []
    const seen: string[] = []
    const take = async () => {
      const { payload, messageId, retain } = await client.next('publish')
      expect(retain).toBe(true)
      open.push(messageId!)
      seen.push(payload.toString())
    }
    for (let n = 0; n < 20; n++) await take()
    await turns()
    expect(client.here()).toEqual([])
    for (let left = 280; left > 0; left--) {
      client.send({ cmd: 'puback', messageId: open.shift()! })
      await take()
    }
    expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => String(n + 1)))
  })
})
