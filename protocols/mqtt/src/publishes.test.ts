import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, fakePeer, serverOf, turns } from '@sluice/testkit'
import type { IConnectPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { mqtt } from './index.ts'
import { INCOMING_MAX } from './publishes.ts'
import { QUOTA_WAIT } from './quota.ts'

let gateway: FakeGateway
let protocol = mqtt()
beforeEach(() => {
  gateway = fakeGateway()
  protocol = mqtt({ receiveMaximum: 5 })
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const enter = async (version: Version, more: Partial<IConnectPacket> = {}) =>
  (await enterAt(protocol, gateway, version, more)).client
const rest = async (client: TestClient) => (await client.wire.rest()).toString('hex')
const texts = (topic = 'a') => gateway.messages(topic).map(({ body }) => body.toString())
const kept = { clean: false, properties: { sessionExpiryInterval: 60 } }

describe('QoS 0', () => {
  it('goes on its way without an answer', async () => {
    const client = await enter(5)
    client.publish('a', 'x')
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    await turns()
    expect(texts()).toEqual(['x'])
    expect(gateway.of('publish')).toMatchObject([{ oneway: true }])
  })

  it('that is refused is dropped, and said once in the log', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('forbidden', 'planted'), 3)
    for (let n = 0; n < 3; n++) client.publish('a', 'x')
    client.publish('a/'.repeat(200), 'x')
    await turns()
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    expect(
      gateway.logs
        .filter(({ event }) => event === 'publish.refused')
        .map(({ fields }) => fields.code)
        .sort(),
    ).toEqual(['forbidden', 'invalid'])
  })
})

describe('QoS 1', () => {
  it('is acknowledged once it is stored', async () => {
    const client = await enter(5)
    const hold = gateway.hold('publish')
    client.publish('a', 'x', 1, { messageId: 7 })
    await turns()
    expect(client.here()).toEqual([])
    hold.release()
    expect(await client.next('puback')).toMatchObject({ messageId: 7, reasonCode: 0 })
  })

  it('is acknowledged in the order of arrival, with QoS 2 and PUBREL in one row', async () => {
    const client = await enter(5)
    const waiting: (() => void)[] = []
    const stored = { stored: [] }
    gateway.answer('publish', () => new Promise((resolve) => waiting.push(() => resolve(stored))))
    client.publish('a', '1', 1, { messageId: 1 })
    client.publish('a', '2', 2, { messageId: 2 })
    client.publish('a', '3', 1, { messageId: 3 })
    client.send({ cmd: 'pubrel', messageId: 4 })
    await turns()
    expect(client.here()).toEqual([])
    waiting[2]!()
    waiting[1]!()
    await turns()
    expect(client.here()).toEqual([])
    waiting[0]!()
    await turns()
    expect(client.here().map(({ cmd, messageId }) => `${cmd} ${messageId}`)).toEqual([
      'puback 1',
      'pubrec 2',
      'puback 3',
      'pubcomp 4',
    ])
  })

  it('is refused in words of MQTT 5, and the connection lives', async () => {
    const client = await enter(5)
    const codes = [
      ['forbidden', 0x87],
      ['topicNotFound', 0x90],
      ['throttled', 0x97],
      ['limit', 0x97],
      ['unavailable', 0x83],
      ['draining', 0x83],
    ] as const
    for (const [code, reason] of codes) {
      gateway.failNext('publish', new Fault(code, 'planted'))
      client.publish('a', 'x', 1, { messageId: 1 })
      expect(await client.next('puback')).toMatchObject({ reasonCode: reason, properties: { reasonString: 'planted' } })
    }
    gateway.failNext('publish', new Error('secret'))
    client.publish('a', 'x', 1, { messageId: 1 })
    const internal = await client.next('puback')
    expect(internal).toMatchObject({ reasonCode: 0x80 })
    expect(internal.properties).toBeUndefined()
    client.publish('a/'.repeat(200), 'x', 1, { messageId: 1 })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x90 })
    client.publish('a', Buffer.alloc(gateway.limits.bodyBytes + 1), 1, { messageId: 1 })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x97 })
    client.publish('a', Buffer.from([0xff]), 1, { messageId: 1, properties: { payloadFormatIndicator: true } })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x99 })
  })

  it('over quota waits for its answer, and all behind it, in order', async () => {
    for (const version of [4, 5] as const) {
      const client = await enter(version, { clientId: `quota${version}` })
      gateway.failNext('publish', new Fault('throttled', 'planted', { retryAfter: 1_000 }), 3)
      const asked = gateway.next('publish')
      client.publish('quota', '1', 1, { messageId: 1 })
      await asked
      await turns()
      client.publish('quota', '2', 1, { messageId: 2 })
      client.publish('quota', '3', 2, { messageId: 3 })
      await gateway.clock.pass(1_500)
      expect(client.here()).toEqual([])
      await gateway.clock.pass(2_000)
      expect([await client.next('puback'), await client.next('puback')]).toMatchObject([
        { messageId: 1 },
        { messageId: 2 },
      ])
      expect(await client.next('pubrec')).toMatchObject({ messageId: 3 })
    }
    const bodies = gateway.messages('quota').map(({ body }) => body.toString())
    expect(bodies).toEqual(['1', '2', '3', '1', '2', '3'])
  })

  it('over quota for too long is refused, and the next one goes through', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('throttled', 'planted', { retryAfter: 1_000 }), 6)
    const asked = gateway.next('publish')
    client.publish('a', '1', 1, { messageId: 1 })
    await asked
    await turns()
    client.publish('a', '2', 1, { messageId: 2 })
    await gateway.clock.pass(QUOTA_WAIT + 500)
    expect(await client.next('puback')).toMatchObject({ messageId: 1, reasonCode: 0x97 })
    expect(await client.next('puback')).toMatchObject({ messageId: 2, reasonCode: 0 })
  })

  it('that waits for its quota does not keep its connection', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('throttled', 'planted', { retryAfter: 4_000 }))
    const asked = gateway.next('publish')
    client.publish('a', '1', 1, { messageId: 1 })
    await asked
    client.wire.destroy()
    await turns(20)
    expect(gateway.sessions.size).toBe(0)
    expect(gateway.messages('a')).toEqual([])
  })

  it('to a reply address that is an inbox goes there alone', async () => {
    const who = { protocol: 'amqp', client: 'asker', language: '', version: 1, peer: fakePeer() }
    const session = await gateway.admit(who, async () => undefined)
    const context = () => gateway.context(session, 1_000)
    await gateway.handle({ kind: 'open', inbox: 'amqp/reply', fresh: true, expiry: 0 }, context())
    const [responder, other] = [await enter(5), await enter(5, { clientId: 'other' })]
    await responder.subscribe('questions', 1)
    await other.subscribe('#', 1)
    const question = { topic: 'questions', body: Buffer.from('?'), properties: {}, replyTo: '%INBOX%amqp/reply' }
    await gateway.handle({ kind: 'publish', messages: [question], oneway: false }, context())
    const { properties } = await responder.next('publish')
    expect(properties?.responseTopic).toBe('%INBOX%amqp/reply')
    responder.publish(properties!.responseTopic!, '!', 1, { messageId: 1 })
    expect(await responder.next('puback')).toMatchObject({ reasonCode: 0 })
    expect(gateway.of('publish').at(-1)?.into).toEqual({ inbox: 'amqp/reply' })
    responder.publish('%INBOX%amqp/nobody', '!', 1, { messageId: 1 })
    expect(await responder.next('puback')).toMatchObject({ reasonCode: 0x10 })
    expect(await other.next('publish')).toMatchObject({ topic: 'questions' })
    expect(other.here()).toEqual([])
  })

  it('is refused without words where the client wants none', async () => {
    for (const properties of [{ requestProblemInformation: false }, { maximumPacketSize: 100 }]) {
      const client = await enter(5, { properties })
      gateway.failNext('publish', new Fault('forbidden', 'planted'))
      client.publish('a', 'x', 1, { messageId: 1 })
      expect(await client.next('puback')).not.toHaveProperty('properties')
    }
  })

  it('is never said to be refused when nobody knows: the connection ends', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('outcomeUnknown', 'planted'))
    client.publish('a', 'x', 1, { messageId: 1 })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x89 })
    expect(await rest(client)).toBe('')
  })

  it('of 3.1.1: what passes ends the connection without PUBACK, after the answers before it', async () => {
    const client = await enter(4)
    const hold = gateway.hold('publish')
    client.publish('a', 'x', 1, { messageId: 1 })
    await turns()
    gateway.failNext('publish', new Fault('unavailable', 'planted'))
    client.publish('a', 'y', 1, { messageId: 2 })
    client.publish('a', 'z', 1, { messageId: 3 })
    await turns()
    expect(client.here()).toEqual([])
    hold.release()
    expect(await client.next('puback')).toMatchObject({ messageId: 1 })
    expect(await rest(client)).toBe('')
  })

  it('of 3.1.1: what is refused for good is dropped and acknowledged', async () => {
    const client = await enter(4)
    gateway.failNext('publish', new Fault('topicNotFound', 'planted'), 2)
    client.publish('a', 'x', 1, { messageId: 1 })
    await client.next('puback')
    client.publish('a', 'x', 2, { messageId: 2 })
    await client.next('pubrec')
    client.send({ cmd: 'pubrel', messageId: 2 })
    await client.next('pubcomp')
    expect(texts()).toEqual([])
    expect(gateway.of('settle')).toEqual([])
  })

  it('is looked at one message at a time: a refusal inside of the reply counts', async () => {
    const client = await enter(5)
    gateway.answer('publish', () => ({ stored: [new Fault('forbidden', 'planted')] }))
    client.publish('a', 'x', 1, { messageId: 1 })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
  })
})

