import {
  type Binding,
  type Credentials,
  type Delivered,
  Fault,
  type Lease,
  type Message,
  type Session,
} from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { turns } from './clock.ts'
import { type FakeGateway, fakeGateway } from './gateway.ts'
import { fakePeer, faultOf } from './wire.ts'

let gateway: FakeGateway
let session: Session
beforeEach(async () => {
  gateway = fakeGateway()
  session = await admit('one')
})
afterEach(() => gateway.close())

const who = (client: string): Credentials => ({
  protocol: 'test',
  client,
  language: 'ts',
  version: 1,
  peer: fakePeer(),
})
const admit = (client: string) => gateway.admit(who(client), async () => undefined)
const context = (of = session, signal?: AbortSignal) => gateway.context(of, 5_000, signal && { signal })
const publish = async (topic: string, text: string, more: Partial<Message> = {}) => {
  const message = { topic, body: Buffer.from(text), properties: {}, ...more }
  const { stored } = await gateway.handle({ kind: 'publish', messages: [message], oneway: false }, context())
  if (Fault.is(stored[0])) throw stored[0]
  return stored[0]!
}
const pop = async (group: string, more: { max?: number; invisible?: number; wait?: number; fifo?: boolean } = {}) => {
  const { max = 10, invisible = 30_000, wait = 0, fifo = false } = more
  const source = { kind: 'group', topic: 'orders', group } as const
  return [...(await gateway.handle({ kind: 'pop', source, max, invisible, wait, fifo }, context())).batch]
}
const texts = (delivered: readonly Delivered[]) => delivered.map(({ message }) => message.body.toString())
const settle = (delivered: readonly Delivered[], outcome: Parameters<typeof settleAll>[1]) =>
  settleAll(
    delivered.map(({ receipt }) => receipt!),
    outcome,
  )
const settleAll = (
  receipts: readonly NonNullable<Delivered['receipt']>[],
  outcome:
    | { kind: 'accept' }
    | { kind: 'received' }
    | { kind: 'retry'; after?: number; counts: boolean }
    | { kind: 'dead' },
) => gateway.handle({ kind: 'settle', receipts, outcome }, context())

