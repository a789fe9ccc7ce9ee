import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBroker } from '@sluice/broker'
import {
  type AdminResults,
  type Binding,
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Kind,
  type Message,
  type Receipt,
  type Replies,
  type ReplyTo,
  Sessions,
} from '@sluice/core'
import { ANONYMOUS, type FakeClock, fakeClock, fakePeer, MemoryBackend, turns } from '@sluice/testkit'
import { afterAll, describe, expect, it } from 'vitest'

/** A broker, and the words in which a script says what it saw. */
interface Stage {
  readonly clock: FakeClock
  do<K extends Kind>(command: CommandOf<K>, signal?: AbortSignal): Promise<ReplyTo<K>>
  close(): Promise<void>
}

const sessions = new Sessions('parity')
const who = { protocol: 'test', client: 'c', language: '', version: 1, peer: fakePeer() }
const session = sessions.admit(who, ANONYMOUS, async () => undefined)
const contextAt = (clock: FakeClock, node: string, signal?: AbortSignal): Context => ({
  session,
  principal: ANONYMOUS,
  deadline: clock.now() + 60_000,
  node,
  ...(signal && { signal }),
})

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const real = async (): Promise<Stage> => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-parity-'))
  folders.push(dir)
  const clock = fakeClock()
  const broker = await openBroker({ dir: join(dir, 'log'), clock, flush: 'async', defaultQueues: 1 })
  return {
    clock,
    do: (command, signal) => broker.execute(broker.node, command, contextAt(clock, broker.node, signal)),
    close: () => broker.close(),
  }
}

const memory = async (): Promise<Stage> => {
  const clock = fakeClock()
  const backend = new MemoryBackend({}, clock, sessions)
  return {
    clock,
    do: (command, signal) => backend.execute(command, contextAt(clock, 'memory', signal)),
    close: async () => backend.close(),
  }
}

const publish = async (stage: Stage, text: string, more: Partial<Message> = {}) => {
  const message = { topic: 'orders', body: Buffer.from(text), properties: {}, ...more }
  const { stored } = await stage.do({ kind: 'publish', messages: [message], oneway: false })
  if (Fault.is(stored[0])) throw stored[0]
  return stored[0]!
}
type Pop = Partial<Omit<CommandOf<'pop'>, 'kind'>>
const source = { kind: 'group', topic: 'orders', group: 'workers' } as const
const popped = async (stage: Stage, more: Pop = {}, signal?: AbortSignal) => {
  const command = { kind: 'pop', source, max: 10, invisible: 10_000, wait: 0, fifo: false, ...more } as const
  return [...(await stage.do(command, signal)).batch]
}
const said = (delivered: readonly Delivered[]) =>
  delivered.map(({ message, attempt }) => `${message.body.toString()} ${attempt}`).sort()
const receipts = (delivered: readonly Delivered[]) => delivered.map(({ receipt }) => receipt!)
const settled = ({ failed }: Replies['settle']) => failed.map(({ at, fault }) => `${at} ${fault.code}`)
const settle = (stage: Stage, of: readonly Receipt[], outcome: CommandOf<'settle'>['outcome']) =>
  stage.do({ kind: 'settle', receipts: of, outcome })
const refusal = async (call: Promise<unknown>) => {
  try {
    return await call.then(() => 'done')
  } catch (error) {
    return Fault.from(error).code
  }
}
/** Lets deadlines of a second or so pass: brokers look at theirs now and then. */
const pass = async (stage: Stage, ms: number) => {
  await stage.clock.pass(ms)
  await turns()
}

