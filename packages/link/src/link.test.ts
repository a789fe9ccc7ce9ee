import {
  type Batch,
  type CommandOf,
  type Delivered,
  Fault,
  type Kind,
  type Lease,
  type Membership,
  type Notice,
  type Session,
  type Slot,
} from '@sluice/core'
import { turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { contextOf, ending, message, NODE, Rig, SEAL_KEY, sessionOf, storedAt } from '../test/support.ts'
import type { LinkedBackend } from './client.ts'

let rig: Rig
afterEach(() => rig.end())

const publish: CommandOf<'publish'> = { kind: 'publish', messages: [message()], oneway: false }
const topic: CommandOf<'topic'> = { kind: 'topic', topic: 'T' }
const leaveAll: CommandOf<'leave'> = { kind: 'leave', what: 'all' }
const pop: CommandOf<'pop'> = {
  kind: 'pop',
  source: { kind: 'group', topic: 'T', group: 'g' },
  max: 8,
  invisible: 1000,
  wait: 20_000,
  fifo: false,
}
const stored = { stored: [{ id: 'i', queue: { topic: 'T', node: NODE, index: 0 }, offset: 1, place: 2 }] }
const lease = (offset: number): Lease => ({
  of: 'group',
  node: NODE,
  topic: 'T',
  group: 'g',
  queue: 0,
  offset,
  place: offset,
  first: 0,
  poppedAt: 5,
  invisible: 1000,
  revive: 0,
  retry: 0,
  attempt: 1,
})
const batchOf = (items: readonly Delivered[]): Batch => ({
  count: items.length,
  bytes: undefined,
  [Symbol.iterator]: () => items[Symbol.iterator](),
})
const producing = (group: string): CommandOf<'heartbeat'> => ({
  kind: 'heartbeat',
  member: { produces: [group], consumes: [] } satisfies Membership,
})

const alice = sessionOf('g1/1', 'alice')
const run = <K extends Kind>(link: LinkedBackend, command: CommandOf<K>, session: Session = alice, more = {}) =>
  link.execute<K>(NODE, command, contextOf(session, rig.clock, more))
const leftSessions = () => rig.backend.of('leave').map(({ context }) => context.session.id)

describe('a link', () => {
  it('tells what the broker is, and hands out its key', async () => {
    rig = new Rig({ secret: 'sixteen characters' })
    const link = await rig.connect('g1', { secret: 'sixteen characters' })
    expect([...link.nodes]).toEqual([NODE])
    expect(link.can).toEqual(rig.backend.can)
    expect(link.sealKey).toEqual(SEAL_KEY)
  })

  it('brings a command with its context, and its answer back', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const principal = { name: 'other', tenant: 't', super: false }
    const reply = run<'publish'>(link, publish, alice, { principal, traceparent: '00-1' })
    await turns()
    const [call] = rig.backend.calls
    const { notify: _, ...session } = alice
    expect(call!.command).toEqual(publish)
    expect(call!.context).toMatchObject({ session, principal, traceparent: '00-1', deadline: rig.clock.now() + 5_000 })
    call!.answer(stored)
    expect(await reply).toEqual(stored)
    const refused = run<'topic'>(link, topic)
    await turns()
    rig.backend.of('topic')[0]!.fail(new Fault('topicNotFound', 'no T', { about: 'topic', retryAfter: 3 }))
    await expect(refused).rejects.toMatchObject({ code: 'topicNotFound', about: 'topic', retryAfter: 3 })
    expect(rig.server!.stats()).toMatchObject({ gateways: 1, sessions: 1 })
  })

  it('keeps what went wrong inside from clients, and logs it where it was', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const reply = run<'topic'>(link, topic)
    await turns()
    rig.backend.calls[0]!.fail(new TypeError('of no client’s business'))
    await expect(reply).rejects.toMatchObject({ code: 'internal', message: 'internal error' })
    expect(rig.lines.find(({ event }) => event === 'command.failed')!.fields.error).toContain('no client’s business')
  })

  it('writes once a tick, however many commands', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    rig.backend.answers = () => stored
    const before = link.stats().counts
    await Promise.all(Array.from({ length: 500 }, () => run<'publish'>(link, publish)))
    const { framesOut, writes } = link.stats().counts
    expect([framesOut - before.framesOut, writes - before.writes]).toEqual([501, 1])
  })

  it('sends a record once to a gateway, however many of its sessions get it', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const sessions = Array.from({ length: 1000 }, (_, n) => sessionOf(`g1/${n}`))
    const pops = sessions.map((one) =>
      run<'pop'>(link, { ...pop, source: { kind: 'inbox', inbox: one.id, epoch: 1 } }, one),
    )
    await turns()
    const message_ = storedAt(77, 'x'.repeat(1000))
    for (const { answer } of rig.backend.of('pop'))
      answer({ batch: batchOf([{ message: message_, attempt: 1, notes: ['n'] }]), more: false })
    const all = await Promise.all(pops)
    const seen = all.map(({ batch }) => [...batch][0]!)
    expect(new Set(seen.map(({ message: one }) => one)).size).toBe(1)
    expect(seen[999]).toMatchObject({ attempt: 1, notes: ['n'], message: { place: 77, queue: { node: NODE } } })
    expect(rig.server!.stats().records).toEqual({ sent: 1, bytes: message_.record.length, repeated: 999 })
    const { bytesIn } = link.stats().counts
    expect(bytesIn).toBeLessThan(1000 * 40 + 3000)
  })

  it('brings large batches in parts, and more than was asked for not at all', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const items = Array.from({ length: 8 }, (_, n) => ({ message: storedAt(n, 'x'.repeat(600_000)), attempt: n + 1 }))
    const reply = run<'pop'>(link, pop)
    await turns()
    rig.backend.calls[0]!.answer({ batch: batchOf(items), more: true })
    const { batch, more } = await reply
    expect([...batch].map(({ attempt, message: { offset } }) => [attempt, offset])).toEqual(
      items.map((_, n) => [n + 1, n]),
    )
    expect([batch.count, batch.bytes!.length, more]).toEqual([8, 8, true])
    expect(link.stats().counts.framesIn).toBeGreaterThanOrEqual(6)
    const tooMany = ending(run<'pop'>(link, { ...pop, max: 1 }))
    await turns()
    rig.backend.calls[1]!.answer({ batch: batchOf(items.slice(0, 2)), more: true })
    expect(await tooMany).toBe('outcomeUnknown')
  })

  it('gives up a poll that nobody waits for', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const gone = new AbortController()
    const reply = run<'pop'>(link, pop, alice, { signal: gone.signal })
    await turns()
    const [call] = rig.backend.calls
    expect(call!.context.signal!.aborted).toBe(false)
    gone.abort(new Fault('unavailable', 'gone'))
    await turns()
    expect(call!.context.signal!.aborted).toBe(true)
    // Taken just before: whoever asked gets them, and gives them back, as with a broker in the same process.
    call!.answer({ batch: batchOf([{ message: storedAt(1), attempt: 1, receipt: lease(1) }]), more: false })
    expect([...(await reply).batch]).toHaveLength(1)
    const late = run<'pop'>(link, pop, alice, { signal: gone.signal })
    await turns()
    expect(rig.backend.calls[1]!.context.signal!.aborted).toBe(true)
    rig.backend.calls[1]!.answer({ batch: batchOf([]), more: false })
    expect((await late).batch.count).toBe(0)
  })

  it('refuses what cannot travel, and goes on', async () => {
    rig = new Rig({ bodyBytes: 1 })
    const link = await rig.connect('g1')
    rig.backend.answers = () => stored
    const odd = { ...topic, topic: (() => undefined) as unknown as string }
    expect(await ending(run<'topic'>(link, odd))).toBe('internal')
    const body = Buffer.alloc(40 * 1024 * 1024)
    const large = { ...publish, messages: [message(), { ...message(), body }, { ...message(), body }] }
    expect(await ending(run<'publish'>(link, large))).toBe('tooLarge')
    expect(await run<'publish'>(link, publish)).toEqual(stored)
    expect(rig.backend.calls).toHaveLength(1)
  })
})