describe('a group', () => {
  it('gives each message once, in order', async () => {
    for (const text of ['a', 'b', 'c']) await publish('orders', text)
    expect(texts(await pop('g', { max: 2 }))).toEqual(['a', 'b'])
    expect(texts(await pop('g'))).toEqual(['c'])
    expect(texts(await pop('other'))).toEqual(['a', 'b', 'c'])
  })

  it('gives a message again after its invisible time, as the next attempt', async () => {
    await publish('orders', 'a')
    const [first] = await pop('g', { invisible: 1_000 })
    gateway.clock.advance(1_000)
    const [second] = await pop('g')
    expect([first!.attempt, second!.attempt]).toEqual([1, 2])
    expect((await settle([first!], { kind: 'accept' })).failed[0]!.fault.code).toBe('receiptExpired')
    expect((await settle([second!], { kind: 'accept' })).failed).toEqual([])
    gateway.clock.advance(60_000)
    expect(await pop('g')).toEqual([])
  })

  it('moves a deadline with a new receipt, the old one fails', async () => {
    await publish('orders', 'a')
    const [first] = await pop('g', { invisible: 1_000 })
    const { renewed } = await settle([first!], { kind: 'retry', after: 5_000, counts: false })
    gateway.clock.advance(4_000)
    expect(await pop('g')).toEqual([])
    expect((await settle([first!], { kind: 'accept' })).failed).toHaveLength(1)
    expect((await settleAll([renewed![0] as Lease], { kind: 'accept' })).failed).toEqual([])
  })

  it('gives back at once, counted or not, and buries what had its attempts', async () => {
    await gateway.handle(
      { kind: 'admin', action: { do: 'putGroup', spec: { group: 'g', fifo: false, maxAttempts: 2, backoff: [0] } } },
      context(),
    )
    await publish('orders', 'a')
    const attempts: number[] = []
    for (const counts of [false, true, true]) {
      const got = await pop('g')
      attempts.push(got[0]!.attempt)
      await settle(got, { kind: 'retry', after: 0, counts })
    }
    expect(attempts).toEqual([1, 1, 2])
    expect(await pop('g')).toEqual([])
    expect(gateway.messages('%DLQ%g').map(({ body }) => body.toString())).toEqual(['a'])
  })

  it('keeps a fifo group back while one of it is out', async () => {
    await publish('orders', 'a1', { group: 'a' })
    await publish('orders', 'b1', { group: 'b' })
    const first = await pop('g', { max: 1, fifo: true })
    await publish('orders', 'a2', { group: 'a' })
    expect(texts(await pop('g', { fifo: true }))).toEqual(['b1'])
    await settle(first, { kind: 'accept' })
    expect(texts(await pop('g', { fifo: true }))).toEqual(['a2'])
  })

  it('parks a poll until something comes, time is up or the client goes away', async () => {
    const waiting = pop('g', { wait: 1_000 })
    expect(gateway.parked).toBe(1)
    await publish('orders', 'a')
    expect(texts(await waiting)).toEqual(['a'])

    const late = pop('g', { wait: 1_000 })
    gateway.clock.advance(1_000)
    expect(await late).toEqual([])

    const abort = new AbortController()
    const source = { kind: 'group', topic: 'orders', group: 'g' } as const
    const gone = gateway.handle(
      { kind: 'pop', source, max: 1, invisible: 0, wait: 1_000, fifo: false },
      context(session, abort.signal),
    )
    abort.abort()
    expect((await gone).batch.count).toBe(0)
    expect(gateway.parked).toBe(0)
  })

  it('sends back what was pulled into the retry topic of the group', async () => {
    const { place, queue, offset } = await publish('orders', 'a')
    const lease: Lease = {
      of: 'group',
      node: queue.node,
      topic: 'orders',
      group: 'g',
      queue: 0,
      offset,
      place,
      first: offset,
      poppedAt: 0,
      invisible: 0,
      revive: 0,
      retry: 0,
      attempt: 1,
    }
    await settleAll([lease], { kind: 'retry', after: 1_000, counts: true })
    expect(gateway.messages('%RETRY%g')).toEqual([])
    gateway.clock.advance(1_000)
    expect(gateway.messages('%RETRY%g').map(({ body }) => body.toString())).toEqual(['a'])
    await settleAll([lease], { kind: 'dead' })
    expect(gateway.messages('%DLQ%g')).toHaveLength(1)
  })

  it('keeps the fields of a message that are getters', async () => {
    class Lazy implements Message {
      readonly topic = 'orders'
      readonly body = Buffer.from('a')
      get properties() {
        return { color: 'red' }
      }
      get tag() {
        return 'blue'
      }
    }
    await gateway.handle({ kind: 'publish', messages: [new Lazy()], oneway: false }, context())
    expect(gateway.messages('orders')[0]).toMatchObject({ tag: 'blue', properties: { color: 'red' } })
  })

  it('gives back what was leased for a session when it is released', async () => {
    await publish('orders', 'a')
    const other = await admit('two')
    const source = { kind: 'group', topic: 'orders', group: 'g' } as const
    const take = { kind: 'pop', source, max: 1, invisible: 'session', wait: 0, fifo: false } as const
    expect((await gateway.handle(take, context(other))).batch.count).toBe(1)
    gateway.clock.advance(3_600_000)
    expect(await pop('g')).toEqual([])
    gateway.release(other)
    expect(texts(await pop('g'))).toEqual(['a'])
  })

  it('holds a delayed message until its time, unless recalled', async () => {
    const { recallHandle } = await publish('orders', 'no', { deliverAt: gateway.clock.now() + 1_000 })
    await publish('orders', 'yes', { deliverAt: gateway.clock.now() + 2_000 })
    await gateway.handle({ kind: 'recall', topic: 'orders', handle: recallHandle! }, context())
    expect(await pop('g')).toEqual([])
    gateway.clock.advance(2_000)
    expect(texts(await pop('g'))).toEqual(['yes'])
  })

  it('shows a half message to nobody before the commit, and asks after its time', async () => {
    const { half } = await publish('orders', 'a', { half: { checkAfter: 1_000 } })
    const source = { kind: 'halves', topic: 'orders', group: '' } as const
    const ask = { kind: 'pop', source, max: 8, invisible: 0, wait: 2_000, fifo: false } as const
    const asked = gateway.handle(ask, context())
    gateway.clock.advance(1_000)
    expect([...(await asked).batch][0]!.half).toEqual(half)
    expect(await pop('g')).toEqual([])
    await gateway.handle({ kind: 'endTransaction', half: half!, resolution: 'commit', byCheck: true }, context())
    expect(texts(await pop('g'))).toEqual(['a'])
  })
})

