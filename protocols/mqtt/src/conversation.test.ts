import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import type { IConnectPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectPacket, dial, enter as enterAt, type TestClient, type Version } from '../test/client.ts'
import { FIGHTS_MAX } from './clients.ts'
import { EARLY_MAX } from './conversation.ts'
import { type MqttOptions, mqtt } from './index.ts'

let gateway: FakeGateway
let protocol = mqtt()

const start = (options: MqttOptions = {}, more: Parameters<typeof fakeGateway>[0] = {}) => {
  gateway = fakeGateway(more) as FakeGateway
  protocol = mqtt(options)
}
beforeEach(() => start())
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const enter = (version: Version, more: Partial<IConnectPacket> = {}) => enterAt(protocol, gateway, version, more)
const raw = async (...hex: string[]) => {
  const client = await dial(protocol, gateway, 5)
  for (const one of hex) client.wire.write(one)
  return client
}
const rest = async (client: TestClient) => (await client.wire.rest()).toString('hex')
const connection = async () => [...(await serverOf(protocol, gateway)).connections()].at(-1)!

describe('CONNECT', () => {
  it('is answered first, with what is not the default', async () => {
    const { connack } = await enter(5, { properties: { sessionExpiryInterval: 0xffff_ffff } })
    expect(connack).toMatchObject({
      sessionPresent: false,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 7 * 24 * 3600,
        receiveMaximum: 1024,
        maximumPacketSize: gateway.limits.frameBytes,
        topicAliasMaximum: 16,
      },
    })
    expect(connack.properties).not.toHaveProperty('assignedClientIdentifier')
    expect(connack.properties).not.toHaveProperty('sharedSubscriptionAvailable')
    expect((await enter(4)).connack).toMatchObject({ sessionPresent: false, returnCode: 0 })
  })

  it('opens an inbox of the client id, for as long as the client asks', async () => {
    await enter(4, { clientId: 'a', clean: false })
    await enter(4, { clientId: 'b', clean: true })
    await enter(5, { clientId: 'c', clean: false, properties: { sessionExpiryInterval: 60 } })
    await enter(5, { clientId: 'd', clean: true })
    expect(gateway.of('open')).toMatchObject([
      { inbox: 'mqtt/a', fresh: false, expiry: 7 * 24 * 3600 * 1000 },
      { inbox: 'mqtt/b', fresh: true, expiry: 0 },
      { inbox: 'mqtt/c', fresh: false, expiry: 60_000 },
      { inbox: 'mqtt/d', fresh: true, expiry: 0 },
    ])
  })

  it('gives an id to a client without one', async () => {
    const { connack } = await enter(5, { clientId: '' })
    expect(connack.properties?.assignedClientIdentifier).toMatch(/^auto-[\w-]{16}$/)
    expect((await enter(4, { clientId: '' })).connack.returnCode).toBe(0)
    // [3.1.1: MQTT-3.1.3-8]
    expect(await rest(await raw('100c00044d515454 04 00 0000 0000'))).toBe('20020002')
  })

  it('takes user and password to whoever checks them', async () => {
    start({}, { users: { ann: 'secret' } })
    const right = { username: 'ann', password: Buffer.from('secret') }
    const wrong = { username: 'ann', password: Buffer.from('guess') }
    expect((await enter(5, right)).connack.reasonCode).toBe(0)
    expect((await enter(4, right)).connack.returnCode).toBe(0)
    const five = await enter(5, wrong)
    expect(five.connack.reasonCode).toBe(0x86)
    expect(await rest(five.client)).toBe('')
    expect((await enter(4, wrong)).connack.returnCode).toBe(4)
  })

  it('of another level is refused in its own format', async () => {
    expect(await rest(await raw('100f00044d515454 06 02 0000 0003616263'))).toMatch(/^20..0084/)
    expect(await rest(await raw('100f00044d515454 02 02 0000 0003616263'))).toBe('20020001')
    expect(await rest(await raw('101100064d5149736470 03 02 0000 0003616263'))).toBe('20020001')
    expect(await rest(await raw('100f00044d515454 84 02 0000 0003616263'))).toBe('20020001')
  })

  it('that is none is refused in MQTT 5 and closed in 3.1.1; anything else is closed', async () => {
    expect(await rest(await raw('101000044d515454 05 03 0000 00 0003616263'))).toMatch(/^20..0081/)
    expect(await rest(await raw('101300044d515454 05 02 0000 03 210000 0003616263'))).toMatch(/^20..0082/)
    expect(await rest(await raw('100f00044d515454 04 03 0000 0003616263'))).toBe('')
    for (const hex of ['474554202f', 'c000', '100f00044d515458 04 02 0000 0003616263', '300300016161', '10ffffff7f']) {
      expect(await rest(await raw(hex))).toBe('')
    }
  })

  it('with an authentication method is refused, as long as none is known', async () => {
    const { connack } = await enter(5, { properties: { authenticationMethod: 'SCRAM-SHA-256' } })
    expect(connack.reasonCode).toBe(0x8c)
  })

  it('is never refused for what passes: no CONNACK, the end', async () => {
    for (const version of [4, 5] as const) {
      start()
      for (const code of ['draining', 'internal', 'limit'] as const) {
        gateway.failNext('open', new Fault(code, 'planted'))
        const client = await dial(protocol, gateway, version)
        client.send(connectPacket(version))
        expect(await rest(client)).toBe('')
      }
      for (const code of ['unavailable', 'throttled', 'busy', 'circuitOpen', 'outcomeUnknown'] as const) {
        start()
        gateway.failNext('open', new Fault(code, 'planted'), 100)
        const client = await dial(protocol, gateway, version)
        const opening = gateway.next('open')
        client.send(connectPacket(version))
        await opening
        await gateway.clock.pass(4_500)
        expect(client.here()).toEqual([])
        await gateway.clock.pass(1_000)
        expect(gateway.of('open').length).toBeGreaterThan(5)
        expect(await rest(client)).toBe('')
      }
    }
    expect(gateway.sessions.size).toBe(0)
  })

  it('waits for what passes within five seconds', async () => {
    gateway.failNext('open', new Fault('unavailable', 'planted'), 3)
    const client = await dial(protocol, gateway, 5)
    const opening = gateway.next('open')
    client.send(connectPacket(5), { cmd: 'pingreq' })
    await opening
    await gateway.clock.pass(2_000)
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
    await client.next('pingresp')
  })

  it('a second time ends the connection', async () => {
    const { client } = await enter(5)
    client.send(connectPacket(5))
    expect((await client.next('disconnect')).reasonCode).toBe(0x82)
    expect(await rest(client)).toBe('')
    const old = await enter(4)
    old.client.send(connectPacket(4))
    expect(await rest(old.client)).toBe('')
  })

  it('may be followed by packets at once, by so many and no more', async () => {
    const hold = gateway.hold('open')
    const client = await dial(protocol, gateway, 4)
    client.send(connectPacket(4), { cmd: 'pingreq' })
    client.publish('a', 'x', 1, { messageId: 5 })
    await turns()
    expect(client.here()).toEqual([])
    hold.release()
    await client.next('connack')
    expect(await client.next('pingresp')).toBeDefined()
    expect(await client.next('puback')).toMatchObject({ messageId: 5 })

    const never = gateway.hold('open')
    const many = await dial(protocol, gateway, 4)
    many.send(connectPacket(4, { clientId: 'many' }))
    for (let n = 0; n <= EARLY_MAX; n++) many.send({ cmd: 'pingreq' })
    expect(await rest(many)).toBe('')
    never.release()
  })

  it('followed by what is no packet is refused, and opens nothing that stays', async () => {
    const connect = '101000044d51545405020000000003616263'
    expect(await rest(await raw(`${connect} 0000`))).toMatch(/^20..0081/)
    expect(gateway.of('open')).toHaveLength(0)
    const hold = gateway.hold('open')
    const opening = gateway.next('open')
    const client = await raw(connect)
    await opening
    client.wire.write('0000')
    expect(await rest(client)).toMatch(/^20..0081/)
    hold.release()
    await turns()
    expect(gateway.of('leave')).toHaveLength(1)
    expect(gateway.of('pop')).toHaveLength(0)
    expect(gateway.sessions.size).toBe(0)
  })

  it('that comes to nothing leaves nothing behind', async () => {
    const hold = gateway.hold('open')
    const client = await dial(protocol, gateway, 4)
    client.send(connectPacket(4))
    await gateway.next('open')
    client.wire.destroy()
    await turns()
    hold.release()
    await turns()
    expect(gateway.sessions.size).toBe(0)
    expect(gateway.of('leave')).toHaveLength(1)
    expect(gateway.parked).toBe(0)
  })

  it('has to come in time', async () => {
    const client = await dial(protocol, gateway, 5)
    client.wire.write('10')
    await gateway.clock.pass(gateway.limits.handshakeMs + 1_000)
    expect(await rest(client)).toBe('')
  })
})

