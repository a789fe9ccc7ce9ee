import type { Protocol } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { SHAPES_MAX, withId } from './encodings.ts'
import { createHouse, type House } from './house.ts'
import mqtt, { type MqttOptions } from './index.ts'
import { toSettings } from './options.ts'
import { startServer } from './server.ts'

let gateway: FakeGateway
let house: House
let protocol: Protocol
const start = (options: MqttOptions = {}) => {
  gateway = fakeGateway()
  house = createHouse(gateway, toSettings(options, gateway.limits))
  protocol = { ...mqtt(), start: (of) => startServer(of, house) }
}
beforeEach(() => start())
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})
let ids = 0
const enter = async (version: Version, properties: object = {}) =>
  (await enterAt(protocol, gateway, version, { clientId: `c${++ids}`, ...(version === 5 && { properties }) })).client

describe('one message to many sessions', () => {
  it('is encoded once for each version and QoS, however many there are', async () => {
    const readers: TestClient[] = []
    for (let n = 0; n < 1_000; n++) {
      const reader = await enter(n % 2 === 0 ? 4 : 5)
      expect(await reader.subscribe('a/+', n % 4 < 2 ? 0 : 1)).toBeLessThan(2)
      readers.push(reader)
    }
    const writer = await enter(5)
    writer.publish('a/b', 'x', 1, { messageId: 1, properties: { userProperties: { color: 'red' } } })
    const seen = await Promise.all(readers.map((reader) => reader.next('publish')))
    expect(house.encodings.count).toBe(4)
    expect(house.tally.sent).toBe(1_000)
    expect(new Set(seen.map(({ topic, payload }) => `${topic} ${payload}`))).toEqual(new Set(['a/b x']))
    expect(seen.filter(({ qos }) => qos === 1)).toHaveLength(500)
    for (const { qos, messageId } of seen) expect(messageId !== undefined).toBe(qos === 1)
  })

  it('has each reader’s own packet id, subscription identifiers and retained flag', async () => {
    const [one, two, three] = [await enter(5), await enter(5), await enter(5)]
    await one.subscribe('a', 1)
    two.publish('a', 'first', 1, { messageId: 1, retain: true })
    expect((await one.next('publish')).messageId).toBe(1)
    two.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: 'a', qos: 1, rh: 2 }],
      properties: { subscriptionIdentifier: 7 },
    } as never)
    await two.take('suback')
    await three.subscribe('a', 1)
    expect(await three.next('publish')).toMatchObject({ messageId: 1, retain: true })
    two.publish('a', 'second', 1, { messageId: 2 })
    expect(await one.next('publish')).toMatchObject({ messageId: 2, retain: false })
    expect(await two.take('publish')).toMatchObject({ messageId: 1, properties: { subscriptionIdentifier: 7 } })
    expect(await three.next('publish')).toMatchObject({ messageId: 2 })
  })

  it('keeps so many shapes of it and no more', async () => {
    const readers: TestClient[] = []
    for (let id = 1; id <= 2 * SHAPES_MAX; id++) {
      const reader = await enter(5)
      reader.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 'a', qos: 0 }],
        properties: { subscriptionIdentifier: (id % (SHAPES_MAX + 1)) + 1 },
      } as never)
      await reader.next('suback')
      readers.push(reader)
    }
    readers[0]!.publish('a', 'x')
    for (const reader of readers) await reader.next('publish')
    expect(house.encodings.count).toBeGreaterThan(SHAPES_MAX)
    expect(house.encodings.count).toBeLessThan(2 * SHAPES_MAX)
  })

  it('with a long payload shares it', () => {
    const payload = Buffer.alloc(200)
    const head = Buffer.from('3281010001610001', 'hex')
    const [copy, rest] = withId([head, payload], 0x1234)
    expect(copy?.toString('hex')).toBe('3281010001611234')
    expect(rest).toBe(payload)
    expect(head.toString('hex')).toBe('3281010001610001')
  })
})

describe('topic aliases towards a client', () => {
  const take = async (client: TestClient) => {
    const { topic, properties } = await client.next('publish')
    return [topic, properties?.topicAlias]
  }

  it('are told with the first PUBLISH of a topic, whatever its QoS, and stand for it from then on', async () => {
    const client = await enter(5, { topicAliasMaximum: 1 })
    await client.subscribe('#', 2)
    const writer = await enter(5)
    writer.publish('a/b', '0', 0)
    writer.publish('a/b', '1', 1, { messageId: 1 })
    writer.publish('a/b', '2', 2, { messageId: 2 })
    writer.publish('other', '3', 0)
    expect(await take(client)).toEqual(['a/b', 1])
    expect(await take(client)).toEqual(['', 1])
    expect(await take(client)).toEqual(['a/b', 1])
    expect(await take(client)).toEqual(['other', undefined])
  })

  it('are for those who take them, and no more than the server gives', async () => {
    start({ topicAliasesSent: 2 })
    const none = await enter(5)
    const many = await enter(5, { topicAliasMaximum: 65_535 })
    for (const client of [none, many]) await client.subscribe('+', 0)
    for (const topic of ['a', 'b', 'c', 'a']) none.publish(topic, 'x')
    for (const topic of ['a', 'b', 'c', 'a']) expect(await take(none)).toEqual([topic, undefined])
    for (const one of [
      ['a', 1],
      ['b', 2],
      ['c', undefined],
      ['', 1],
    ])
      expect(await take(many)).toEqual(one)
  })

  it('end with the connection', async () => {
    const more = { clientId: 'same', clean: false, properties: { topicAliasMaximum: 5, sessionExpiryInterval: 60 } }
    const { client } = await enterAt(protocol, gateway, 5, more)
    await client.subscribe('a', 0)
    client.publish('a', 'x')
    expect(await take(client)).toEqual(['a', 1])
    const again = (await enterAt(protocol, gateway, 5, more)).client
    again.publish('a', 'x')
    expect(await take(again)).toEqual(['a', 1])
  })

  it('are left out where they make a packet too large, and are not taken for known', async () => {
    const plain = 2 + 2 + 1 + 1 + 10
    const client = await enter(5, { topicAliasMaximum: 5, maximumPacketSize: plain })
    await client.subscribe('a', 0)
    client.publish('a', 'x'.repeat(10))
    client.publish('a', 'y')
    client.publish('a', 'z')
    expect(await take(client)).toEqual(['a', undefined])
    expect(await take(client)).toEqual(['a', 1])
    expect(await take(client)).toEqual(['', 1])
    await turns()
  })
})