describe('QoS 2', () => {
  it('is stored once, under the client’s number', async () => {
    const client = await enter(5)
    client.publish('a', 'x', 2, { messageId: 9 })
    expect(await client.next('pubrec')).toMatchObject({ messageId: 9 })
    client.publish('a', 'x', 2, { messageId: 9, dup: true })
    expect(await client.next('pubrec')).toMatchObject({ messageId: 9 })
    client.send({ cmd: 'pubrel', messageId: 9 })
    expect(await client.next('pubcomp')).toMatchObject({ messageId: 9, reasonCode: 0 })
    expect(texts()).toEqual(['x'])
    expect(gateway.of('publish')).toMatchObject([{ once: { inbox: 'mqtt/one', way: 'in', slot: 9 } }])
    client.publish('a', 'next', 2, { messageId: 9 })
    await client.next('pubrec')
    expect(texts()).toEqual(['x', 'next'])
  })

  it('survives the connection', async () => {
    const first = await enter(5, kept)
    first.publish('a', 'x', 2, { messageId: 9 })
    await first.next('pubrec')
    first.wire.destroy()
    const second = await enter(5, kept)
    second.publish('a', 'x', 2, { messageId: 9, dup: true })
    await second.next('pubrec')
    second.send({ cmd: 'pubrel', messageId: 9 })
    expect(await second.next('pubcomp')).toMatchObject({ reasonCode: 0 })
    expect(texts()).toEqual(['x'])
  })

  it('whose PUBREC was lost on the way is stored once all the same', async () => {
    const first = await enter(4, { clean: false })
    const hold = gateway.hold('publish')
    const publish = gateway.next('publish')
    first.publish('a', 'x', 2, { messageId: 9 })
    await publish
    first.wire.destroy()
    hold.release()
    const second = await enter(4, { clean: false })
    second.publish('a', 'x', 2, { messageId: 9, dup: true })
    await second.next('pubrec')
    expect(texts()).toEqual(['x'])
  })

  it('has no PUBREC while it is being stored, however often it is sent', async () => {
    const client = await enter(4)
    const hold = gateway.hold('publish')
    client.publish('a', 'x', 2, { messageId: 9 })
    client.publish('a', 'x', 2, { messageId: 9, dup: true })
    await turns()
    hold.release()
    await client.next('pubrec')
    await turns()
    expect(client.here()).toEqual([])
    expect(gateway.of('publish')).toHaveLength(1)
  })

  it('that is refused may be tried again under its number', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('throttled', 'planted'))
    client.publish('a', 'x', 2, { messageId: 9 })
    expect(await client.next('pubrec')).toMatchObject({ reasonCode: 0x97 })
    client.publish('a', 'x', 2, { messageId: 9 })
    expect(await client.next('pubrec')).toMatchObject({ reasonCode: 0 })
  })

  it('has a PUBCOMP for every PUBREL', async () => {
    const five = await enter(5, { clientId: 'five' })
    five.send({ cmd: 'pubrel', messageId: 77 })
    expect(await five.next('pubcomp')).toMatchObject({ messageId: 77, reasonCode: 0x92 })
    const four = await enter(4, { clientId: 'four' })
    four.send({ cmd: 'pubrel', messageId: 77 })
    expect(await four.next('pubcomp')).toMatchObject({ messageId: 77 })
  })

  it('whose PUBCOMP was lost gets another one, and is not taken for a mistake', async () => {
    const kept = { clean: false, properties: { sessionExpiryInterval: 60 } }
    const client = await enter(5, kept)
    client.publish('a', 'x', 2, { messageId: 9 })
    await client.next('pubrec')
    client.send({ cmd: 'pubrel', messageId: 9 })
    await client.next('pubcomp')
    client.wire.destroy()
    const again = await enter(5, kept)
    again.send({ cmd: 'pubrel', messageId: 9 })
    expect(await again.next('pubcomp')).toMatchObject({ messageId: 9, reasonCode: 0 })
    expect(texts()).toEqual(['x'])
  })

  it('whose end is not stored has none: the client comes back for it', async () => {
    const client = await enter(5)
    client.publish('a', 'x', 2, { messageId: 9 })
    await client.next('pubrec')
    gateway.failNext('settle', new Fault('unavailable', 'planted'))
    client.send({ cmd: 'pubrel', messageId: 9 })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x89 })
  })

  it('of a session that is another’s by now ends the connection', async () => {
    const client = await enter(5)
    gateway.failNext('publish', new Fault('conflict', 'taken over'))
    client.publish('a', 'x', 2, { messageId: 9 })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x8e })
  })
})

