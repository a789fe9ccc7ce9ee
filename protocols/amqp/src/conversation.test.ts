import { Fault } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Client, message } from '../test/client.ts'
import { AMQP, ourHeader, SASL } from './codec.ts'
import amqp from './index.ts'
import { mapOf, symbol } from './types/values.ts'

let gateway: FakeGateway
const protocol = amqp()
beforeEach(() => {
  gateway = fakeGateway({ topics: ['orders'] })
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const open = () => Client.open(protocol, gateway)
const connection = async () => [...(await serverOf(protocol, gateway)).connections()].at(-1)!
const plain = (text: string) => ({ type: 'saslInit', mechanism: 'PLAIN', initialResponse: Buffer.from(text) }) as const
const ends = async (client: Client) => expect((await client.wire.rest()).toString('hex')).toBe('')

describe('the greeting', () => {
  it('with SASL PLAIN lets a user in by name and password', async () => {
    gateway = fakeGateway({ users: { ann: 'sécret' } })
    const client = await Client.to(protocol, gateway)
    client.header(SASL)
    expect(await client.frames.next()).toEqual(ourHeader(SASL))
    const mechanisms = { type: 'saslMechanisms', saslServerMechanisms: ['PLAIN', 'ANONYMOUS'] }
    expect(await client.frames.next()).toEqual({ kind: 'sasl', body: mechanisms })
    client.sasl(plain('\0ann\0sécret'))
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 0 } })
    client.header(AMQP)
    expect(await client.frames.next()).toEqual(ourHeader(AMQP))
    client.send({ type: 'open', containerId: 'c1', properties: mapOf([[symbol('product'), 'test']]) })
    expect(await client.next('open')).toMatchObject({
      maxFrameSize: 65_536,
      channelMax: 63,
      idleTimeOut: 30_000,
      offeredCapabilities: ['ANONYMOUS-RELAY', 'DELAYED_DELIVERY'],
    })
    await turns()
    expect(gateway.sessions.size).toBe(1)
  })

  it('asks for the response when it does not come with the init', async () => {
    gateway = fakeGateway({ users: { ann: 's' } })
    const client = await Client.to(protocol, gateway)
    client.header(SASL)
    client.sasl({ type: 'saslInit', mechanism: 'PLAIN' })
    await client.frames.next()
    await client.frames.next()
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslChallenge' } })
    client.sasl({ type: 'saslResponse', response: Buffer.from('\0ann\0s') })
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 0 } })
  })

  it.each([
    ['a wrong password', plain('\0ann\0wrong')],
    ['an unknown user', plain('\0bob\0s')],
    ['no user', plain('\0\0s')],
    ['another identity', plain('root\0ann\0s')],
    ['a response without structure', plain('ann')],
    ['a mechanism that is not offered', { type: 'saslInit', mechanism: 'SCRAM-SHA-1' } as const],
    ['ANONYMOUS where users are known', { type: 'saslInit', mechanism: 'ANONYMOUS' } as const],
  ])('refuses %s with an outcome and closes', async (_, init) => {
    gateway = fakeGateway({ users: { ann: 's' } })
    const client = await Client.to(protocol, gateway)
    client.header(SASL)
    client.sasl(init)
    await client.frames.next()
    await client.frames.next()
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 1 } })
    await ends(client)
    expect(gateway.logs).toMatchObject([{ event: 'connection.refused', fields: { code: 'unauthenticated' } }])
  })

  it('tells trouble that passes from a wrong password', async () => {
    const client = await Client.to(protocol, gateway)
    Object.assign(gateway, { authenticate: () => Promise.reject(new Fault('unavailable', 'no store')) })
    client.header(SASL)
    client.sasl(plain('\0ann\0s'))
    await client.frames.next()
    await client.frames.next()
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 4 } })
  })

  it('offers what it is told to offer', async () => {
    const strict = amqp({ mechanisms: ['PLAIN'] })
    const client = await Client.to(strict, gateway)
    client.header(SASL)
    await client.frames.next()
    expect(await client.frames.next()).toMatchObject({ body: { saslServerMechanisms: ['PLAIN'] } })
    client.sasl({ type: 'saslInit', mechanism: 'ANONYMOUS' })
    expect(await client.frames.next()).toMatchObject({ body: { code: 1 } })
    await (await serverOf(strict, gateway)).close()
  })

  it('without SASL is answered with a close where users are known', async () => {
    gateway = fakeGateway({ users: { ann: 's' } })
    const client = await Client.to(protocol, gateway)
    client.header(AMQP)
    client.send({ type: 'open', containerId: 'c' })
    await client.frames.next()
    await client.next('open')
    expect(await client.error('close')).toBe('amqp:unauthorized-access')
    await ends(client)
  })

  it('is read in order although the client does not wait for a single answer', async () => {
    gateway = fakeGateway({ users: { ann: 's' }, topics: ['orders'] })
    const client = await Client.to(protocol, gateway)
    client.header(SASL)
    client.sasl(plain('\0ann\0s'))
    client.header(AMQP)
    client.send({ type: 'open', containerId: 'c' })
    client.begin()
    const target = { type: 'target', address: 'orders' } as const
    client.send({ type: 'attach', name: 'a', handle: 0, role: false, initialDeliveryCount: 0, target })
    await client.frames.next()
    await client.frames.next()
    expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 0 } })
    await client.frames.next()
    await client.next('open')
    await client.next('begin')
    await client.next('attach')
    expect(await client.next('flow')).toMatchObject({ linkCredit: 256 })
  })

  it('holds only so many frames of a client that is still being let in', async () => {
    Object.assign(gateway, { admit: () => new Promise(() => undefined) })
    const client = await Client.to(protocol, gateway)
    client.header(AMQP)
    client.send({ type: 'open', containerId: 'c' })
    await client.frames.next()
    await client.next('open')
    for (let channel = 0; channel < 1_100; channel++) client.begin({}, channel)
    expect(await client.error('close')).toBe('amqp:resource-limit-exceeded')
    await client.wire.closed
  })

  it.each([
    ['0-9-1', '414d5150 00000901', '414d515003010000'],
    ['0-10', '414d5150 0101000a', '414d515003010000'],
    ['TLS within AMQP', '414d5150 02010000', '414d515003010000'],
    ['what is no AMQP', '474554202f20', '414d515003010000'],
  ])('tells %s what is spoken here and closes', async (_, sent, answer) => {
    const client = await Client.to(protocol, gateway)
    client.wire.write(sent)
    expect((await client.wire.rest()).toString('hex')).toBe(answer)
  })

  it('takes no second SASL layer', async () => {
    const client = await Client.to(protocol, gateway)
    client.header(SASL)
    client.sasl({ type: 'saslInit', mechanism: 'ANONYMOUS' })
    client.header(SASL)
    for (let n = 0; n < 3; n++) await client.frames.next()
    expect(await client.frames.next()).toEqual(ourHeader(AMQP))
    await ends(client)
  })

  it.each([
    ['a max-frame-size below 512', { maxFrameSize: 511 }, 'amqp:invalid-field'],
    ['an idle-time-out that cannot be kept', { idleTimeOut: 10 }, 'amqp:not-allowed'],
  ])('refuses %s', async (_, more, condition) => {
    const client = await Client.to(protocol, gateway)
    client.header(AMQP)
    client.send({ type: 'open', containerId: 'c', ...more })
    await client.frames.next()
    await client.next('open')
    expect(await client.error('close')).toBe(condition)
  })

  it('that stops halfway is ended, at every point', async () => {
    const points: ((client: Client) => void)[] = [
      () => undefined,
      (client) => client.header(SASL),
      (client) => {
        client.header(SASL)
        client.sasl({ type: 'saslInit', mechanism: 'ANONYMOUS' })
      },
      (client) => client.header(AMQP),
    ]
    for (const reach of points) {
      const client = await Client.to(protocol, gateway)
      reach(client)
      await turns()
      client.frames.here()
      await gateway.clock.pass(12_000)
      await client.wire.rest()
    }
    expect(gateway.logs.filter(({ event }) => event === 'connection.refused')).toHaveLength(4)
  })
})

