import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Client, message } from '../test/client.ts'
import { INCOMING_WINDOW } from './host.ts'
import amqp from './index.ts'

let gateway: FakeGateway
let client: Client
const protocol = amqp()
beforeEach(async () => {
  gateway = fakeGateway({ topics: ['orders'] })
  client = await Client.open(protocol, gateway)
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

describe('a session', () => {
  it('is begun on the channel of its client and ended by it', async () => {
    client.begin({ nextOutgoingId: 5 }, 9)
    expect(await client.next('begin')).toMatchObject({ channel: 9, remoteChannel: 9, handleMax: 255 })
    client.send({ type: 'end' }, undefined, 9)
    expect(await client.next('end')).toMatchObject({ channel: 9 })
    client.begin({}, 9)
    expect(await client.next('begin')).toMatchObject({ channel: 9 })
  })

  it('has a channel below the client’s channel-max', async () => {
    const small = await Client.open(protocol, gateway, { channelMax: 1 })
    small.begin({}, 40)
    expect(await small.next('begin')).toMatchObject({ channel: 1, remoteChannel: 40 })
    small.begin({}, 41)
    expect(await small.error('close')).toBe('amqp:not-allowed')
  })

  it.each<[string, (client: Client) => unknown, string]>([
    ['a transfer on no link', () => client.transfer(0, message('x'), { handle: 9 }), 'amqp:session:unattached-handle'],
    ['a flow on no link', () => client.flow({ handle: 9 }), 'amqp:session:unattached-handle'],
    ['a detach of no link', () => client.send({ type: 'detach', handle: 9 }), 'amqp:session:unattached-handle'],
    ['a range that runs backwards', () => client.settle(9, { type: 'accepted' }, { last: 8 }), 'amqp:invalid-field'],
  ])('is ended by %s', async (_, harm, condition) => {
    harm(client)
    expect(await client.error('end')).toBe(condition)
    // What was on its way is not answered; then the channel is free again.
    client.flow({ handle: 9 })
    client.send({ type: 'end' })
    client.begin()
    await client.next('begin')
  })

  it('is ended by a handle that is in use', async () => {
    await client.sender('orders')
    client.send({ type: 'attach', name: 'other', handle: 0, role: true, source: { type: 'source', address: 'orders' } })
    expect(await client.error('end')).toBe('amqp:session:handle-in-use')
  })

  it('is ended by a transfer on a receiver', async () => {
    await client.receiver('orders')
    client.transfer(0, message('x'), { handle: 1 })
    expect(await client.error('end')).toBe('amqp:not-allowed')
  })

  it('is ended by a transfer beyond its window', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { bodyBytes: 100 } })
    const small = await Client.open(protocol, gateway)
    await small.sender('orders')
    // What is being published takes the memory, so the window is not renewed.
    gateway.hold('publish')
    for (let id = 0; id < 4; id++) small.transfer(id, message('x'))
    for (let n = 4; n < INCOMING_WINDOW; n++) small.transfer(4, Buffer.alloc(0), { more: true })
    await turns()
    expect(small.frames.here()).toEqual([])
    small.transfer(4, Buffer.alloc(0), { more: true })
    expect(await small.error('end')).toBe('amqp:session:window-violation')
  })

  it('renews its window before it is used up', async () => {
    await client.sender('orders')
    for (let n = 0; n < INCOMING_WINDOW * 3; n++) client.transfer(0, Buffer.from([0]), { more: true })
    const flows = [await client.next('flow'), await client.next('flow')]
    expect(flows[0]).toMatchObject({ nextIncomingId: INCOMING_WINDOW / 2, incomingWindow: INCOMING_WINDOW })
    expect(flows[1]?.handle).toBeUndefined()
  })

  it('answers an echo', async () => {
    client.flow({ echo: true })
    expect(await client.next('flow')).toMatchObject({ nextOutgoingId: 0, incomingWindow: INCOMING_WINDOW })
  })

  it('sends no more transfers than its client’s window takes, and goes on when that is renewed', async () => {
    client.begin({ incomingWindow: 2 }, 3)
    await client.next('begin')
    const source = { type: 'source', address: 'orders::g' } as const
    client.send({ type: 'attach', name: 'r', handle: 0, role: true, source }, undefined, 3)
    await client.next('attach')
    const flow = {
      type: 'flow',
      nextOutgoingId: 0,
      outgoingWindow: 1,
      handle: 0,
      linkCredit: 100,
      deliveryCount: 0,
    } as const
    client.send({ ...flow, nextIncomingId: 0, incomingWindow: 2 }, undefined, 3)
    await client.sender('orders')
    for (let id = 0; id < 5; id++) client.transfer(id, message(`m${id}`))
    await turns(30)
    const transfers = () =>
      client.frames.here().filter((frame) => frame.kind === 'amqp' && frame.body?.type === 'transfer')
    expect(transfers()).toHaveLength(2)
    client.send({ ...flow, nextIncomingId: 2, incomingWindow: 2 }, undefined, 3)
    await turns(30)
    expect(transfers()).toHaveLength(2)
    // The client has not seen the last two yet: they still use what it says now.
    client.send({ ...flow, nextIncomingId: 2, incomingWindow: 3 }, undefined, 3)
    await turns(30)
    expect(transfers()).toHaveLength(1)
  })

  it('takes a word on every delivery number there is in no time', async () => {
    await client.receiver('orders::g')
    client.credit(10)
    await client.sender('orders')
    for (let id = 0; id < 3; id++) client.transfer(id, message(`m${id}`))
    await turns(30)
    client.frames.here()
    // One after the other they would take minutes.
    client.settle(0, { type: 'accepted' }, { last: 0xffff_ffff })
    await turns(30)
    expect(gateway.of('settle').flatMap(({ receipts }) => receipts)).toHaveLength(3)
  })

  it('takes a word on numbers that are not out for nothing', async () => {
    client.settle(1000, { type: 'accepted' }, { last: 1000 + 2 ** 31 })
    client.settle(0, undefined)
    client.settle(0, { type: 'accepted' }, { role: false })
    client.flow({ echo: true })
    await client.next('flow')
    expect(gateway.of('settle')).toEqual([])
  })

  it('is ended by a transaction', async () => {
    await client.receiver('orders::g')
    client.credit(1)
    await client.sender('orders')
    client.transfer(0, message('m'))
    await turns(30)
    client.frames.here()
    client.settle(0, { type: 'transactionalState', txnId: Buffer.from('t') })
    expect(await client.error('end')).toBe('amqp:not-implemented')
  })

  it('has no more links than a connection may have', async () => {
    const target = { type: 'target', address: 'orders' } as const
    const attach = (handle: number, channel: number) =>
      client.send(
        { type: 'attach', name: `s${channel}-${handle}`, handle, role: false, initialDeliveryCount: 0, target },
        undefined,
        channel,
      )
    for (let channel = 1; channel <= 4; channel++) {
      client.begin({}, channel)
      for (let handle = 0; handle < 256; handle++) attach(handle, channel)
    }
    attach(0, 0)
    const details = () =>
      client.frames
        .here()
        .flatMap((frame) => (frame.kind === 'amqp' && frame.body?.type === 'detach' ? [frame.body.error] : []))
    await turns(50)
    expect(details()).toMatchObject([{ condition: 'amqp:resource-limit-exceeded' }])
  })

  it('counts on beyond 2^32', async () => {
    client.begin({ nextOutgoingId: 0xffff_fffe }, 2)
    await client.next('begin')
    const target = { type: 'target', address: 'orders' } as const
    client.send(
      { type: 'attach', name: 'w', handle: 0, role: false, initialDeliveryCount: 0xffff_fffb, target },
      undefined,
      2,
    )
    await client.next('attach')
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 0xffff_fffb, linkCredit: 256 })
    for (let n = 0; n < 130; n++) {
      const deliveryId = (0xffff_fffe + n) >>> 0
      const transfer = { type: 'transfer', handle: 0, deliveryId, deliveryTag: Buffer.from('t') } as const
      client.send(transfer, message('x'), 2)
    }
    await turns(30)
    const frames = client.frames.here().flatMap((frame) => (frame.kind === 'amqp' && frame.body ? [frame.body] : []))
    const accepted = frames.filter((body) => body.type === 'disposition')
    expect(accepted[0]).toMatchObject({ first: 0xffff_fffe })
    expect(accepted.at(-1)).toMatchObject({ last: 127 })
    expect(frames.find((body) => body.type === 'flow')).toMatchObject({ type: 'flow' })
    expect(gateway.messages('orders')).toHaveLength(130)
  })
})
