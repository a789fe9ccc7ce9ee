import { Fault, type Filter } from '@sluice/core'
import { batchOf, type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Client, message, type Received } from '../test/client.ts'
import amqp from './index.ts'
import type { CompositeOf } from './shapes.ts'
import { described, mapOf, symbol, type Value } from './types/values.ts'

let gateway: FakeGateway
let client: Client
const protocol = amqp()
beforeEach(async () => {
  gateway = fakeGateway({ topics: ['orders'], groups: [{ group: 'g', fifo: false, maxAttempts: 16, backoff: [100] }] })
  client = await Client.open(protocol, gateway)
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

/** Stores messages by another connection. */
const publish = async (...bodies: (string | Buffer)[]): Promise<void> => {
  const producer = await Client.open(protocol, gateway)
  await producer.sender('orders')
  for (const [id, body] of bodies.entries()) producer.transfer(id, message(body))
  for (let done = 0; done < bodies.length; ) {
    const { first, last = first } = await producer.next('disposition')
    done += last - first + 1
  }
  producer.wire.destroy()
}
const frames = () =>
  client.frames
    .here()
    .flatMap((frame) => (frame.kind === 'amqp' && frame.body ? [{ ...frame.body, payload: frame.payload }] : []))
const transfers = () => frames().filter(({ type }) => type === 'transfer') as unknown as Received<'transfer'>[]
const outcomes = () => gateway.of('settle').map(({ outcome }) => outcome)
const source = (more: Partial<CompositeOf<'source'>>) =>
  ({ source: { type: 'source', address: 'orders', ...more } }) as const
const groups = () => gateway.of('pop').map((pop) => (pop.source.kind === 'group' ? pop.source.group : ''))

describe('a receiver', () => {
  it.each<[string, string, Partial<CompositeOf<'attach'>>, string]>([
    ['its address', '/topics/orders/groups/my%20group', {}, 'my group'],
    ['the short form of it', 'orders::g', {}, 'g'],
    ['a queue, which is topic and group', '/queues/orders', {}, 'orders'],
    ['x-opt-group of its link', 'orders', { properties: mapOf([[symbol('x-opt-group'), 'own']]) }, 'own'],
    ['the name of its durable link', 'orders', { name: 'sub-1', ...source({ durable: 2 }) }, 'sub-1'],
    ['a link that never expires', '/topics/orders', { name: 'sub-2', ...source({ expiryPolicy: 'never' }) }, 'sub-2'],
    ['the default', 'orders', {}, 'amqp-default'],
  ])('belongs to the group of %s', async (_, address, more, group) => {
    const attach = await client.receiver(address, more)
    expect(attach).toMatchObject({ role: false, handle: 0, initialDeliveryCount: 0, source: { type: 'source' } })
    client.credit(1)
    await turns()
    expect(groups()).toEqual([group])
  })

  it('belongs to the default group that the gateway was given', async () => {
    const other = amqp({ defaultGroup: 'everyone' })
    client = await Client.open(other, gateway)
    await client.receiver('orders')
    client.credit(1)
    await turns()
    expect(groups()).toEqual(['everyone'])
    await (await serverOf(other, gateway)).close()
  })

  it.each<[string, Partial<CompositeOf<'attach'>>, string]>([
    ['no source', { source: undefined }, 'amqp:not-found'],
    ['a source of an unknown type', { source: described(symbol('x'), null) }, 'amqp:invalid-field'],
    ['no address', source({ address: undefined }), 'amqp:invalid-field'],
    ['a dynamic source', source({ address: undefined, dynamic: true }), 'amqp:not-implemented'],
    ['a path', source({ address: 'orders/a' }), 'amqp:not-implemented'],
    ['an empty group', source({ address: 'orders::' }), 'amqp:invalid-field'],
    ['an address of RabbitMQ', source({ address: '/exchanges/x' }), 'amqp:invalid-field'],
  ])('with %s is refused', async (_, more, condition) => {
    expect((await client.receiver('', more)).source).toBeUndefined()
    expect(await client.error('detach')).toBe(condition)
  })

  it('whose topic does not exist is detached when it wants something', async () => {
    gateway = fakeGateway({ autoCreate: false })
    client = await Client.open(protocol, gateway)
    gateway.failNext('pop', new Fault('topicNotFound', 'no topic orders'))
    await client.receiver('orders')
    client.credit(1)
    expect(await client.error('detach')).toBe('amqp:not-found')
  })

  it('gets messages, and is asked for its word on each', async () => {
    await client.receiver('orders::g')
    client.credit(10)
    await publish('one', 'two')
    const first = await client.next('transfer')
    expect(first).toMatchObject({ handle: 0, deliveryId: 0, settled: false, messageFormat: 0 })
    expect(first.payload.includes('one')).toBe(true)
    expect((await client.next('transfer')).deliveryId).toBe(1)
    client.settle(0, { type: 'accepted' }, { last: 1 })
    await turns(20)
    expect(outcomes()).toEqual([{ kind: 'accept' }])
    expect(gateway.of('settle')[0]?.receipts).toHaveLength(2)
    expect(frames()).toEqual([])
  })

  it.each<[string, CompositeOf<'disposition'>['state'], object]>([
    ['released', { type: 'released' }, { kind: 'retry', after: 0, counts: false }],
    ['modified', { type: 'modified', deliveryFailed: true }, { kind: 'retry', counts: true }],
    ['undeliverable', { type: 'modified', undeliverableHere: true }, { kind: 'dead', reason: 'undeliverable here' }],
    ['rejected', { type: 'rejected', error: { type: 'error', condition: 'a:b' } }, { kind: 'dead', reason: 'a:b' }],
    ['settled without a state', undefined, { kind: 'retry', after: 0, counts: false }],
  ])('says %s', async (_, state, outcome) => {
    await client.receiver('orders::g')
    client.credit(1)
    await publish('one')
    await client.next('transfer')
    client.settle(0, state)
    await turns(20)
    expect(outcomes()).toEqual([outcome])
  })

  it('says its default outcome by settling without a state', async () => {
    await client.receiver('', source({ address: 'orders::g', defaultOutcome: { type: 'accepted' } }))
    client.credit(1)
    await publish('one')
    await client.next('transfer')
    client.settle(0, undefined)
    await turns(20)
    expect(outcomes()).toEqual([{ kind: 'accept' }])
  })

  it('that does not settle itself is told once the broker has its word', async () => {
    await client.receiver('orders::g', { rcvSettleMode: 1 })
    client.credit(2)
    await publish('one', 'two')
    await client.next('transfer')
    await client.next('transfer')
    const hold = gateway.hold('settle')
    client.settle(0, { type: 'accepted' }, { last: 1, settled: false })
    await turns(20)
    expect(frames()).toEqual([])
    hold.release()
    expect(await client.next('disposition')).toMatchObject({
      role: false,
      first: 0,
      last: 1,
      settled: true,
      state: { type: 'accepted' },
    })
    gateway.failNext('settle', new Fault('receiptExpired', 'too late'))
    client.credit(1, { deliveryCount: 2 })
    await publish('three')
    await client.next('transfer')
    client.settle(2, { type: 'accepted' }, { settled: false })
    expect((await client.next('disposition')).state).toMatchObject({ type: 'modified', deliveryFailed: true })
  })

  it('that only says how far it has read has not said its word', async () => {
    await client.receiver('orders::g')
    client.credit(1)
    await publish('one')
    await client.next('transfer')
    client.settle(0, { type: 'received', sectionNumber: 0, sectionOffset: 0 }, { settled: false })
    client.settle(0, { type: 'accepted' })
    await turns(20)
    expect(outcomes()).toEqual([{ kind: 'accept' }])
  })

  it('that is refused a message gets it again, counted', async () => {
    await client.receiver('orders::g')
    client.credit(5)
    await publish('one')
    await client.next('transfer')
    client.settle(0, { type: 'modified', deliveryFailed: true })
    await turns(20)
    await gateway.clock.pass(1_000)
    const again = await client.next('transfer')
    // header: durable, …, first-acquirer false, delivery-count 1
    expect(again.payload.toString('hex')).toMatch(/^005370c0..05414040425201/)
  })

  it('of settled messages gets them settled, and nothing comes again', async () => {
    await client.receiver('orders::g', { sndSettleMode: 1 })
    client.credit(5)
    await publish('one')
    expect(await client.next('transfer')).toMatchObject({ settled: true })
    expect(gateway.of('pop')[0]?.invisible).toBe(0)
    client.wire.destroy()
    await turns(20)
    expect(outcomes()).toEqual([])
  })

  it('that goes away gives back what it had, uncounted', async () => {
    await client.receiver('orders::g')
    client.credit(5)
    await publish('one', 'two')
    await client.next('transfer')
    await client.next('transfer')
    client.settle(0, { type: 'accepted' })
    client.send({ type: 'detach', handle: 1, closed: true })
    expect(await client.next('detach')).toMatchObject({ handle: 0, closed: true })
    await turns(20)
    expect(outcomes()).toEqual([{ kind: 'accept' }, { kind: 'retry', after: 0, counts: false }])
    expect(gateway.parked).toBe(0)
  })
})

describe('credit', () => {
  it('is what is outstanding, not what is said', async () => {
    await client.receiver('orders::g')
    client.credit(2)
    await publish('1', '2', '3', '4', '5', '6')
    await turns(20)
    expect(transfers()).toHaveLength(2)
    client.credit(3, { deliveryCount: 1 }) // one of the two had not been seen yet
    await turns(20)
    expect(transfers()).toHaveLength(2)
    client.credit(0, { deliveryCount: 4 })
    await turns(20)
    expect(transfers()).toHaveLength(0)
  })

  it('that is taken back holds what has not been sent', async () => {
    await client.receiver('orders::g')
    client.credit(5)
    client.credit(0)
    await publish('1')
    await turns(20)
    expect(transfers()).toEqual([])
    client.credit(1)
    await turns(20)
    expect(transfers()).toHaveLength(1)
  })

  it('without end is bounded by what one connection may hold', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { inflight: 20 } })
    client = await Client.open(protocol, gateway)
    await client.receiver('orders::g')
    client.credit(0xffff_ffff)
    for (let n = 0; n < 3; n++) await publish(...Array.from({ length: 10 }, (_, at) => `m${at}`))
    await turns(20)
    expect(transfers()).toHaveLength(20)
    client.settle(0, { type: 'accepted' }, { last: 4 })
    await turns(20)
    expect(transfers()).toHaveLength(5)
  })

  it('of all links together is bounded as well', async () => {
    gateway = fakeGateway({ topics: ['orders'], limits: { sessionInflight: 3 } })
    client = await Client.open(protocol, gateway)
    for (const handle of [1, 2]) {
      await client.receiver(`orders::g${handle}`, { name: `r${handle}`, handle })
      client.credit(100, { handle })
    }
    await publish('1', '2', '3', '4')
    await turns(20)
    const sent = transfers().length
    expect(sent).toBeGreaterThanOrEqual(3)
    expect(sent).toBeLessThanOrEqual(6)
    client.settle(0, { type: 'accepted' }, { last: 100 })
    for (let n = 0; n < 4; n++) {
      await gateway.clock.pass(1_000)
      client.settle(0, { type: 'accepted' }, { last: 100 })
    }
    expect(sent + transfers().length).toBe(8)
  })
})