describe('a connection', () => {
  it('is closed by its client', async () => {
    const client = await open()
    client.send({ type: 'close' })
    expect(await client.error('close')).toBe('none')
    await ends(client)
    await turns()
    expect(gateway.sessions.size).toBe(0)
  })

  it('stays while the client says something, and gets a heartbeat at half of its time-out', async () => {
    const client = await Client.open(protocol, gateway, { idleTimeOut: 10_000 })
    for (let second = 0; second < 100; second += 20) {
      client.frames.send({ kind: 'amqp', channel: 0 })
      await gateway.clock.pass(20_000)
    }
    const heartbeats = client.frames.here()
    expect(heartbeats.length).toBeGreaterThanOrEqual(20)
    expect(new Set(heartbeats.map((frame) => JSON.stringify(frame)))).toEqual(new Set(['{"kind":"amqp","channel":0}']))
    expect(client.wire.ended).toBe(false)
  })

  it('of a client that says nothing is closed after twice the announced time', async () => {
    const client = await open()
    await gateway.clock.pass(59_000)
    expect(client.frames.here()).toEqual([])
    await gateway.clock.pass(3_000)
    expect(await client.error('close')).toBe('amqp:resource-limit-exceeded')
  })

  it.each<[string, (client: Client) => void, string]>([
    ['a second open', (client) => client.send({ type: 'open', containerId: 'c' }), 'amqp:illegal-state'],
    ['begin on a channel in use', (client) => client.begin(), 'amqp:illegal-state'],
    ['a channel beyond channel-max', (client) => client.begin({}, 64), 'amqp:connection:framing-error'],
    ['a frame without a session', (client) => client.send({ type: 'end' }, undefined, 5), 'amqp:illegal-state'],
    [
      'a handle beyond handle-max',
      (client) => client.send({ type: 'attach', name: 'a', handle: 256, role: true }),
      'amqp:connection:framing-error',
    ],
    ['a frame of 2 GiB', (client) => void client.wire.write('7fffffff 02000000'), 'amqp:connection:framing-error'],
    [
      'a value that is none',
      (client) => void client.wire.write('00000010 02000000 00 53 17 c0 03 01 39 40'),
      'amqp:decode-error',
    ],
    [
      'types nested without end',
      (client) =>
        void client.wire.write(
          Buffer.concat([
            Buffer.from('0000ff00 02000000 005317c0f001'.replaceAll(' ', ''), 'hex'),
            Buffer.alloc(65_280 - 14),
          ]),
        ),
      'amqp:decode-error',
    ],
    [
      'an array of ten million nulls',
      (client) => void client.wire.write('0000001c 02000000 00 53 17 d0 0000000f 00000001 f0 00000006 00989680 40 40'),
      'amqp:decode-error',
    ],
  ])('is closed by %s', async (_, harm, condition) => {
    const client = await open()
    harm(client)
    expect(await client.error('close')).toBe(condition)
    await ends(client)
    await turns()
    expect(gateway.sessions.size).toBe(0)
  })

  it('whose session is taken over or kicked is closed as forced', async () => {
    const client = await open()
    await client.sender('orders')
    client.transfer(0, message('x'))
    await client.next('disposition')
    await gateway.commands[0]!.context.session.notify({ kind: 'goAway', reason: 'kicked' })
    expect((await client.next('close')).error).toMatchObject({
      condition: 'amqp:connection:forced',
      description: 'kicked',
    })
    await client.wire.closed
  })
})

