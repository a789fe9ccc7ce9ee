import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import mqtt, { type MqttOptions } from './index.ts'

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
let ids = 0
const enter = async (version: Version = 5, more: object = {}) =>
  (await enterAt(protocol, gateway, version, { clientId: `c${++ids}`, ...more })).client
const values = async (client: TestClient, count: number) => {
  const seen: Record<string, string> = {}
  for (let n = 0; n < count; n++) {
    const { topic, payload, qos } = await client.take('publish')
    expect(qos).toBe(0)
    seen[topic] = payload.toString()
  }
  return seen
}

describe('$SYS', () => {
  it('is told to nobody who does not ask', async () => {
    const client = await enter()
    await client.subscribe('#', 0)
    await gateway.clock.pass(120_000)
    expect(gateway.of('publish')).toEqual([])
  })

  it('tells who asks about this gateway, then what has changed', async () => {
    const client = await enter()
    await client.subscribe('$SYS/broker/#', 2)
    client.publish('a', 'x', 1, { messageId: 1 })
    await client.take('puback')
    expect(await values(client, 5)).toEqual({
      '$SYS/broker/uptime': '0 seconds',
      '$SYS/broker/clients/connected': '1',
      '$SYS/broker/clients/maximum': '1',
      '$SYS/broker/publish/messages/received': '0',
      '$SYS/broker/publish/messages/sent': '0',
    })
    await gateway.clock.pass(60_000)
    expect(await values(client, 3)).toEqual({
      '$SYS/broker/uptime': '60 seconds',
      '$SYS/broker/publish/messages/received': '1',
      '$SYS/broker/publish/messages/sent': '5',
    })
    const later = await enter()
    await later.subscribe('$SYS/broker/clients/connected', 0)
    expect(await later.next('publish')).toMatchObject({ payload: Buffer.from('1'), retain: true })
    await gateway.clock.pass(60_000)
    expect(await later.next('publish')).toMatchObject({ payload: Buffer.from('2'), retain: false })
  })

  it('goes on for a session that asked before this process was there', async () => {
    const kept = { clientId: 'kept', clean: false, properties: { sessionExpiryInterval: 600 } }
    const client = await enter(5, kept)
    await client.subscribe('$SYS/#', 0)
    await values(client, 5)
    await (await serverOf(protocol, gateway)).close()
    protocol = mqtt()
    const again = await enter(5, kept)
    expect(Object.keys(await values(again, 5))).toContain('$SYS/broker/uptime')
  })

  it('may be turned off', async () => {
    start({ systemSeconds: 0 })
    const client = await enter()
    await client.subscribe('$SYS/#', 0)
    await gateway.clock.pass(120_000)
    expect(gateway.of('publish')).toEqual([])
  })

  it('is not for clients to publish to, nor their wills', async () => {
    const five = await enter()
    five.publish('$SYS/broker/uptime', 'x', 1, { messageId: 1 })
    expect(await five.next('puback')).toMatchObject({ reasonCode: 0x87 })
    const four = await enter(4)
    four.publish('$SYS', 'x', 1, { messageId: 1 })
    await four.next('puback')
    five.publish('$SYSTEM', 'x', 1, { messageId: 1 })
    expect(await five.next('puback')).toMatchObject({ reasonCode: 0 })
    expect(gateway.of('publish')).toHaveLength(1)
    const will = { topic: '$SYS/x', payload: Buffer.from('x'), qos: 0 as const, retain: false }
    expect((await enterAt(protocol, gateway, 5, { will })).connack.reasonCode).toBe(0x87)
    expect((await enterAt(protocol, gateway, 4, { will })).connack.returnCode).toBe(5)
  })

  it('that cannot be stored is told later', async () => {
    gateway.failNext('publish', new Fault('unavailable', 'planted'))
    const client = await enter()
    await client.subscribe('$SYS/#', 0)
    await turns()
    expect(gateway.logs.map(({ event }) => event)).toContain('sys.notTold')
    await gateway.clock.pass(60_000)
    expect(Object.keys(await values(client, 5))).toContain('$SYS/broker/uptime')
  })
})