describe('a drain of credit', () => {
  it('with nothing there is answered at once by counting on', async () => {
    await client.receiver('orders::g')
    client.credit(10, { drain: true })
    expect(await client.next('flow')).toMatchObject({ handle: 0, deliveryCount: 10, linkCredit: 0, drain: true })
    await publish('late')
    await turns(20)
    expect(transfers()).toEqual([])
    client.credit(1, { deliveryCount: 10 })
    await client.next('transfer')
  })

  it('delivers first what is there', async () => {
    await publish('1', '2', '3')
    await client.receiver('orders::g')
    client.credit(10, { drain: true })
    for (let n = 0; n < 3; n++) await client.next('transfer')
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 10, linkCredit: 0, drain: true })
  })

  it('is over as well when all of it has been used', async () => {
    await publish('1', '2', '3')
    await client.receiver('orders::g')
    client.credit(2, { drain: true })
    await client.next('transfer')
    await client.next('transfer')
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 2, linkCredit: 0, drain: true })
  })

  it('ends a wait that had begun before', async () => {
    await client.receiver('orders::g')
    client.credit(1)
    await turns()
    expect(gateway.parked).toBe(1)
    client.credit(1, { drain: true })
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 1, linkCredit: 0 })
    await turns()
    expect(gateway.parked).toBe(0)
  })

  it('of what another consumer was faster to take is looked at again', async () => {
    await client.receiver('orders::g')
    let looks = 0
    gateway.answer('pop', async (pop, { signal }) => {
      if (pop.max > 0) await new Promise((resolve) => signal?.addEventListener('abort', resolve))
      return { batch: batchOf([]), more: pop.max === 0 && looks++ === 0 }
    })
    client.credit(1, { drain: true })
    await turns()
    expect(frames()).toEqual([])
    await gateway.clock.pass(1_000)
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 1, linkCredit: 0, drain: true })
  })

  it('that the broker cannot answer is over nevertheless', async () => {
    await client.receiver('orders::g')
    gateway.failNext('pop', new Fault('unavailable', 'away'))
    client.credit(5, { drain: true })
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 5, linkCredit: 0 })
  })

  it('and an echo are answered in one', async () => {
    await client.receiver('orders::g')
    client.credit(3, { drain: true, echo: true })
    await client.next('flow')
    client.credit(4, { deliveryCount: 3, echo: true })
    expect(await client.next('flow')).toMatchObject({ deliveryCount: 3, linkCredit: 4, available: 0 })
    expect(frames()).toEqual([])
  })
})