const scripts: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  async 'each message once, in order'(stage) {
    for (const text of ['a', 'b', 'c']) await publish(stage, text)
    const first = await popped(stage, { max: 2 })
    return [said(first), said(await popped(stage)), said(await popped(stage))]
  },
  async 'a lease that ends: again, as the next attempt, and its receipt is void'(stage) {
    await publish(stage, 'a')
    const first = await popped(stage, { invisible: 10_000 })
    await pass(stage, 12_000)
    const second = await popped(stage)
    return [
      said(first),
      said(second),
      settled(await settle(stage, receipts(first), { kind: 'accept' })),
      settled(await settle(stage, receipts(second), { kind: 'accept' })),
      settled(await settle(stage, receipts(second), { kind: 'accept' })),
    ]
  },
  async 'an extended lease: a new receipt, the old one is void'(stage) {
    await publish(stage, 'a')
    const first = await popped(stage)
    const { renewed } = await settle(stage, receipts(first), { kind: 'retry', after: 30_000, counts: false })
    await pass(stage, 12_000)
    return [
      said(await popped(stage)),
      settled(await settle(stage, receipts(first), { kind: 'accept' })),
      settled(await settle(stage, [renewed![0]!], { kind: 'accept' })),
    ]
  },
  async 'given back: at once, counted or not'(stage) {
    await publish(stage, 'a')
    const seen: string[][] = []
    for (const counts of [false, true, true]) {
      const got = await popped(stage)
      seen.push(said(got))
      await settle(stage, receipts(got), { kind: 'retry', after: 0, counts })
      await pass(stage, 100)
    }
    return [...seen, said(await popped(stage))]
  },
  async 'the last attempt, and what is said to be dead: dead letters'(stage) {
    const spec = { group: 'workers', fifo: false, maxAttempts: 1, backoff: [1_000] }
    await stage.do({ kind: 'admin', action: { do: 'putGroup', spec } })
    await publish(stage, 'a')
    await publish(stage, 'b')
    const got = await popped(stage)
    const of = (text: string) => receipts(got.filter(({ message }) => message.body.toString() === text))
    await settle(stage, of('a'), { kind: 'retry', counts: true })
    await settle(stage, of('b'), { kind: 'dead' })
    await pass(stage, 5_000)
    const again = said(await popped(stage))
    await turns()
    const dead = { ...source, topic: '%DLQ%workers', group: 'undertaker' }
    const letters = await popped(stage, { source: dead })
    return [again, letters.map(({ message }) => message.body.toString()).sort()]
  },
  async 'a poll waits for a message, for its time, or for its client'(stage) {
    const first = popped(stage, { wait: 5_000 })
    await turns()
    await publish(stage, 'a')
    const late = popped(stage, { wait: 5_000 })
    await pass(stage, 7_000)
    const abort = new AbortController()
    const gone = popped(stage, { wait: 5_000 }, abort.signal)
    await turns()
    abort.abort()
    return [said(await first), said(await late), said(await gone)]
  },
  async 'invisible 0: settled on delivery'(stage) {
    await publish(stage, 'a')
    const got = await popped(stage, { invisible: 0 })
    await pass(stage, 60_000)
    return [said(got), got.map(({ receipt }) => receipt), said(await popped(stage))]
  },
  async 'a tag filter takes what matches, and passes over the rest'(stage) {
    await publish(stage, 'red', { tag: 'red' })
    await publish(stage, 'blue', { tag: 'blue' })
    const filtered = { ...source, filter: { kind: 'tag', expression: 'blue || green' } } as const
    return [said(await popped(stage, { source: filtered }))]
  },
  async 'a delayed message comes at its time'(stage) {
    await publish(stage, 'a', { deliverAt: stage.clock.now() + 5_000 })
    const early = said(await popped(stage))
    await pass(stage, 7_000)
    return [early, said(await popped(stage))]
  },
  async 'reading takes nothing, and its bounds are answered'(stage) {
    for (const text of ['a', 'b']) await publish(stage, text)
    const { routes } = await stage.do({ kind: 'topic', topic: 'orders' })
    const { queue } = routes[0]!
    const read = async (offset: number) => {
      const command = { kind: 'read', from: { by: 'offset', queue, offset }, max: 10, bytes: 1e6, wait: 0 } as const
      const { batch, next, min, max } = await stage.do(command)
      return [said([...batch]), next, min, max]
    }
    return [await read(0), await read(1), await read(2), said(await popped(stage))]
  },
  async 'offsets of a group are kept as committed'(stage) {
    await publish(stage, 'a')
    const { routes } = await stage.do({ kind: 'topic', topic: 'orders' })
    const { queue } = routes[0]!
    const ask = () => stage.do({ kind: 'queryOffset', queue, at: { group: 'reader' } })
    const before = await refusal(ask())
    await stage.do({ kind: 'commitOffset', queue, group: 'reader', offset: 1 })
    const { offset } = await ask()
    const { offset: max } = await stage.do({ kind: 'queryOffset', queue, at: 'max' })
    return [routes.length, before, offset, max]
  },
}

