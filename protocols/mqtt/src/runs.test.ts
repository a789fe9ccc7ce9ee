import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { clientCodec, enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { mqtt } from './index.ts'
import { RUN_MAX } from './runs.ts'

let gateway: FakeGateway
let protocol = mqtt()
beforeEach(() => {
  gateway = fakeGateway()
  protocol = mqtt({ receiveMaximum: 1_000 })
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const enter = async (version: Version = 5) => (await enterAt(protocol, gateway, version)).client
/** Sends all of them in one piece. */
const atOnce = (client: TestClient, packets: readonly Packet[]): void => {
  const codec = clientCodec(client.version)
  client.wire.write(Buffer.concat(packets.map((packet) => codec.encode(packet) as Buffer)))
}
let ids = 0
const publish = (topic: string, payload: string, qos: 0 | 1 | 2 = 0): IPublishPacket => {
  const packet = { cmd: 'publish' as const, topic, payload, qos, dup: false, retain: false }
  return qos > 0 ? { ...packet, messageId: ++ids } : packet
}
const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n))
/** Bodies by command. */
const commands = () =>
  gateway.of('publish').map(({ messages }) => messages.map(({ body }) => body.toString()).join(' '))
const said = (client: TestClient) => client.here().map(({ cmd, messageId }) => `${cmd} ${messageId}`)
beforeEach(() => {
  ids = 0
})

describe('what comes in one read', () => {
  it('is stored by one command as long as topic and QoS stay, in order', async () => {
    const client = await enter()
    atOnce(client, [
      publish('a', '1'),
      publish('a/b', '2'),
      publish('b', '3'),
      publish('b', '4', 1),
      publish('b/c', '5', 1),
      publish('b', '6', 2),
      publish('b', '7', 1),
      publish('a', '8'),
    ])
    await turns()
    expect(commands()).toEqual(['1 2', '3', '4 5', '6', '7', '8'])
    expect(gateway.of('publish').map(({ oneway }) => oneway)).toEqual([true, true, false, false, false, true])
    expect(said(client)).toEqual(['puback 1', 'puback 2', 'pubrec 3', 'puback 4'])
  })

  it(`is stored by more than one command above ${RUN_MAX} messages`, async () => {
    const client = await enter(4)
    const many = numbers(RUN_MAX + 1)
    atOnce(
      client,
      many.map((n) => publish('a', n, 1)),
    )
    await turns()
    expect(gateway.of('publish').map(({ messages }) => messages.length)).toEqual([RUN_MAX, 1])
    expect(said(client)).toEqual(many.map((_, n) => `puback ${n + 1}`))
  })

  it('stands before the SUBSCRIBE and the DISCONNECT that came behind it', async () => {
    const client = await enter()
    const subscribe: Packet = { cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'a', qos: 0 }] }
    atOnce(client, [publish('a', '1'), subscribe, publish('a', '2'), { cmd: 'disconnect' }])
    await turns()
    const kinds = gateway.commands.map(({ command: { kind } }) => kind).filter((kind) => kind !== 'pop')
    expect(kinds).toEqual(['open', 'publish', 'bind', 'publish', 'leave'])
    expect(commands()).toEqual(['1', '2'])
  })

  it('is answered one by one: a refusal is that message’s own', async () => {
    const client = await enter()
    const stored = { id: 'x', queue: { topic: 'a', node: 'n', index: 0 }, offset: 0, place: 0 }
    gateway.answer('publish', () => ({ stored: [stored, new Fault('forbidden', 'planted'), stored] }))
    atOnce(client, [publish('a', '1', 1), publish('a', '2', 1), publish('a', '3', 1)])
    await turns()
    const codes = client.here().map((packet) => 'reasonCode' in packet && packet.reasonCode)
    expect(codes).toEqual([0, 0x87, 0])
  })

  it('is refused as a whole where the command is', async () => {
    const client = await enter()
    gateway.failNext('publish', new Fault('unavailable', 'planted'))
    atOnce(client, [publish('a', '1', 1), publish('a', '2', 1), publish('b', '3', 1)])
    await turns()
    const codes = client.here().map((packet) => 'reasonCode' in packet && packet.reasonCode)
    expect(codes).toEqual([0x83, 0x83, 0])
  })

  it('is stored message by message where it is over quota as a whole, in order, and what comes next waits', async () => {
    const client = await enter()
    gateway.failNext('publish', new Fault('throttled', 'planted', { retryAfter: 1_000 }), 2)
    atOnce(client, [publish('a', '1', 1), publish('a', '2', 1), publish('a', '3', 1)])
    await turns()
    atOnce(client, [publish('a', '4', 1)])
    await gateway.clock.pass(1_500)
    expect(said(client)).toEqual([])
    await gateway.clock.pass(1_000)
    await turns()
    expect(commands()).toEqual(['1 2 3', '1', '1', '2', '3', '4'])
    expect(said(client)).toEqual(['puback 1', 'puback 2', 'puback 3', 'puback 4'])
    expect(gateway.messages('a').map(({ body }) => body.toString())).toEqual(['1', '2', '3', '4'])
  })

  it('with what is no message among it keeps its order', async () => {
    const client = await enter()
    atOnce(client, [publish('a', '1', 1), publish('$SYS/x', '2', 1), publish('a', '3', 1)])
    await turns()
    expect(commands()).toEqual(['1', '3'])
    expect(said(client)).toEqual(['puback 1', 'puback 2', 'puback 3'])
  })
})