describe('the receive maximum', () => {
  it('counts QoS 1 and 2 together, until PUBACK and PUBCOMP', async () => {
    const client = await enter(5)
    for (let messageId = 1; messageId <= 4; messageId++) client.publish('a', 'x', 2, { messageId })
    for (let n = 0; n < 4; n++) await client.next('pubrec')
    for (let n = 0; n < 3; n++) {
      client.publish('a', 'x', 1, { messageId: 9 })
      await client.next('puback')
    }
    client.send({ cmd: 'pubrel', messageId: 1 })
    await client.next('pubcomp')
    client.publish('a', 'x', 2, { messageId: 1 })
    client.publish('a', 'x', 2, { messageId: 10 })
    client.publish('a', 'x', 0)
    await client.next('pubrec')
    await client.next('pubrec')
    client.publish('a', 'x', 2, { messageId: 11 })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x93 })
    expect(await rest(client)).toBe('')
  })

  it('is refilled by a refusal', async () => {
    const client = await enter(5)
    for (let n = 0; n < 8; n++) {
      gateway.failNext('publish', new Fault('forbidden', 'planted'))
      client.publish('a', 'x', 2, { messageId: 1 })
      await client.next('pubrec')
    }
  })

  it('is nothing that 3.1.1 knows, but numbers without PUBREL have a bound', async () => {
    const client = await enter(4)
    for (let messageId = 1; messageId <= INCOMING_MAX; messageId++) {
      client.publish('a', 'x', 2, { messageId })
      await client.next('pubrec')
    }
    client.publish('a', 'x', 2, { messageId: INCOMING_MAX + 1 })
    expect(await rest(client)).toBe('')
  })
})

describe('a topic alias', () => {
  it('stands for its topic, and may be given another', async () => {
    const client = await enter(5)
    client.publish('a/1', 'x', 0, { properties: { topicAlias: 1 } })
    client.publish('', 'y', 0, { properties: { topicAlias: 1 } })
    client.publish('b', 'z', 0, { properties: { topicAlias: 1 } })
    client.publish('', 'z', 0, { properties: { topicAlias: 1 } })
    await turns()
    expect(gateway.messages('a').map(({ path, body }) => `${path} ${body}`)).toEqual(['1 x', '1 y'])
    expect(texts('b')).toEqual(['z', 'z'])
  })

  it('that is 0, too large or unknown ends the connection', async () => {
    for (const [topic, topicAlias, reason] of [
      ['a', 0, 0x94],
      ['a', 17, 0x94],
      ['', 3, 0x82],
    ] as const) {
      const client = await enter(5)
      client.publish(topic, 'x', 0, { properties: { topicAlias } })
      expect(await client.next('disconnect')).toMatchObject({ reasonCode: reason })
    }
  })
})
