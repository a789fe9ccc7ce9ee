import { createHmac } from 'node:crypto'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enter as enterAt, type Version } from '../test/client.ts'
import mqtt, { type MqttOptions } from './index.ts'

let gateway: FakeGateway
let protocol = mqtt()
const start = (options: MqttOptions, more: FakeGatewayOptions = {}) => {
  gateway = fakeGateway(more) as FakeGateway
  protocol = mqtt(options)
}
beforeEach(() => start({ apsara: true }))
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})
const enter = (version: Version, clientId: string, more: object = {}) =>
  enterAt(protocol, gateway, version, { clientId, ...more })

describe('client ids', () => {
  it('are GID_group@@@device', async () => {
    for (const clientId of ['GID_pumps@@@p-1', 'GID-pumps@@@1@@@2', `GID_x@@@${'d'.repeat(56)}`]) {
      expect((await enter(5, clientId)).connack.reasonCode).toBe(0)
    }
    for (const clientId of ['pump', 'GID_@@@', 'GID_pumps@@@', 'gid_pumps@@@1', `GID_x@@@${'d'.repeat(57)}`]) {
      expect((await enter(5, clientId)).connack.reasonCode).toBe(0x85)
      expect((await enter(4, clientId)).connack.returnCode).toBe(2)
    }
  })

  it('are anything where nobody asked for the conventions', async () => {
    start({})
    expect((await enter(5, 'pump')).connack.reasonCode).toBe(0)
  })
})

describe('credentials', () => {
  const clientId = 'GID_pumps@@@1'
  const sign = (secret: string, text = clientId) =>
    Buffer.from(createHmac('sha1', secret).update(text).digest('base64'))

  it('sign the client id', async () => {
    start({ apsara: true }, { users: { key: 'secret' } })
    for (const kind of ['Signature', 'DeviceCredential']) {
      const right = { username: `${kind}|key|post-cn-x`, password: sign('secret') }
      expect((await enter(5, clientId, right)).connack.reasonCode).toBe(0)
      expect((await enter(4, clientId, right)).connack.returnCode).toBe(0)
      expect((await enter(5, clientId, { ...right, password: sign('guess') })).connack.reasonCode).toBe(0x86)
      expect((await enter(5, 'GID_pumps@@@2', right)).connack.reasonCode).toBe(0x86)
    }
    const plain = { username: 'key', password: Buffer.from('secret') }
    expect((await enter(5, clientId, plain)).connack.reasonCode).toBe(0)
  })
})

describe('{parent}/p2p/{client id}', () => {
  it.each([4, 5] as const)('goes to that client alone, without a subscription (MQTT %i)', async (version) => {
    const { client: one } = await enter(version, 'GID_a@@@1')
    const { client: two } = await enter(version, 'GID_a@@@2')
    await one.subscribe('#', 0)
    two.publish('parent/p2p/GID_a@@@2', 'to myself', 1, { messageId: 1 })
    await two.take('puback')
    one.publish('parent/p2p/GID_a@@@2/', 'hello', 1, { messageId: 1 })
    await one.next('puback')
    const [first, second] = [await two.take('publish'), await two.take('publish')]
    expect([first, second]).toMatchObject([
      { topic: 'parent/p2p/GID_a@@@2', payload: Buffer.from('to myself'), qos: 1 },
      { topic: 'parent/p2p/GID_a@@@2/', payload: Buffer.from('hello'), qos: 1 },
    ])
    await turns()
    expect(one.here()).toEqual([])
  })

  it('is published as any other where nobody asked for the conventions', async () => {
    start({})
    const { client } = await enter(5, 'a')
    client.publish('parent/p2p/b', 'x', 1, { messageId: 1 })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0 })
    expect(gateway.messages('parent')).toHaveLength(1)
  })

  it('to nobody is told as that, in MQTT 5', async () => {
    const { client } = await enter(5, 'GID_a@@@1')
    client.publish('parent/p2p/GID_a@@@9', 'x', 1, { messageId: 1 })
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x10 })
    client.publish('parent/p2p/GID_a@@@9', 'x', 2, { messageId: 2 })
    expect(await client.next('pubrec')).toMatchObject({ reasonCode: 0x10 })
    client.send({ cmd: 'pubrel', messageId: 2 })
    expect(await client.next('pubcomp')).toMatchObject({ reasonCode: 0 })
    client.publish('parent/p2p/GID_a@@@9', 'x')
    const { client: four } = await enter(4, 'GID_a@@@4')
    four.publish('parent/p2p/GID_a@@@9', 'x', 1, { messageId: 1 })
    await four.next('puback')
  })
})
