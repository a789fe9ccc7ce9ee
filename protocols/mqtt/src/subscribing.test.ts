import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import type { IConnectPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { type MqttOptions, mqtt } from './index.ts'
import { SUBSCRIPTIONS_LENGTH_MAX, SUBSCRIPTIONS_MAX } from './subscribing.ts'

let gateway: FakeGateway
let protocol = mqtt()
const start = (options: MqttOptions = {}) => {
  gateway = fakeGateway()
  protocol = mqtt(options)
}
beforeEach(() => start())
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const enter = async (version: Version, more: Partial<IConnectPacket> = {}) =>
  (await enterAt(protocol, gateway, version, more)).client
const ask = async (client: TestClient, topics: readonly string[], qos: 0 | 1 | 2 = 1) => {
  client.send({ cmd: 'subscribe', messageId: 3, subscriptions: topics.map((topic) => ({ topic, qos })) })
  const { messageId, granted } = await client.take('suback')
  expect(messageId).toBe(3)
  return granted
}
const leave = async (client: TestClient, unsubscriptions: string[]) => {
  client.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions })
  return (await client.take('unsuback')).granted
}

describe('SUBSCRIBE', () => {
  it('to a filter that nobody may have is refused, and the others are not', async () => {
    start({ refusedFilters: ['no/body', '$share/g/#'] })
    for (const version of [4, 5] as const) {
      const client = await enter(version, { clientId: `c${version}` })
      expect(await ask(client, ['a', 'no/body', 'no/body/else', '$share/g/#', '#'])).toEqual([1, 0x80, 1, 0x80, 1])
    }
  })

  it('is answered with one code a filter, in order', async () => {
    const client = await enter(5)
    expect(await ask(client, ['a', '+/b', '#', '$SYS/#', '/x'], 2)).toEqual([2, 2, 2, 2, 2])
    expect(gateway.of('bind').flatMap(({ add }) => add.map(({ pattern, note }) => `${pattern} ${note}`))).toEqual([
      'a 2',
      '+/b 2w',
      '# 2w',
      'MQTT%%24SYS/# 2',
      'MQTT%/x 2',
    ])
  })

  it('refuses each filter for its own reason', async () => {
    start({ sharedSubscriptions: false })
    const { client: five, connack } = await enterAt(protocol, gateway, 5)
    expect(connack.properties?.sharedSubscriptionAvailable).toBe(false)
    gateway.answer('bind', ({ add }) => ({ granted: add.map(() => new Fault('forbidden', 'planted')), existed: [] }))
    expect(await ask(five, ['a', 'b#', '$share/g/a', '$share/x', ''])).toEqual([0x87, 0x8f, 0x9e, 0x8f, 0x8f])
    const four = await enter(4, { clientId: 'four' })
    expect(await ask(four, ['a', 'b#', '$share/g/a'])).toEqual([0x80, 0x80, 0x80])
  })

  it('refuses all of them when the broker fails', async () => {
    const client = await enter(5)
    gateway.failNext('bind', new Fault('throttled', 'planted'))
    expect(await ask(client, ['a', 'b'])).toEqual([0x97, 0x97])
    gateway.failNext('bind', new Fault('conflict', 'taken over'))
    client.send({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: 'a', qos: 1 }] })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x8e })
  })

  it('has a bound, in number and in length', async () => {
    const client = await enter(5)
    for (let from = 0; from < SUBSCRIPTIONS_MAX; from += 1_024) {
      const topics = Array.from({ length: 1_024 }, (_, n) => `t/${from + n}`)
      expect(new Set(await ask(client, topics))).toEqual(new Set([1]))
    }
    expect(await ask(client, ['t/0', 'one-more'])).toEqual([1, 0x97])
    await leave(client, ['t/1'])
    expect(await ask(client, ['one-more'])).toEqual([1])

    const long = await enter(5, { clientId: 'long' })
    const topic = (n: number) => `${n}/${'x'.repeat(60_000)}`
    const room = Math.floor(SUBSCRIPTIONS_LENGTH_MAX / 60_002)
    for (let n = 0; n < room; n++) expect(await ask(long, [topic(n)])).toEqual([1])
    expect(await ask(long, [topic(room)])).toEqual([0x97])
  })

  it('matches as MQTT does, whatever the first level', async () => {
    const client = await enter(5)
    await ask(client, ['+/1', '/lead/#', '$own/+', 'ä b/x'])
    for (const topic of ['a/1', '/1', '$own/1', '/lead', '/lead/er', 'ä b/x', 'ä b/1', '$SYS/1', 'other']) {
      client.publish(topic, topic)
    }
    await turns(20)
    const topics = client.here().map((packet) => 'topic' in packet && packet.topic)
    expect(topics).toEqual(['a/1', '/1', '$own/1', '/lead', '/lead/er', 'ä b/x', 'ä b/1'])
  })

  it('merges filters that overlap: one copy, the greatest QoS, all ids', async () => {
    const client = await enter(5)
    for (const [topic, qos, subscriptionIdentifier] of [
      ['a/#', 0, 5],
      ['a/+', 1, 6],
      ['#', 0, 7],
    ] as const) {
      client.send({
        cmd: 'subscribe',
        messageId: 3,
        subscriptions: [{ topic, qos }],
        properties: { subscriptionIdentifier },
      })
      await client.next('suback')
    }
    client.publish('a/b', 'x', 2, { messageId: 1 })
    const { qos, properties } = await client.take('publish')
    expect(qos).toBe(1)
    expect([...(properties!.subscriptionIdentifier as number[])].sort()).toEqual([5, 6, 7])
    await client.take('pubrec')
    await turns()
    expect(client.here()).toEqual([])
  })

  it('sends what is retained as it was asked for', async () => {
    const client = await enter(5)
    client.publish('a', 'kept', 1, { messageId: 1, retain: true })
    await client.next('puback')
    await ask(client, ['a'])
    expect(await client.take('publish')).toMatchObject({ retain: true })
    client.publish('a', 'live', 1, { messageId: 1, retain: true })
    expect(await client.take('publish')).toMatchObject({ retain: false })
    const rap = await enter(5, { clientId: 'rap' })
    await rap.subscribe('a', 1, { rap: true, rh: 2 })
    client.publish('a', 'live', 1, { messageId: 1, retain: true })
    expect(await rap.take('publish')).toMatchObject({ retain: true })
  })

  it('with No Local leaves out what is our own', async () => {
    const client = await enter(5)
    await client.subscribe('a', 1, { nl: true })
    client.publish('a', 'own')
    const other = await enter(5, { clientId: 'other' })
    other.publish('a', 'theirs')
    expect((await client.next('publish')).payload.toString()).toBe('theirs')
  })

  it('shared goes to one of those who share', async () => {
    const client = await enter(5, { clientId: 'a' })
    const other = await enter(5, { clientId: 'b' })
    expect([await client.subscribe('$share/g/t/#', 1), await other.subscribe('$share/g/t/#', 1)]).toEqual([1, 1])
    for (let n = 0; n < 10; n++) client.publish(`t/${n}`, String(n))
    await turns(30)
    expect(client.here().length + other.here().length).toBe(10)
  })
})