describe('an inbox', () => {
  const open = (name: string, fresh = false, expiry = 60_000, of = session) =>
    gateway.handle({ kind: 'open', inbox: name, fresh, expiry }, context(of))
  const bind = (inbox: string, epoch: number, ...add: Partial<Binding>[]) =>
    gateway.handle(
      { kind: 'bind', inbox, epoch, add: add.map((one) => ({ pattern: '#', retained: 'skip', ...one })), remove: [] },
      context(),
    )
  const take = async (inbox: string, epoch: number, invisible: 'session' | 0 = 'session') => {
    const source = { kind: 'inbox', inbox, epoch } as const
    return [
      ...(await gateway.handle({ kind: 'pop', source, max: 10, invisible, wait: 0, fifo: true }, context())).batch,
    ]
  }

  it('gets a message once however many bindings match, with their notes', async () => {
    const { epoch } = await open('i')
    await bind('i', epoch, { pattern: 'a/+', note: '1' }, { pattern: 'a/#', note: '2' }, { pattern: 'b', note: '3' })
    await publish('a', 'x', { path: 'b' })
    const got = await take('i', epoch)
    expect(texts(got)).toEqual(['x'])
    expect([...got[0]!.notes!].sort()).toEqual(['1', '2'])
    expect((await settle(got, { kind: 'accept' })).failed).toEqual([])
  })

  it('keeps numbers for the next open, and says what had arrived', async () => {
    const { epoch } = await open('i')
    await bind('i', epoch, {})
    await publish('a', 'x')
    await publish('a', 'y')
    const [x] = await take('i', epoch)
    await settle([x!], { kind: 'received' })
    await gateway.handle({ kind: 'leave', what: { inbox: 'i', epoch, will: 'drop' } }, context())
    const again = await open('i')
    expect(again).toMatchObject({ existed: true, epoch: epoch + 1, incoming: [] })
    const got = await take('i', again.epoch)
    expect(got.map(({ received, attempt }) => [received, attempt])).toEqual([
      [true, 2],
      [undefined, 2],
    ])
    expect((await faultOf(() => take('i', epoch))).code).toBe('conflict')
  })

  it('is gone after its expiry, and its will is told', async () => {
    const will = { message: { topic: 'wills', body: Buffer.from('w'), properties: {} }, after: 10_000 }
    const { epoch } = await gateway.handle({ kind: 'open', inbox: 'i', fresh: true, expiry: 5_000, will }, context())
    await gateway.handle({ kind: 'leave', what: { inbox: 'i', epoch, will: 'fire' } }, context())
    gateway.clock.advance(4_999)
    expect(gateway.messages('wills')).toHaveLength(0)
    gateway.clock.advance(1)
    expect(gateway.messages('wills')).toHaveLength(1)
    expect((await open('i')).existed).toBe(false)
  })

  it('shares: each message to one of those who draw', async () => {
    const epochs = { i: (await open('i')).epoch, j: (await open('j')).epoch }
    for (const name of ['i', 'j'] as const) await bind(name, epochs[name], { share: 's', pattern: 't' })
    await publish('t', '1')
    await publish('t', '2')
    const got = [...(await take('i', epochs.i)), ...(await take('j', epochs.j))]
    expect(texts(got)).toEqual(['1', '2'])
  })

  it('replays what is retained', async () => {
    await publish('t', 'kept', { path: 'x', retain: true })
    const { epoch } = await open('i')
    await bind('i', epoch, { pattern: 't/#', retained: 'send' })
    const [got] = await take('i', epoch, 0)
    expect(got).toMatchObject({ retained: true })
    expect(got!.receipt).toBeUndefined()
  })

  it('answers an exactly-once publish again the same way until the number is free', async () => {
    const { epoch } = await open('i')
    const once = { of: 'inbox', node: 'memory', inbox: 'i', epoch, way: 'in', slot: 7 } as const
    const message = { topic: 't', body: Buffer.from('x'), properties: {} }
    const say = () => gateway.handle({ kind: 'publish', messages: [message], oneway: false, once }, context())
    expect(await say()).toEqual(await say())
    expect(gateway.messages('t')).toHaveLength(1)
    expect((await open('i')).incoming).toEqual([7])
  })

  it('is taken over: the old client is told', async () => {
    const told: string[] = []
    const old = await gateway.admit(who('c'), async (notice) => {
      if (notice.kind === 'goAway') told.push(notice.reason)
    })
    await open('i', false, 60_000, old)
    await open('i')
    expect(told).toEqual(['takenOver'])
  })
})