describe('keep alive', () => {
  const silence = async (version: Version, options: MqttOptions = {}, keepalive = 10) => {
    start(options)
    return enter(version, { keepalive })
  }

  it('ends a silent client after one and a half times', async () => {
    const { client } = await silence(5)
    await gateway.clock.pass(14_000)
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    await gateway.clock.pass(14_900)
    expect(client.here()).toEqual([])
    await gateway.clock.pass(1_200)
    expect((await client.next('disconnect')).reasonCode).toBe(0x8d)
    expect(await rest(client)).toBe('')
  })

  it('is not kept alive by what we send', async () => {
    const { client } = await silence(4)
    await client.subscribe('a', 0)
    for (let n = 0; n < 4; n++) {
      const other = await enter(4, { clientId: 'other' })
      other.client.publish('a', 'x')
      await client.next('publish')
      await gateway.clock.pass(4_100)
    }
    expect(await rest(client)).toBe('')
  })

  it('may be none, or what the server says', async () => {
    const { client } = await silence(4, {}, 0)
    await gateway.clock.pass(1_000_000)
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    expect((await silence(5, { keepAliveMax: 60 }, 120)).connack.properties?.serverKeepAlive).toBe(60)
    expect((await silence(5, { keepAliveMax: 60 }, 0)).connack.properties?.serverKeepAlive).toBe(60)
    expect((await silence(5, { keepAliveMax: 60 }, 30)).connack.properties).not.toHaveProperty('serverKeepAlive')
  })

  it('waits for a server that is slow to answer', async () => {
    const { client } = await silence(5)
    const hold = gateway.hold('publish')
    client.publish('a', 'x', 1, { messageId: 1 })
    await gateway.clock.pass(60_000)
    expect(client.here()).toEqual([])
    hold.release()
    await client.next('puback')
  })
})

