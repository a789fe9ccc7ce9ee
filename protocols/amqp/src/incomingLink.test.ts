import { Fault, type FaultCode } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Client, message } from '../test/client.ts'
import { CREDIT } from './host.ts'
import amqp from './index.ts'
import { writeComposite } from './performatives.ts'
import type { CompositeOf } from './shapes.ts'
import { Writer } from './types/writer.ts'

let gateway: FakeGateway
let client: Client
const protocol = amqp()
beforeEach(async () => {
  gateway = fakeGateway({ topics: ['orders'], autoCreate: false })
  client = await Client.open(protocol, gateway)
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

const frames = () => client.frames.here().flatMap((frame) => (frame.kind === 'amqp' && frame.body ? [frame.body] : []))
const of = <N extends 'flow' | 'disposition' | 'detach'>(type: N) =>
  frames().filter((body): body is CompositeOf<N> => body.type === type)
const to = (address: string): Buffer => {
  const writer = new Writer()
  writeComposite(writer, { type: 'properties', to: address })
  return Buffer.concat([writer.copy(), message('x')])
}

describe('a sender', () => {
  it('is attached with what is in force, and gets credit', async () => {
    const attach = await client.sender('orders', { sndSettleMode: 0, rcvSettleMode: 0 })
    expect(attach).toMatchObject({
      name: 'sender',
      handle: 0,
      role: true,
      sndSettleMode: 0,
      rcvSettleMode: 0,
      target: { type: 'target', address: 'orders' },
      maxMessageSize: 4 * 1024 * 1024 + 64 * 1024,
    })
  })

  it.each([
    ['orders', { topic: 'orders' }],
    ['orders/a/b', { topic: 'orders', path: 'a/b' }],
    ['/topics/orders', { topic: 'orders' }],
    ['/topics/or%64ers/red%2Fish', { topic: 'orders', tag: 'red/ish' }],
    ['/queues/orders', { topic: 'orders' }],
  ])('to %s publishes there', async (address, fields) => {
    await client.sender(address)
    client.transfer(0, message('x'))
    await client.next('disposition')
    expect(gateway.of('publish')[0]?.messages[0]).toMatchObject(fields)
  })

  it.each([
    ['/exchanges/x', 'amqp:invalid-field'],
    ['/topics', 'amqp:invalid-field'],
    ['/topics/a/b/c', 'amqp:invalid-field'],
    ['/topics/%zz', 'amqp:invalid-field'],
    ['', 'amqp:invalid-field'],
    ['%INBOX%x', 'amqp:not-implemented'],
  ])('to %s is refused', async (address, condition) => {
    expect((await client.sender(address)).target).toBeUndefined()
    expect(await client.error('detach')).toBe(condition)
    client.send({ type: 'detach', handle: 0, closed: true })
    await client.sender('orders')
  })

  it.each<[string, CompositeOf<'attach'>['target']]>([
    ['a coordinator', { type: 'coordinator' }],
    ['a dynamic target', { type: 'target', dynamic: true }],
    ['a target of an unknown type', { type: 'described', descriptor: 'x', value: null }],
  ])('to %s is refused', async (_, target) => {
    await client.sender(null, { target })
    expect(await client.error('detach')).toBe('amqp:not-implemented')
  })

  it('that does not say its initial delivery-count is refused', async () => {
    await client.sender('orders', { initialDeliveryCount: undefined })
    expect(await client.error('detach')).toBe('amqp:invalid-field')
  })

  it('without an address sends each message where it says', async () => {
    await client.sender(null)
    client.transfer(0, to('/topics/orders/red'))
    expect(await client.next('disposition')).toMatchObject({ state: { type: 'accepted' } })
    client.transfer(1, to('nowhere'))
    expect((await client.next('disposition')).state).toMatchObject({
      type: 'rejected',
      error: { condition: 'amqp:not-found' },
    })
    client.transfer(2, message('x'))
    expect((await client.next('disposition')).state).toMatchObject({
      type: 'rejected',
      error: { condition: 'amqp:invalid-field' },
    })
    expect(gateway.messages('orders')).toMatchObject([{ tag: 'red' }])
  })

  it('is told accepted only after the broker has the message, neighbours in one word', async () => {
    await client.sender('orders')
    const hold = gateway.hold('publish')
    for (let id = 0; id < 10; id++) client.transfer(id, message(`m${id}`))
    await turns()
    expect(hold.waiting).toBe(10)
    expect(frames()).toEqual([])
    hold.release()
    expect(await client.next('disposition')).toMatchObject({
      role: true,
      first: 0,
      last: 9,
      settled: true,
      state: { type: 'accepted' },
    })
  })

  it('that settles beforehand is not told', async () => {
    await client.sender('orders')
    client.transfer(0, message('x'), { settled: true })
    await gateway.next('publish')
    await turns()
    expect(frames()).toEqual([])
    expect(gateway.messages('orders')).toHaveLength(1)
  })

  it('that settles beforehand is detached when its messages can never be stored', async () => {
    await client.sender('nowhere')
    client.transfer(0, message('x'), { settled: true })
    expect(await client.error('detach')).toBe('amqp:not-found')
  })

  it('that settles after us has its delivery settled only then', async () => {
    await client.sender('orders', { rcvSettleMode: 1 })
    for (let id = 0; id < CREDIT; id++) client.transfer(id, message('x'))
    const { first, last, settled } = await client.next('disposition')
    expect([first, last, settled]).toEqual([0, CREDIT - 1, false])
    await turns()
    expect(of('flow').filter(({ handle }) => handle !== undefined)).toEqual([])
    client.settle(0, { type: 'accepted' }, { role: false, last: CREDIT - 1 })
    await turns()
    expect(of('flow').at(-1)).toMatchObject({ handle: 0, deliveryCount: CREDIT, linkCredit: CREDIT })
  })

  const outcomes: Readonly<Record<FaultCode, object>> = {
    malformed: { type: 'rejected', error: { condition: 'amqp:decode-error' } },
    tooLarge: { type: 'rejected', error: { condition: 'amqp:link:message-size-exceeded' } },
    unsupported: { type: 'rejected', error: { condition: 'amqp:not-implemented' } },
    unauthenticated: { type: 'rejected', error: { condition: 'amqp:unauthorized-access' } },
    forbidden: { type: 'rejected', error: { condition: 'amqp:unauthorized-access', description: 'planted' } },
    invalid: { type: 'rejected', error: { condition: 'amqp:invalid-field' } },
    topicNotFound: { type: 'rejected', error: { condition: 'amqp:not-found' } },
    groupNotFound: { type: 'rejected', error: { condition: 'amqp:not-found' } },
    receiptExpired: { type: 'rejected', error: { condition: 'amqp:precondition-failed' } },
    notFound: { type: 'rejected', error: { condition: 'amqp:not-found' } },
    conflict: { type: 'rejected', error: { condition: 'amqp:resource-locked' } },
    limit: { type: 'rejected', error: { condition: 'amqp:resource-limit-exceeded' } },
    throttled: { type: 'released' },
    busy: { type: 'released' },
    circuitOpen: { type: 'released' },
    unavailable: { type: 'released' },
    draining: { type: 'released' },
    outcomeUnknown: { type: 'modified', deliveryFailed: true },
    internal: { type: 'rejected', error: { condition: 'amqp:internal-error', description: 'internal error' } },
  }
  it.each(Object.entries(outcomes))('whose publish fails with %s hears of it', async (code, state) => {
    await client.sender('orders')
    gateway.failNext('publish', new Fault(code as FaultCode, 'planted'))
    client.transfer(0, message('x'))
    expect((await client.next('disposition')).state).toMatchObject(state)
    client.transfer(1, message('x'))
    expect((await client.next('disposition')).state?.type).toBe('accepted')
  })

  it('of a message that is none is told so, and may send another', async () => {
    await client.sender('orders')
    client.transfer(0, Buffer.from('005375a1', 'hex'))
    expect((await client.next('disposition')).state).toMatchObject({ error: { condition: 'amqp:decode-error' } })
    client.transfer(1, message('x'))
    expect((await client.next('disposition')).state?.type).toBe('accepted')
  })

  it('gets no credit while it is throttled', async () => {
    await client.sender('orders')
    gateway.failNext('publish', new Fault('throttled', 'slow down', { retryAfter: 3_000 }))
    for (let id = 0; id < CREDIT; id++) client.transfer(id, message('x'))
    await turns(20)
    expect(of('flow').filter(({ handle }) => handle !== undefined)).toEqual([])
    await gateway.clock.pass(4_000)
    expect(of('flow').filter(({ handle }) => handle !== undefined)).toMatchObject([{ linkCredit: CREDIT }])
  })
})

describe('credit', () => {
  it('is renewed as publishes finish, and not before', async () => {
    await client.sender('orders')
    const hold = gateway.hold('publish')
    for (let id = 0; id < CREDIT; id++) client.transfer(id, message('x'))
    await turns(20)
    expect(of('flow').filter(({ handle }) => handle !== undefined)).toEqual([])
    hold.release(CREDIT / 2 - 1)
    await turns(20)
    expect(of('flow').filter(({ handle }) => handle !== undefined)).toEqual([])
    hold.release(1)
    await turns(20)
    expect(of('flow')).toMatchObject([{ handle: 0, deliveryCount: CREDIT, linkCredit: CREDIT / 2 }])
    hold.release()
  })

  it('is no larger than what one connection may have in flight', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { inflight: 10 } })
    client = await Client.open(protocol, gateway)
    client.send({
      type: 'attach',
      name: 's',
      handle: 0,
      role: false,
      initialDeliveryCount: 0,
      target: { type: 'target', address: 'orders' },
    })
    await client.next('attach')
    expect(await client.next('flow')).toMatchObject({ linkCredit: 10 })
  })

  it('that is overrun ends the link', async () => {
    await client.sender('orders')
    gateway.hold('publish')
    for (let id = 0; id <= CREDIT; id++) client.transfer(id, message('x'))
    await turns(20)
    expect(frames().find(({ type }) => type === 'detach')).toMatchObject({
      closed: true,
      error: { condition: 'amqp:link:transfer-limit-exceeded' },
    })
  })

  it('is said again when the sender asks', async () => {
    await client.sender('orders')
    client.flow({ handle: 0, deliveryCount: 0, echo: true })
    expect(await client.next('flow')).toMatchObject({ handle: 0, deliveryCount: 0, linkCredit: CREDIT })
  })

  it('that the sender gives back by counting on is granted again', async () => {
    await client.sender('orders')
    client.flow({ handle: 0, deliveryCount: CREDIT })
    expect(await client.next('flow')).toMatchObject({ deliveryCount: CREDIT, linkCredit: CREDIT })
  })
})