describe('UNSUBSCRIBE', () => {
  it('says what there was', async () => {
    const client = await enter(5)
    await ask(client, ['a', '/b'])
    expect(await leave(client, ['a', 'a', '/b', 'never', 'bad#'])).toEqual([0, 0x11, 0, 0x11, 0x8f])
    client.publish('a', 'x')
    await turns()
    expect(client.here()).toEqual([])
    const four = await enter(4, { clientId: 'four' })
    await leave(four, ['never'])
  })

  it('that fails is told in MQTT 5, and ends a connection of 3.1.1', async () => {
    const five = await enter(5)
    gateway.failNext('bind', new Fault('throttled', 'planted'))
    expect(await leave(five, ['a'])).toEqual([0x83])
    const four = await enter(4, { clientId: 'four' })
    gateway.failNext('bind', new Fault('throttled', 'planted'))
    four.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['a'] })
    expect((await four.wire.rest()).length).toBe(0)
  })

  it('finishes what is on its way', async () => {
    const client = await enter(5)
    await ask(client, ['a'])
    client.publish('a', 'x', 1, { messageId: 1 })
    const { messageId } = await client.take('publish')
    await leave(client, ['a'])
    client.send({ cmd: 'puback', messageId: messageId! })
    await turns()
    expect(gateway.of('settle')).toHaveLength(1)
  })
})