describe('notices', () => {
  it('reach the process that holds the client, and their answers come back', async () => {
    rig = new Rig()
    const [one, two] = [await rig.connect('g1'), await rig.connect('g2')]
    const bob = sessionOf('g2/1', 'bob')
    rig.backend.answers = () => ({}) as never
    await run<'heartbeat'>(one, producing('p'), alice)
    await run<'heartbeat'>(two, producing('p'), bob)
    const told: unknown[] = []
    const listen = (link: LinkedBackend, name: string, fail?: Fault) =>
      link.onNotice(async (to, notice) => {
        told.push([name, to, notice.kind])
        if (fail) throw fail
        return { by: name }
      })
    listen(one, 'one')
    listen(two, 'two')
    const takenOver: Notice = { kind: 'goAway', reason: 'takenOver' }
    expect(await rig.backend.notify({ session: 'g2/1' }, takenOver)).toEqual({ by: 'two' })
    expect(await rig.backend.notify({ session: 'nobody' }, takenOver)).toBeUndefined()
    expect(told).toEqual([['two', { session: 'g2/1' }, 'goAway']])
    const half = { node: NODE, topic: 'T', group: 'p', id: 'i', place: 3, offset: 0 }
    const check: Notice = { kind: 'checkTransaction', message: storedAt(3), half }
    const to = { group: 'p', role: 'produces', one: true } as const
    const asked = [await rig.backend.notify(to, check), await rig.backend.notify(to, check)]
    expect(asked).toEqual([{ by: 'one' }, { by: 'two' }])
    // One that cannot be told: the next one is.
    listen(one, 'one', new Fault('unavailable', 'gone'))
    expect(await rig.backend.notify(to, check)).toEqual({ by: 'two' })
    expect(await rig.backend.notify({ ...to, one: false }, check)).toBe(0)
  })

  it('are of the groups that a process has members of', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    rig.backend.answers = () => ({}) as never
    const told: unknown[] = []
    link.onNotice(async (to) => told.push(to))
    const to = { group: 'p', role: 'produces', one: true } as const
    const notice: Notice = { kind: 'rebalance', group: 'p' }
    await rig.backend.notify(to, notice)
    await run<'heartbeat'>(link, producing('p'))
    await rig.backend.notify(to, notice)
    await run<'leave'>(link, { kind: 'leave', what: { group: 'p' } })
    await rig.backend.notify(to, notice)
    await run<'heartbeat'>(link, producing('p'))
    await run<'leave'>(link, leaveAll)
    await rig.backend.notify(to, notice)
    expect(told).toHaveLength(1)
  })

  it('without an answer end, by time or with the link', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    link.onNotice(() => new Promise(() => undefined))
    rig.backend.answers = () => ({}) as never
    await run<'heartbeat'>(link, producing('p'))
    const ask = () => ending(rig.backend.notify({ session: alice.id }, { kind: 'rebalance', group: 'p' }))
    const first = ask()
    await rig.pass(16_000)
    expect(await first).toBe('outcomeUnknown')
    const second = ask()
    await turns()
    await rig.cut()
    expect(await second).toBe('unavailable')
  })
})