describe('a delivery', () => {
  it('comes in many frames', async () => {
    await client.sender('orders')
    const body = Buffer.alloc(1024 * 1024, 'abcdefg')
    const bytes = message(body)
    for (let at = 0; at < bytes.length; at += 60_000) {
      const more = at + 60_000 < bytes.length
      client.transfer(0, bytes.subarray(at, at + 60_000), {
        more,
        ...(at > 0 && { deliveryId: undefined, deliveryTag: undefined }),
      })
    }
    await client.next('disposition')
    expect(gateway.messages('orders')[0]?.body.equals(body)).toBe(true)
  })

  it('that is aborted is forgotten', async () => {
    await client.sender('orders')
    client.transfer(0, message('half'), { more: true })
    client.transfer(0, Buffer.alloc(0), { aborted: true })
    client.transfer(1, message('whole'))
    expect(await client.next('disposition')).toMatchObject({ first: 1 })
    expect(gateway.messages('orders')).toHaveLength(1)
  })

  it.each<[string, (client: Client) => void, string]>([
    ['without an id', (client) => client.transfer(0, message('x'), { deliveryId: undefined }), 'amqp:invalid-field'],
    ['without a tag', (client) => client.transfer(0, message('x'), { deliveryTag: undefined }), 'amqp:invalid-field'],
    [
      'with a tag of 33 bytes',
      (client) => client.transfer(0, message('x'), { deliveryTag: Buffer.alloc(33) }),
      'amqp:invalid-field',
    ],
    ['that resumes', (client) => client.transfer(0, message('x'), { resume: true }), 'amqp:not-implemented'],
    ['of another format', (client) => client.transfer(0, message('x'), { messageFormat: 1 }), 'amqp:not-implemented'],
    [
      'in a transaction',
      (client) => client.transfer(0, message('x'), { state: { type: 'transactionalState', txnId: Buffer.alloc(1) } }),
      'amqp:not-implemented',
    ],
    [
      'within another',
      (client) => {
        client.transfer(0, message('x'), { more: true })
        client.transfer(1, message('x'))
      },
      'amqp:not-allowed',
    ],
  ])('%s ends its link', async (_, harm, condition) => {
    await client.sender('orders')
    harm(client)
    expect(await client.error('detach')).toBe(condition)
    // Its handle stays taken until the client has detached too; what comes on it is not answered.
    client.transfer(5, message('x'))
    client.flow({ handle: 0, echo: true })
    client.send({ type: 'detach', handle: 0, closed: true })
    await client.sender('orders')
    expect(gateway.messages('orders')).toHaveLength(0)
  })

  it('larger than max-message-size ends its link as soon as that is known', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { bodyBytes: 10_000 } })
    client = await Client.open(protocol, gateway)
    await client.sender('orders')
    client.transfer(0, Buffer.alloc(60_000), { more: true })
    client.transfer(0, Buffer.alloc(60_000), { more: true })
    expect(await client.error('detach')).toBe('amqp:link:message-size-exceeded')
  })

  it('with a body above limits.bodyBytes is rejected', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { bodyBytes: 1_000 } })
    client = await Client.open(protocol, gateway)
    await client.sender('orders')
    client.transfer(0, message(Buffer.alloc(1_001)))
    expect((await client.next('disposition')).state).toMatchObject({
      error: { condition: 'amqp:link:message-size-exceeded' },
    })
  })

  it('for which there is no memory is released', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { bodyBytes: 10_000 } })
    client = await Client.open(protocol, gateway)
    await client.sender('orders')
    const hold = gateway.hold('publish')
    for (let id = 0; id < 20; id++) client.transfer(id, message(Buffer.alloc(9_000)))
    await turns(20)
    const released = of('disposition')
    expect(released.every(({ state }) => state?.type === 'released')).toBe(true)
    expect(released.length + hold.waiting).toBe(20)
    expect(hold.waiting).toBeLessThanOrEqual(17)
    hold.release()
    await turns(20)
    expect(gateway.messages('orders').length).toBe(20 - released.length)
  })

  it('that costs next to nothing a frame still counts as memory', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { bodyBytes: 1_000 } })
    client = await Client.open(protocol, gateway)
    await client.sender('orders')
    for (let n = 0; n < 2_000; n++) client.transfer(0, Buffer.alloc(0), { more: n < 1_999 })
    await turns(20)
    expect(of('disposition')).toMatchObject([{ first: 0, state: { type: 'released' } }])
  })

  it('whose types are too much to keep is counted as a loss', async () => {
    await client.sender('orders')
    client.transfer(
      0,
      message(
        'x',
        Object.fromEntries(Array.from({ length: 800 }, (_, n) => [`a-long-name-${n}`, { type: 'int', value: n }])),
      ),
    )
    await client.next('disposition')
    expect(gateway.losses).toEqual([{ from: 'amqp', to: 'amqp', field: 'original' }])
  })
})