describe('large messages', () => {
  it('leave in frames of the size that the client takes', async () => {
    client = await Client.open(protocol, gateway, { maxFrameSize: 512 })
    await client.receiver('orders::g')
    client.credit(2)
    const body = Buffer.alloc(10_000, 'abc')
    await publish(body, 'small')
    const parts: Received<'transfer'>[] = []
    do parts.push(await client.next('transfer'))
    while (parts.at(-1)!.more)
    expect(parts.every(({ payload }) => payload.length <= 512 - 40)).toBe(true)
    expect(new Set(parts.map(({ deliveryId }) => deliveryId))).toEqual(new Set([0]))
    expect(
      Buffer.concat(parts.map(({ payload }) => payload))
        .subarray(-10_000)
        .equals(body),
    ).toBe(true)
    expect(await client.next('transfer')).toMatchObject({ deliveryId: 1 })
  })

  it('wait in the middle for the client’s window', async () => {
    client = await Client.open(protocol, gateway, { maxFrameSize: 512 })
    await client.receiver('orders::g')
    client.credit(2, { incomingWindow: 3 })
    await publish(Buffer.alloc(2_000), 'small')
    await turns(20)
    expect(transfers()).toHaveLength(3)
    client.flow({ nextIncomingId: 3, incomingWindow: 100 })
    await turns(20)
    expect(transfers().map(({ deliveryId, more }) => [deliveryId, more])).toEqual([
      [0, true],
      [0, undefined],
      [1, undefined],
    ])
  })
})