describe('a gateway whose connection breaks', () => {
  const break_ = async () => {
    rig = new Rig()
    rig.backend.answers = ({ kind }) => (kind === 'leave' || kind === 'heartbeat' ? {} : undefined) as never
    const link = await rig.connect('g1')
    await run<'heartbeat'>(link, producing('p'))
    return link
  }

  it('keeps its sessions when it comes back in time, and those that left meanwhile leave', async () => {
    const link = await break_()
    const bob = sessionOf('g1/2', 'bob')
    await run<'heartbeat'>(link, producing('p'), bob)
    await rig.cut()
    expect(link.nodes.size).toBe(0)
    await run<'leave'>(link, leaveAll, bob)
    expect(leftSessions()).toEqual([])
    await rig.pass(2_000)
    expect(link.stats().connections).toBe(2)
    expect(leftSessions()).toEqual(['g1/2'])
    await rig.pass(40_000)
    expect(leftSessions()).toEqual(['g1/2'])
    expect([...link.nodes]).toEqual([NODE])
    expect(rig.backend.resumed).toEqual([])
  })

  it('has left after 30 s, and what was popped for it goes back', async () => {
    const link = await break_()
    const popped = ending(run<'pop'>(link, pop))
    await turns()
    const { server } = rig
    rig.server = undefined
    await rig.cut()
    expect(await popped).toBe('outcomeUnknown')
    const [call] = rig.backend.of('pop')
    expect(call!.context.signal!.aborted).toBe(true)
    call!.answer({ batch: batchOf([{ message: storedAt(1), attempt: 1, receipt: lease(1) }]), more: false })
    await turns()
    expect(rig.backend.of('settle')[0]!.command).toEqual({
      kind: 'settle',
      receipts: [lease(1)],
      outcome: { kind: 'retry', after: 0, counts: false },
    })
    await rig.pass(29_000)
    expect(leftSessions()).toEqual([])
    await rig.pass(2_000)
    expect(leftSessions()).toEqual(['g1/1'])
    expect(server!.stats()).toMatchObject({ gateways: 0, sessions: 0 })
  })

  it('that says farewell has left at once', async () => {
    const link = await break_()
    await link.close()
    await turns()
    expect(leftSessions()).toEqual(['g1/1'])
    expect(await ending(run<'topic'>(link, topic))).toBe('unavailable')
  })

  it('holds commands that were not sent, repeats what may be repeated, and says of the rest that nobody knows', async () => {
    const link = await break_()
    const unsure = ending(run<'publish'>(link, publish))
    const again = run<'publish'>(link, { ...publish, once: { key: 'k', keep: 1 } })
    const asking = run<'topic'>(link, topic)
    await turns()
    expect(rig.backend.calls.map(({ command }) => command.kind)).toEqual(['heartbeat', 'publish', 'publish', 'topic'])
    const unsent = run<'publish'>(link, publish)
    rig.backend.answers = ({ kind }) => (kind === 'publish' ? stored : { topic: 'T' }) as never
    await rig.cut()
    expect(await unsure).toBe('outcomeUnknown')
    const later = run<'publish'>(link, publish)
    expect(link.stats()).toMatchObject({ connected: false, held: 4 })
    await rig.pass(1_000)
    expect(await Promise.all([again, unsent, later])).toEqual([stored, stored, stored])
    expect(await asking).toEqual({ topic: 'T' })
    expect(link.stats()).toMatchObject({ connected: true, held: 0, inflight: 0 })
  })

  it('tells before a deadline that a command was not done', async () => {
    const link = await break_()
    await rig.kill()
    const waits = ending(run<'publish'>(link, publish))
    const short = ending(run<'publish'>(link, publish, alice, { deadline: rig.clock.now() + 400 }))
    expect(await short).toBe('unavailable')
    const given = new AbortController()
    const poll = run<'pop'>(link, pop, alice, { signal: given.signal, deadline: rig.clock.now() + 25_000 })
    given.abort(new Fault('unavailable', 'gone'))
    expect((await poll).batch.count).toBe(0)
    await rig.pass(4_800)
    expect(await waits).toBe('unavailable')
    const poll2 = ending(run<'pop'>(link, pop, alice, { deadline: rig.clock.now() + 25_000 }))
    await rig.pass(10_500)
    expect(await poll2).toBe('unavailable')
  })
})