describe('the gateway around it', () => {
  it('notes, fails and holds commands', async () => {
    gateway.failNext('publish', new Fault('throttled', 'slow down'))
    expect((await faultOf(() => publish('t', 'x'))).code).toBe('throttled')
    const hold = gateway.hold('publish')
    let done = false
    const publishing = publish('t', 'x').then(() => (done = true))
    await turns()
    expect([done, hold.waiting, gateway.messages('t').length]).toEqual([false, 1, 1])
    hold.release()
    await publishing
    expect(gateway.of('publish')).toHaveLength(2)
  })

  it('runs real pumps: credit, give-back', async () => {
    for (let n = 0; n < 5; n++) await publish('orders', String(n))
    const got: Delivered[] = []
    const pump = gateway.pump(
      { kind: 'group', topic: 'orders', group: 'g' },
      {
        session,
        invisible: 30_000,
        batch: 10,
        fifo: false,
        deliver: (delivered) => void got.push(...delivered),
        failed: (fault) => expect.unreachable(fault.message),
      },
    )
    pump.credit(3)
    await turns()
    expect(texts(got)).toEqual(['0', '1', '2'])
    pump.settle(got.slice(0, 1), { kind: 'accept' })
    await pump.stop()
    expect(gateway.returned).toMatchObject([{ messages: 2 }])
    expect(texts(await pop('g'))).toEqual(['1', '2', '3', '4'])
  })

  it('knows users, refuses what it does not know', async () => {
    const closed = fakeGateway({ users: { ann: 'secret' }, autoCreate: false, topics: ['known'] })
    const refusal = await faultOf(() => closed.authenticate({ ...who('c'), user: 'ann', secret: Buffer.from('no') }))
    expect(refusal.code).toBe('unauthenticated')
    expect(await closed.authenticate({ ...who('c'), user: 'ann', secret: Buffer.from('secret') })).toMatchObject({
      name: 'ann',
    })
    const message = { topic: 'unknown', body: Buffer.alloc(0), properties: {} }
    const say = () => closed.handle({ kind: 'publish', messages: [message], oneway: false }, closed.context(session, 1))
    expect((await faultOf(say)).code).toBe('topicNotFound')
    const ask = () => closed.handle({ kind: 'admin', action: { do: 'listUsers' } }, closed.context(session, 1))
    expect((await faultOf(ask)).code).toBe('unsupported')
  })
})