describe('a client id', () => {
  it('has one connection: the newer one', async () => {
    for (const version of [4, 5] as const) {
      const older = await enter(version)
      const newer = await enter(version)
      if (version === 5) expect((await older.client.next('disconnect')).reasonCode).toBe(0x8e)
      expect(await rest(older.client)).toBe('')
      newer.client.publish('a', 'x', 1, { messageId: 1 })
      await newer.client.next('puback')
      newer.client.send({ cmd: 'disconnect' })
      await newer.client.wire.closed
    }
    expect(gateway.sessions.size).toBe(0)
    expect(gateway.of('leave')).toHaveLength(4)
  })

  it('keeps its newer connection when the older one ends late', async () => {
    const older = await enter(5, { properties: { sessionExpiryInterval: 60 } })
    await older.client.subscribe('a', 1)
    const hold = gateway.hold('leave')
    const arriving = enter(5, { clean: false, properties: { sessionExpiryInterval: 60 } })
    await turns()
    hold.release()
    const { client, connack } = await arriving
    expect(connack.sessionPresent).toBe(true)
    client.publish('a', 'x', 1, { messageId: 1 })
    expect((await client.take('publish')).payload.toString()).toBe('x')
    await client.take('puback')
  })

  it('goes to the last of many that come at once', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => dial(protocol, gateway, 5)))
    for (const client of clients) client.send(connectPacket(5))
    const last = clients.pop()!
    await last.next('connack')
    for (const client of clients) await client.wire.until((_, ended) => ended)
    last.send({ cmd: 'pingreq' })
    await last.next('pingresp')
    expect(gateway.sessions.size).toBe(1)
  })

  it('for which two fight changes hands once a second', async () => {
    let { client } = await enter(5)
    for (let n = 0; n < FIGHTS_MAX; n++) client = (await enter(5)).client
    const next = await dial(protocol, gateway, 5)
    const admitted = gateway.sessions.size
    next.send(connectPacket(5))
    while (gateway.sessions.size === admitted) await turns(1)
    await turns()
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    expect(next.here()).toEqual([])
    await gateway.clock.pass(1_000)
    expect((await client.next('disconnect')).reasonCode).toBe(0x8e)
    await next.next('connack')
    await gateway.clock.pass(1_500)
    expect((await enter(5)).connack.reasonCode).toBe(0)
  })

  it('for which one waits that is gone again is not taken', async () => {
    let { client } = await enter(5)
    for (let n = 0; n < FIGHTS_MAX; n++) client = (await enter(5)).client
    const next = await dial(protocol, gateway, 5)
    next.send(connectPacket(5))
    while (gateway.sessions.size === 1) await turns(1)
    next.wire.destroy()
    await turns()
    await gateway.clock.pass(3_000)
    client.send({ cmd: 'pingreq' })
    await client.next('pingresp')
    expect(gateway.sessions.size).toBe(1)
  })

  it('taken over in another process is given up', async () => {
    const { client } = await enter(5, { properties: { sessionExpiryInterval: 60 } })
    const peer = client.wire.peer
    const other = await gateway.admit(
      { protocol: 'mqtt', client: 'one', language: '', version: 5, peer },
      async () => 0,
    )
    gateway.answer('leave', () => {
      throw new Fault('conflict', 'taken over')
    })
    await gateway.handle({ kind: 'open', inbox: 'mqtt/one', fresh: false, expiry: 0 }, gateway.context(other, 1_000))
    expect((await client.next('disconnect')).reasonCode).toBe(0x8e)
    expect(await rest(client)).toBe('')
  })

  it('is the client’s as it is: no trimming, no folding, up to 512 bytes', async () => {
    for (const clientId of [' a ', 'A', 'ä', 'x'.repeat(512)]) await enter(5, { clientId })
    expect(gateway.of('open').map(({ inbox }) => inbox)).toEqual([
      'mqtt/ a ',
      'mqtt/A',
      'mqtt/ä',
      `mqtt/${'x'.repeat(512)}`,
    ])
    expect((await enter(5, { clientId: 'ä'.repeat(257) })).connack.reasonCode).toBe(0x85)
    expect((await enter(4, { clientId: 'x'.repeat(513) })).connack.returnCode).toBe(2)
  })
})