describe('deliveries out of an inbox', () => {
  const slot = (number: number): Slot => ({ of: 'inbox', node: NODE, inbox: 'i', epoch: 41, way: 'out', slot: number })
  const delivered = (number: number): Delivered => ({ message: storedAt(number), attempt: 1, receipt: slot(number) })

  it('that were lost with a connection are told apart from those that came', async () => {
    rig = new Rig()
    const opened = { existed: false, epoch: 41, incoming: [] }
    rig.backend.answers = ({ kind }) =>
      (kind === 'open' ? opened : kind === 'pop' ? undefined : { failed: [] }) as never
    const link = await rig.connect('g1')
    await run<'open'>(link, { kind: 'open', inbox: 'i', fresh: true, expiry: 9 })
    const popInbox = { ...pop, source: { kind: 'inbox', inbox: 'i', epoch: 41 } } as const
    const taken = run<'pop'>(link, popInbox)
    await turns()
    rig.backend.of('pop')[0]!.answer({ batch: batchOf([1, 2, 3].map(delivered)), more: false })
    await taken
    await run<'settle'>(link, { kind: 'settle', receipts: [slot(1)], outcome: { kind: 'accept' } })
    await run<'settle'>(link, { kind: 'settle', receipts: [slot(2)], outcome: { kind: 'received' } })
    const lost = run<'pop'>(link, popInbox)
    await turns()
    await rig.cut()
    await rig.pass(1_000)
    expect(rig.backend.resumed).toEqual([{ inbox: 'i', epoch: 41, holding: [2, 3], bindings: [], session: 'g1/1' }])
    // What it took is handed out again, to the same pop.
    rig.backend
      .of('pop')
      .at(-1)!
      .answer({ batch: batchOf([delivered(4)]), more: false })
    expect([...(await lost).batch].map(({ receipt }) => receipt)).toEqual([slot(4)])
  })
})