describe('links', () => {
  it('of one name but two directions live beside each other', async () => {
    await client.sender('orders', { name: 'pair' })
    await client.receiver('orders::g', { name: 'pair' })
    client.credit(1)
    client.transfer(0, message('x'))
    await turns(20)
    expect(
      frames()
        .map(({ type }) => type)
        .sort(),
    ).toEqual(['disposition', 'transfer'])
  })

  it('of one name and direction: the later one takes it over', async () => {
    await client.sender('orders')
    client.begin({}, 1)
    await client.next('begin')
    const target = { type: 'target', address: 'orders' } as const
    client.send(
      { type: 'attach', name: 'sender', handle: 0, role: false, initialDeliveryCount: 0, target },
      undefined,
      1,
    )
    const detach = await client.next('detach')
    expect(detach).toMatchObject({ channel: 0, error: { condition: 'amqp:link:stolen' } })
    expect(await client.next('attach')).toMatchObject({ channel: 1 })
  })

  it('with a name that is too long are refused', async () => {
    await client.sender('orders', { name: 'x'.repeat(2_000) })
    expect(await client.error('detach')).toBe('amqp:invalid-field')
  })

  it('have handles below the client’s handle-max', async () => {
    client.begin({ handleMax: 0 }, 4)
    await client.next('begin')
    const target = { type: 'target', address: 'orders' } as const
    client.send({ type: 'attach', name: 'a', handle: 200, role: false, initialDeliveryCount: 0, target }, undefined, 4)
    expect(await client.next('attach')).toMatchObject({ handle: 0 })
    await client.next('flow')
    client.send({ type: 'attach', name: 'b', handle: 201, role: false, initialDeliveryCount: 0, target }, undefined, 4)
    expect(await client.error('end')).toBe('amqp:not-allowed')
  })

  it('that a client detaches are detached', async () => {
    await client.sender('orders')
    client.transfer(0, message('half'), { more: true })
    client.send({ type: 'detach', handle: 0, closed: true })
    expect(await client.next('detach')).toMatchObject({ handle: 0, closed: true, error: undefined })
    await client.sender('orders')
  })
})