const open = (stage: Stage, inbox: string, more: Partial<CommandOf<'open'>> = {}) =>
  stage.do({ kind: 'open', inbox, fresh: false, expiry: 60_000, ...more })
const bind = async (stage: Stage, inbox: string, epoch: number, ...add: Partial<Binding>[]) => {
  const bindings = add.map((one) => ({ pattern: '#', retained: 'skip', ...one }) as const)
  const { granted } = await stage.do({ kind: 'bind', inbox, epoch, add: bindings, remove: [] })
  return granted.map((one) => (Fault.is(one) ? one.code : one))
}
const taken = (stage: Stage, inbox: string, epoch: number, more: Pop = {}) =>
  popped(stage, { source: { kind: 'inbox', inbox, epoch }, invisible: 'session', fifo: true, ...more })
const seen = (delivered: readonly Delivered[]) =>
  delivered.map(({ message, attempt, received, retained, notes = [], receipt }) => ({
    body: message.body.toString(),
    attempt,
    received,
    retained,
    notes: [...notes].sort(),
    numbered: receipt?.of === 'inbox' && receipt.slot > 0,
  }))

const inboxes: typeof scripts = {
  async 'a message comes once however many bindings match, with their notes'(stage) {
    const { epoch, existed } = await open(stage, 'i')
    const granted = await bind(
      stage,
      'i',
      epoch,
      { pattern: 'orders/+', note: '1' },
      { pattern: 'orders/#', note: '2' },
    )
    const bad = await bind(stage, 'i', epoch, { pattern: 'a/#/b' })
    await publish(stage, 'x', { path: 'b' })
    await publish(stage, 'y', { path: 'b/c' })
    const got = await taken(stage, 'i', epoch)
    const accepted = settled(await settle(stage, receipts(got), { kind: 'accept' }))
    const twice = settled(await settle(stage, receipts(got), { kind: 'accept' }))
    return [existed, granted, bad, seen(got), accepted, twice, seen(await taken(stage, 'i', epoch))]
  },
  async 'numbers stay for the next open, and what had arrived is said'(stage) {
    const { epoch } = await open(stage, 'i')
    await bind(stage, 'i', epoch, { pattern: 'orders/#' })
    for (const text of ['x', 'y', 'z']) await publish(stage, text)
    const [x] = await taken(stage, 'i', epoch, { max: 2 })
    await settle(stage, [x!.receipt!], { kind: 'received' })
    await stage.do({ kind: 'leave', what: { inbox: 'i', epoch, will: 'drop' } })
    const again = await open(stage, 'i')
    const stale = await refusal(taken(stage, 'i', epoch))
    return [again.existed, again.epoch > epoch, stale, seen(await taken(stage, 'i', again.epoch))]
  },
  async 'what was unbound brings nothing more'(stage) {
    const { epoch } = await open(stage, 'i')
    await bind(stage, 'i', epoch, { pattern: 'orders/a' }, { pattern: 'orders/b' }, { pattern: 'orders/c' })
    const remove = [{ pattern: 'orders/a' }, { pattern: 'x' }]
    const { existed } = await stage.do({ kind: 'bind', inbox: 'i', epoch, add: [], remove })
    for (const path of ['a', 'b', 'c']) await publish(stage, path, { path })
    const first = seen(await taken(stage, 'i', epoch, { invisible: 0 }))
    const only = { pattern: 'orders/c', retained: 'skip' } as const
    await stage.do({ kind: 'bind', inbox: 'i', epoch, add: [only], remove: 'others' })
    for (const path of ['a', 'b', 'c']) await publish(stage, path, { path })
    return [existed, first, seen(await taken(stage, 'i', epoch, { invisible: 0 }))]
  },
  async 'a fresh open forgets; an expired inbox is gone'(stage) {
    const { epoch } = await open(stage, 'i', { expiry: 5_000 })
    await bind(stage, 'i', epoch, { pattern: 'orders/#' })
    await publish(stage, 'x')
    const fresh = await open(stage, 'i', { fresh: true, expiry: 5_000 })
    const got = seen(await taken(stage, 'i', fresh.epoch))
    await stage.do({ kind: 'leave', what: { inbox: 'i', epoch: fresh.epoch, will: 'drop' } })
    await pass(stage, 10_000)
    return [fresh.existed, got, (await open(stage, 'i')).existed]
  },
  async 'a share: each message to one of those who draw'(stage) {
    const [i, j] = [await open(stage, 'i'), await open(stage, 'j')]
    await bind(stage, 'i', i.epoch, { pattern: 'orders/#', share: 's' })
    await bind(stage, 'j', j.epoch, { pattern: 'orders/#', share: 's' })
    for (const text of ['x', 'y']) await publish(stage, text)
    const one = await taken(stage, 'i', i.epoch, { max: 1 })
    return [seen(one), seen(await taken(stage, 'j', j.epoch)), seen(await taken(stage, 'i', i.epoch))]
  },
  async 'what is retained comes with a binding that wants it'(stage) {
    await publish(stage, 'old', { path: 'a', retain: true })
    await publish(stage, 'new', { path: 'a', retain: true })
    const { epoch } = await open(stage, 'i')
    await bind(stage, 'i', epoch, { pattern: 'orders/a', retained: 'send' })
    const first = seen(await taken(stage, 'i', epoch, { invisible: 0 }))
    await bind(stage, 'i', epoch, { pattern: 'orders/a', retained: 'ifNew' })
    const second = seen(await taken(stage, 'i', epoch, { invisible: 0 }))
    await publish(stage, '', { path: 'a', retain: true })
    await bind(stage, 'i', epoch, { pattern: 'orders/+', retained: 'send' })
    return [first, second, seen(await taken(stage, 'i', epoch, { invisible: 0 }))]
  },
  async 'a numbered publish is stored once until its number is free'(stage) {
    const { epoch } = await open(stage, 'i')
    const { nodes } = (await stage.do({ kind: 'admin', action: { do: 'nodes' } })) as AdminResults['nodes']
    const once = { of: 'inbox', node: nodes[0]!.node, inbox: 'i', epoch, way: 'in', slot: 7 } as const
    const message = { topic: 'orders', body: Buffer.from('x'), properties: {} }
    const say = async () => {
      const { stored } = await stage.do({ kind: 'publish', messages: [message], oneway: false, once })
      return Fault.is(stored[0]) ? stored[0].code : stored[0]!.offset
    }
    const first = [await say(), await say()]
    const again = await open(stage, 'i')
    await settle(stage, [{ ...once, epoch: again.epoch }], { kind: 'accept' })
    return [first, again.incoming, (await open(stage, 'i')).incoming, said(await popped(stage))]
  },
  async 'a reply into one inbox'(stage) {
    const { epoch } = await open(stage, 'i')
    const message = { topic: 'orders', body: Buffer.from('x'), properties: {} }
    const reply = (inbox: string) =>
      stage.do({ kind: 'publish', messages: [message], oneway: false, into: { inbox } }).then(({ stored }) => {
        if (Fault.is(stored[0])) throw stored[0]
      })
    return [await refusal(reply('i')), await refusal(reply('nobody')), seen(await taken(stage, 'i', epoch))]
  },
  async 'a will is told when its time is over, unless its client came back'(stage) {
    const seenAt: unknown[] = []
    for (const [name, how, after] of [
      ['at once', 'fire', 0],
      ['soon', 'fire', 5_000],
      ['back', 'fire', 5_000],
      ['sent away', 'keep', 0],
      ['dropped', 'drop', 0],
    ] as const) {
      const message = { topic: 'orders', body: Buffer.from(name), properties: {} }
      const { epoch } = await open(stage, name, { will: { message, after }, expiry: 120_000 })
      await stage.do({ kind: 'leave', what: { inbox: name, epoch, will: how } })
    }
    await open(stage, 'back', { expiry: 120_000 })
    for (const ms of [1_000, 9_000, 60_000]) {
      await pass(stage, ms)
      seenAt.push(said(await popped(stage, { invisible: 0 })))
    }
    return seenAt
  },
}

describe('the broker in memory answers as the real one', () => {
  for (const [name, script] of Object.entries({ ...scripts, ...inboxes })) {
    it(name, async () => {
      const transcripts = []
      for (const open of [real, memory]) {
        const stage = await open()
        try {
          transcripts.push(await script(stage))
        } finally {
          await stage.close()
        }
      }
      expect(transcripts[1]).toEqual(transcripts[0])
    })
  }
})