describe('a settlement whose answer was lost', () => {
  it('is made again, and what had been settled then is no failure', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const outcomes = [{ kind: 'accept' }, { kind: 'retry', counts: true }] as const
    const replies = outcomes.map((outcome) =>
      ending(run<'settle'>(link, { kind: 'settle', receipts: [lease(1)], outcome })),
    )
    await turns()
    rig.backend.answers = () => ({
      failed: [
        { at: 0, fault: new Fault('receiptExpired', 'gone') },
        { at: 1, fault: new Fault('conflict', 'stale') },
      ],
    })
    await rig.cut()
    await rig.pass(1_000)
    expect(await replies[0]).toEqual({ failed: [{ at: 1, fault: expect.objectContaining({ code: 'conflict' }) }] })
    expect(await replies[1]).toBe('outcomeUnknown')
    expect(await run<'settle'>(link, { kind: 'settle', receipts: [lease(1)], outcome: outcomes[0] })).toMatchObject({
      failed: [{ at: 0 }, { at: 1 }],
    })
  })
})

describe('an inbox that another gateway’s client opened while the line was broken', () => {
  it('is told as lost to who had it, though that asks for nothing', async () => {
    rig = new Rig()
    rig.backend.answers = () => ({ existed: false, epoch: 41, incoming: [] }) as never
    const link = await rig.connect('g1')
    const told: Notice[] = []
    const notify = async (notice: Notice) => void told.push(notice)
    const bob = { ...sessionOf('g1/2', 'bob'), notify }
    await run<'open'>(link, { kind: 'open', inbox: 'i', fresh: true, expiry: 9 }, bob)
    rig.backend.takenOver = true
    await rig.cut()
    await rig.pass(1_000)
    expect(told).toEqual([{ kind: 'goAway', reason: 'takenOver' }])
  })
})

describe('a broker that was killed', () => {
  it('is told again who is there and what they have open', async () => {
    rig = new Rig()
    const opened = { existed: false, epoch: 41, incoming: [] }
    rig.backend.answers = ({ kind }) =>
      (kind === 'open' ? opened : kind === 'bind' ? { granted: [true, true], existed: [] } : {}) as never
    const link = await rig.connect('g1')
    const bob = sessionOf('g1/2', 'bob')
    await run<'heartbeat'>(link, producing('p'))
    await run<'open'>(link, { kind: 'open', inbox: 'i', fresh: true, expiry: 0 }, bob)
    const bindings = [
      { pattern: 'a', retained: 'send' },
      { pattern: 'b', retained: 'send' },
    ] as const
    const bind: CommandOf<'bind'> = { kind: 'bind', inbox: 'i', epoch: 41, add: bindings, remove: [] }
    await run<'bind'>(link, bind, bob)
    await run<'bind'>(link, { ...bind, add: [], remove: [{ pattern: 'a' }] }, bob)
    await rig.kill()
    const { answers } = rig.backend
    rig.start()
    rig.backend.answers = answers
    rig.backend.existed = false
    await rig.pass(1_000)
    expect(rig.backend.of('heartbeat').map(({ context }) => context.session.client)).toEqual(['alice'])
    const again = { epoch: 41, holding: [], bindings: [{ pattern: 'b', retained: 'skip' }] }
    expect(rig.backend.resumed).toEqual([{ inbox: 'i', ...again, session: 'g1/2' }])
    expect(rig.backend.of('bind')).toEqual([])
    await run<'leave'>(link, { kind: 'leave', what: { inbox: 'i', epoch: 41, will: 'drop' } }, bob)
    await rig.kill()
    rig.start()
    rig.backend.answers = answers
    await rig.pass(1_000)
    expect(rig.backend.resumed).toEqual([])
  })

  it('that ends on purpose answers what is under way, and takes nothing new', async () => {
    rig = new Rig()
    const link = await rig.connect('g1')
    const poll = run<'pop'>(link, pop)
    const slow = run<'publish'>(link, publish)
    await turns()
    const closing = rig.server!.close()
    await turns()
    const held = run<'publish'>(link, publish)
    const [first, second] = rig.backend.calls
    expect(first!.context.signal!.aborted).toBe(true)
    first!.answer({ batch: batchOf([]), more: false })
    second!.answer(stored)
    await closing
    expect((await poll).batch.count).toBe(0)
    expect(await slow).toEqual(stored)
    rig.start()
    rig.backend.answers = () => stored
    await rig.pass(1_000)
    expect(await held).toEqual(stored)
  })
})