describe('filters', () => {
  const selector = (text: string): Value => described({ type: 'ulong', value: 0x468c_0000_0004 }, text)
  const filter = (value: Value) => source({ address: 'orders::g', filter: mapOf([[symbol('f'), value]]) })

  it.each<[string, Value, Filter]>([
    ['a selector', selector("TAGS = 'red'"), { kind: 'sql92', expression: "TAGS = 'red'" }],
    [
      'a selector on properties',
      selector("color = 'red' AND weight > 2"),
      { kind: 'sql92', expression: "color = 'red' AND weight > 2" },
    ],
    [
      'a symbolic descriptor',
      described(symbol('apache.org:selector-filter:string'), "a='x'"),
      { kind: 'sql92', expression: "a='x'" },
    ],
    [
      'a topic binding',
      described({ type: 'ulong', value: 0x468c_0000_0001 }, 'red'),
      { kind: 'tag', expression: 'red' },
    ],
  ])('by %s are applied and answered', async (_, value, expected) => {
    const attach = await client.receiver('', filter(value))
    expect((attach.source as CompositeOf<'source'>).filter).toEqual(mapOf([[symbol('f'), value]]))
    client.credit(1)
    await turns()
    expect(gateway.of('pop')[0]?.source).toMatchObject({ filter: expected })
  })

  it.each<[string, Value, string]>([
    ['a selector on a header of JMS', selector('JMSPriority > 3'), 'amqp:not-implemented'],
    ['a selector on a field of AMQP', selector("amqp.subject = 'a'"), 'amqp:not-implemented'],
    ['a selector that does not parse', selector("TAGS = 'red"), 'amqp:invalid-field'],
    ['a binding with wildcards', described({ type: 'ulong', value: 0x468c_0000_0001 }, 'a.#'), 'amqp:not-implemented'],
    [
      'a filter that is no string',
      described({ type: 'ulong', value: 0x468c_0000_0004 }, 5 as never),
      'amqp:invalid-field',
    ],
  ])('by %s are refused', async (what, value, condition) => {
    const harmless =
      what === 'a filter that is no string'
        ? described({ type: 'ulong', value: 0x468c_0000_0004 }, { type: 'int', value: 5 })
        : value
    await client.receiver('', filter(harmless))
    expect(await client.error('detach')).toBe(condition)
  })

  it('of other kinds are left out of the answer', async () => {
    const attach = await client.receiver('', filter(described(symbol('rabbitmq:stream-offset-spec'), 'first')))
    expect((attach.source as CompositeOf<'source'>).filter).toBeUndefined()
  })
})

describe('what is lost on the way', () => {
  it('is counted', async () => {
    await client.receiver('orders::g')
    client.credit(1)
    const session = gateway.sessions.admit(
      { protocol: 'mqtt', client: 'x', language: '', version: 5, peer: client.wire.peer },
      { name: 'x', tenant: '', super: true },
      async () => undefined,
    )
    const original = { protocol: 'mqtt', bytes: Buffer.from('order') }
    await gateway.handle<'publish'>(
      {
        kind: 'publish',
        oneway: false,
        messages: [{ topic: 'orders', body: Buffer.from('x'), properties: {}, via: 'mqtt', original }],
      },
      gateway.context(session, 1_000),
    )
    await client.next('transfer')
    expect(gateway.losses).toEqual([{ from: 'mqtt', to: 'amqp', field: 'original' }])
  })
})