describe('a drain', () => {
  it('refuses new links, serves the rest, and says forced without detaching', async () => {
    const client = await open()
    await client.sender('orders')
    const served = await connection()
    served.goAway('draining')
    client.send({ type: 'attach', name: 'late', handle: 7, role: true, source: { type: 'source', address: 'orders' } })
    const refused = await client.next('attach')
    expect(refused.source).toBeUndefined()
    expect(await client.error('detach')).toBe('amqp:link:detach-forced')
    client.begin({}, 1)
    await client.next('begin')
    client.transfer(0, message('x'))
    expect(await client.next('disposition')).toMatchObject({ first: 0, settled: true, state: { type: 'accepted' } })
    served.end(false)
    const close = await client.next('close')
    expect(close.error).toMatchObject({ condition: 'amqp:connection:forced', description: 'draining' })
    await ends(client)
  })

  it('takes no more messages, but the words on those that are out; then they are none', async () => {
    const client = await open()
    const producer = await open()
    await producer.sender('orders')
    await client.receiver('orders::g')
    client.credit(10)
    for (let id = 0; id < 2; id++) producer.transfer(id, message(`m${id}`))
    const { deliveryId = 0 } = await client.next('transfer')
    await client.next('transfer')
    const [served] = [...(await serverOf(protocol, gateway)).connections()]
    expect(served!.busy).toBe(2)
    served!.goAway('draining')
    producer.transfer(2, message('m2'))
    await turns(20)
    expect(client.frames.here()).toEqual([])
    served!.end(false)
    await turns()
    expect(client.wire.ended).toBe(false)
    client.settle(deliveryId, { type: 'accepted' }, { last: deliveryId + 1 })
    await turns(20)
    expect(served!.busy).toBe(0)
    served!.end(false)
    expect(await client.error('close')).toBe('amqp:connection:forced')
  })

  it('says every accepted before the close, however soon that comes', async () => {
    const client = await open()
    await client.sender('orders')
    const hold = gateway.hold('publish')
    for (let id = 0; id < 3; id++) client.transfer(id, message('x'))
    await turns()
    const served = await connection()
    served.goAway('draining')
    hold.release()
    while (served.busy > 0) await Promise.resolve()
    served.end(false)
    expect(await client.next('disposition')).toMatchObject({ first: 0, last: 2, state: { type: 'accepted' } })
    expect(await client.error('close')).toBe('amqp:connection:forced')
  })

  it('gives back at once what waits for the window of its client', async () => {
    const producer = await open()
    await producer.sender('orders')
    for (let id = 0; id < 3; id++) producer.transfer(id, message(`m${id}`))
    await turns(20)
    const client = await open()
    const served = await connection()
    await client.receiver('orders::g')
    client.credit(10, { incomingWindow: 1 })
    await client.next('transfer')
    served.goAway('draining')
    await turns(20)
    expect(served.busy).toBe(1)
    const settles = gateway.of('settle')
    expect(settles.map(({ receipts, outcome }) => [receipts.length, outcome])).toEqual([
      [2, { kind: 'retry', after: 0, counts: false }],
    ])
  })

  it('with force gives back what is out, uncounted', async () => {
    const client = await open()
    await client.receiver('orders::g')
    client.credit(10)
    const producer = await open()
    await producer.sender('orders')
    producer.transfer(0, message('m'))
    await client.next('transfer')
    const [served] = [...(await serverOf(protocol, gateway)).connections()]
    served!.goAway('draining')
    served!.end(true)
    expect(await client.error('close')).toBe('amqp:connection:forced')
    client.wire.destroy()
    await turns(20)
    expect(gateway.of('settle').at(-1)?.outcome).toEqual({ kind: 'retry', after: 0, counts: false })
    expect(gateway.returned).toMatchObject([{ messages: 1 }])
  })

  it('finds a client that is still being let in, and tells it to come again', async () => {
    for (const reach of [SASL, AMQP] as const) {
      const client = await Client.to(protocol, gateway)
      client.header(reach)
      await turns()
      const served = await connection()
      served.goAway('draining')
      served.end(true)
      await client.frames.next()
      if (reach === SASL) {
        await client.frames.next()
        expect(await client.frames.next()).toMatchObject({ body: { type: 'saslOutcome', code: 4 } })
      } else {
        await client.next('open')
        expect(await client.error('close')).toBe('amqp:connection:forced')
      }
      client.wire.destroy()
    }
  })
})