describe('a will', () => {
  const will = { topic: 'status/one', payload: Buffer.from('gone'), qos: 1 as const, retain: true }
  const left = () =>
    gateway.messages('status').map(({ body, path, retain }) => ({ text: body.toString(), path, retain }))

  it('is stored with the session and told when the connection is lost', async () => {
    const { client } = await enter(5, { will: { ...will, properties: { contentType: 'text/plain' } } })
    expect(gateway.of('open')).toMatchObject([
      { will: { message: { topic: 'status', path: 'one', contentType: 'text/plain', retain: true } } },
    ])
    client.wire.destroy()
    await turns()
    expect(left()).toEqual([{ text: 'gone', path: 'one', retain: true }])
  })

  it('is told after a protocol error, a lost keep alive, DISCONNECT 0x04, and a take-over; not after DISCONNECT', async () => {
    const error = await enter(5, { will })
    error.client.wire.write('f000')
    await rest(error.client)
    expect(left()).toHaveLength(1)
    await enter(5, { will, keepalive: 1 })
    await gateway.clock.pass(3_000)
    expect(left()).toHaveLength(2)
    const wanted = await enter(5, { will })
    wanted.client.send({ cmd: 'disconnect', reasonCode: 4 })
    await rest(wanted.client)
    expect(left()).toHaveLength(3)
    await enter(4, { will })
    const polite = await enter(4, { will })
    expect(left()).toHaveLength(4)
    polite.client.send({ cmd: 'disconnect' })
    await rest(polite.client)
    expect(left()).toHaveLength(4)
  })

  it('waits for its delay', async () => {
    const { client } = await enter(5, { will: { ...will, properties: { willDelayInterval: 30 } } })
    expect(gateway.of('open')).toMatchObject([{ will: { after: 30_000 } }])
    client.wire.destroy()
    await turns()
    expect(gateway.of('leave')).toMatchObject([{ what: { will: 'fire' } }])
  })

  it('that no message can be is refused with the CONNECT', async () => {
    expect((await enter(5, { will: { ...will, topic: 'a/'.repeat(200) } })).connack.reasonCode).toBe(0x90)
    expect((await enter(4, { will: { ...will, topic: 'a/'.repeat(200) } })).connack.returnCode).toBe(3)
    expect(gateway.sessions.size).toBe(0)
  })
})

describe('a session', () => {
  it('is there again until it expires', async () => {
    const first = await enter(5, { properties: { sessionExpiryInterval: 60 } })
    await first.client.subscribe('a', 1)
    first.client.send({ cmd: 'disconnect' })
    await rest(first.client)
    const again = { clean: false, properties: { sessionExpiryInterval: 60 } }
    const second = await enter(5, again)
    expect(second.connack.sessionPresent).toBe(true)
    second.client.wire.destroy()
    await gateway.clock.pass(61_000)
    expect((await enter(5, again)).connack.sessionPresent).toBe(false)
  })

  it('is not there after a clean start, nor after a connection that was to end it', async () => {
    const keep = { sessionExpiryInterval: 60 }
    await enter(5, { properties: keep })
    expect((await enter(5, { clean: true, properties: keep })).connack.sessionPresent).toBe(false)
    await enter(4, { clean: true })
    expect((await enter(4, { clean: false })).connack.sessionPresent).toBe(false)
  })

  it('may be shortened by DISCONNECT, and not brought to life by it', async () => {
    const { client } = await enter(5, { properties: { sessionExpiryInterval: 60 } })
    client.send({ cmd: 'disconnect', properties: { sessionExpiryInterval: 5 } })
    await rest(client)
    expect(gateway.of('leave')).toMatchObject([{ what: { expiry: 5_000, will: 'drop' } }])
    const ended = await enter(5, { clientId: 'two' })
    ended.client.send({ cmd: 'disconnect', properties: { sessionExpiryInterval: 5 } })
    expect((await ended.client.next('disconnect')).reasonCode).toBe(0x82)
  })
})

describe('a drain', () => {
  it('serves what still arrives, begins nothing new, and says goodbye in the client’s version', async () => {
    for (const version of [4, 5] as const) {
      const { client } = await enter(version, { clientId: `c${version}`, clean: version === 5 })
      await client.subscribe('a', 1)
      const one = await connection()
      one.goAway('draining')
      client.publish('a', 'x', 1, { messageId: 9 })
      expect(await client.next('puback')).toMatchObject({ messageId: 9 })
      client.send({ cmd: 'pingreq' })
      await client.next('pingresp')
      await turns()
      expect(client.here()).toEqual([])
      expect(one.busy).toBe(0)
      one.end(false)
      if (version === 5) expect((await client.next('disconnect')).reasonCode).toBe(0x8b)
      expect(await rest(client)).toBe('')
    }
  })

  it('names another server to MQTT 5 clients, where there is one', async () => {
    for (const version of [4, 5] as const) {
      const { client } = await enter(version, { clientId: `c${version}` })
      const one = await connection()
      one.goAway('draining', 'b.example:1883')
      one.end(false)
      if (version === 5) {
        const properties = { serverReference: 'b.example:1883' }
        expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x9c, properties })
      }
      expect(await rest(client)).toBe('')
    }
  })

  it('waits for deliveries without an answer', async () => {
    const { client } = await enter(5)
    await client.subscribe('a', 1)
    client.publish('a', 'x')
    const { messageId } = await client.next('publish')
    await turns()
    expect((await connection()).busy).toBe(0) // published with QoS 0
    client.publish('a', 'y', 1, { messageId: 1 })
    const delivered = await client.take('publish')
    await client.take('puback')
    const one = await connection()
    one.goAway('draining')
    expect(one.busy).toBe(1)
    one.end(false)
    await turns()
    expect(client.here()).toEqual([])
    client.send({ cmd: 'puback', messageId: delivered.messageId! })
    await turns()
    expect(one.busy).toBe(0)
    expect(messageId).toBeUndefined()
  })

  it('keeps wills for those who come back', async () => {
    const { client } = await enter(5, {
      will: { topic: 'status', payload: Buffer.from('gone') },
      properties: { sessionExpiryInterval: 60 },
    })
    const one = await connection()
    one.goAway('draining')
    one.end(false)
    await client.next('disconnect')
    await rest(client)
    expect(gateway.of('leave')).toMatchObject([{ what: { will: 'keep', expiry: 60_000 } }])
  })

  it('ends who has said nothing, and never refuses with a CONNACK', async () => {
    const client = await dial(protocol, gateway, 5)
    ;(await connection()).goAway('draining')
    expect(await rest(client)).toBe('')
    const hold = gateway.hold('open')
    const late = await dial(protocol, gateway, 5)
    late.send(connectPacket(5))
    await turns()
    ;(await connection()).goAway('draining')
    hold.release()
    expect((await late.next('connack')).reasonCode).toBe(0)
    expect((await connection()).state).toBe('told')
  })

  it('tells the administrator’s word', async () => {
    const { client } = await enter(5)
    const session = gateway.commands.at(-1)!.context.session
    await session.notify({ kind: 'goAway', reason: 'kicked' })
    expect((await client.next('disconnect')).reasonCode).toBe(0x98)
  })
})
