import type { Binding, Delivered, Message, Slot } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, faultOf, message, turn } from '../test/support.ts'

const DAY = 86_400_000

describe('inbox', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ bounds: { inboxLength: 4, bindings: 3, inboxes: 3, onceKeys: 2, retained: 2 } })
  })
  afterEach(() => bench.end())

  const open = (
    inbox: string,
    more: { expiry?: number; fresh?: boolean; client?: string; will?: { message: Message; after: number } } = {},
  ) => {
    const { client = inbox, expiry = DAY, fresh = false, will } = more
    return bench.run<'open'>({ kind: 'open', inbox, fresh, expiry, ...(will && { will }) }, contextOf(client))
  }
  const bind = (inbox: string, epoch: number, ...bindings: (string | Binding)[]) =>
    bench.run<'bind'>({
      kind: 'bind',
      inbox,
      epoch,
      add: bindings.map((one) => (typeof one === 'string' ? { pattern: one, retained: 'skip' } : one)),
      remove: [],
    })
  const pop = async (inbox: string, epoch: number, more: { max?: number; invisible?: 0; wait?: number } = {}) => {
    const reply = await bench.run<'pop'>({
      kind: 'pop',
      source: { kind: 'inbox', inbox, epoch },
      max: 100,
      invisible: 'session',
      wait: 0,
      fifo: false,
      ...more,
    })
    return [...reply.batch]
  }
  const slotsOf = (delivered: readonly Delivered[]) => delivered.map(({ receipt }) => (receipt as Slot).slot)
  const publishBy = (client: string, ...messages: Message[]) =>
    bench.run<'publish'>({ kind: 'publish', messages, oneway: false }, contextOf(client))

  it('collects what matches its patterns, once, with the notes of all that matched', async () => {
    const { epoch } = await open('me')
    await bind(
      'me',
      epoch,
      { pattern: 'T/#', retained: 'skip', note: '0' },
      { pattern: 'T/a', retained: 'skip', note: '1' },
      'U',
    )
    await bench.publish(
      message('T', '1', { path: 'a' }),
      message('U', '2'),
      message('U', '3', { path: 'x' }),
      message('T', '4'),
    )
    const got = await pop('me', epoch)
    expect(bodies(got)).toEqual(['1', '2', '4'])
    expect(got.map(({ notes }) => notes)).toEqual([['0', '1'], undefined, ['0']])
    expect(got.map(({ attempt }) => attempt)).toEqual([1, 1, 1])
    expect(slotsOf(got)).toEqual([1, 2, 3])
    expect(await pop('me', epoch)).toEqual([])
  })

  it('keeps messages, slots and what was received over a restart, and hands them out again in order', async () => {
    const first = await open('me')
    await bind('me', first.epoch, 'T/#')
    await bench.publish(message('T', 'a'), message('T', 'b'), message('T', 'c'))
    const got = await pop('me', first.epoch, { max: 2 })
    await bench.settle(got.slice(1), { kind: 'received' })
    await bench.reopen()
    await bench.publish(message('T', 'd'))
    const second = await open('me')
    expect([second.existed, second.epoch > first.epoch]).toEqual([true, true])
    const again = await pop('me', second.epoch)
    expect(bodies(again)).toEqual(['a', 'b', 'c', 'd'])
    expect(again.map(({ attempt, received }) => [attempt, received])).toEqual([
      [2, undefined],
      [2, true],
      [1, undefined],
      [1, undefined],
    ])
    expect(slotsOf(again).slice(0, 2)).toEqual(slotsOf(got))
    expect((await bench.settle(again)).failed).toEqual([])
    const third = await open('me')
    expect(await pop('me', third.epoch)).toEqual([])
  })

  it('keeps acknowledged messages over a kill', async () => {
    const { epoch } = await open('me')
    await bind('me', epoch, 'T/#')
    await bench.publish(message('T', 'a'))
    const killed = bench.broker
    await bench.open({ files: (await import('./files.ts')).realFiles, dir: await copyOf(bench.dir) })
    const again = await open('me')
    expect(bodies(await pop('me', again.epoch))).toEqual(['a'])
    await bench.broker.close()
    bench.broker = killed
  })

  it('fences whoever held it before', async () => {
    const first = await open('me')
    const parked = pop('me', first.epoch, { wait: 60_000 })
    await turn()
    const refused = faultOf(parked)
    const second = await open('me', { client: 'other' })
    expect(await refused).toEqual({ code: 'conflict', about: 'epoch' })
    expect(bench.notices).toEqual([{ kind: 'goAway', reason: 'takenOver' }])
    expect(await faultOf(bind('me', first.epoch, 'T'))).toEqual({ code: 'conflict', about: 'epoch' })
    expect(
      await faultOf(bench.run<'leave'>({ kind: 'leave', what: { inbox: 'me', epoch: first.epoch, will: 'drop' } })),
    ).toEqual({
      code: 'conflict',
      about: 'epoch',
    })
    await bind('me', second.epoch, 'T')
    await bench.publish(message('T', 'x'))
    const [one] = await pop('me', second.epoch)
    const stale: Slot = { ...(one!.receipt as Slot), epoch: first.epoch }
    const { failed } = await bench.run<'settle'>({ kind: 'settle', receipts: [stale], outcome: { kind: 'accept' } })
    expect(failed.map(({ fault }) => [fault.code, fault.about])).toEqual([['conflict', 'epoch']])
  })

  it('wakes a parked pop when a message arrives', async () => {
    const { epoch } = await open('me', { expiry: 0 })
    await bind('me', epoch, '+')
    const parked = pop('me', epoch, { wait: 60_000 })
    await turn()
    await bench.publish(message('T', 'x'))
    expect(bodies(await parked)).toEqual(['x'])
  })

  it('leaves its own client out where a binding says so, also in recovery', async () => {
    const { epoch } = await open('me')
    await bind('me', epoch, { pattern: 'T', retained: 'skip', noLocal: true })
    await publishBy('me', message('T', 'mine'))
    await publishBy('you', message('T', 'yours'))
    await bench.reopen()
    const again = await open('me')
    expect(bodies(await pop('me', again.epoch))).toEqual(['yours'])
  })

  it('ends with the leave when it has no expiry, and after its expiry otherwise', async () => {
    const gone = await open('gone', { expiry: 0 })
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'gone', epoch: gone.epoch, will: 'drop' } })
    expect((await open('gone', { expiry: 0 })).existed).toBe(false)
    const kept = await open('kept', { expiry: 1000 })
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'kept', epoch: kept.epoch, will: 'drop' } })
    await bench.clock.advance(900)
    const back = await open('kept', { expiry: 1000 })
    expect(back.existed).toBe(true)
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'kept', epoch: back.epoch, will: 'drop' } })
    await bench.reopen()
    await bench.clock.advance(1200)
    expect((await open('kept')).existed).toBe(false)
    expect((await open('kept', { fresh: true })).existed).toBe(false)
  })

  it('without an expiry ends with its session, when that is taken over too: what is opened then is kept whole', async () => {
    const first = await open('i', { expiry: 0 })
    await bind('i', first.epoch, 'T')
    const second = await bench.run<'open'>(
      { kind: 'open', inbox: 'i', fresh: false, expiry: 60_000 },
      contextOf('somebody else'),
    )
    expect(second.existed).toBe(false)
    await bench.publish(message('T', 'to nobody'))
    await bind('i', second.epoch, 'T')
    await bench.publish(message('T', 'kept'))
    await bench.reopen()
    const third = await open('i')
    expect(bodies(await pop('i', third.epoch))).toEqual(['kept'])
  })

  it('remembers publishes by slot until they are settled', async () => {
    const { epoch } = await open('me')
    const once: Slot = { of: 'inbox', node: 'sluice-0', inbox: 'me', epoch, way: 'in', slot: 7 }
    const publish = (slot: Slot) =>
      bench.run<'publish'>({ kind: 'publish', messages: [message('T', 'x', { id: 'i' })], oneway: false, once: slot })
    const [first, second] = await Promise.all([publish(once), publish(once)])
    expect(second).toEqual(first)
    await bench.reopen()
    const back = await open('me')
    expect(back.incoming).toEqual([7])
    const slot = { ...once, epoch: back.epoch }
    expect(await publish(slot)).toEqual(first)
    expect(await bench.run<'settle'>({ kind: 'settle', receipts: [slot], outcome: { kind: 'accept' } })).toEqual({
      failed: [],
    })
    const third = await publish(slot)
    expect(third.stored).not.toEqual(first.stored)
    expect(bodies(await bench.pop('T'))).toEqual(['x', 'x'])
    await bench.run<'settle'>({ kind: 'settle', receipts: [slot], outcome: { kind: 'accept' } })
    const { failed } = await bench.run<'settle'>({ kind: 'settle', receipts: [slot], outcome: { kind: 'accept' } })
    expect(failed[0]!.fault.code).toBe('receiptExpired')
  })

  it('remembers publishes by key for a time, and a bounded number of them', async () => {
    const publish = (key: string) =>
      bench.run<'publish'>({
        kind: 'publish',
        messages: [message('T', 'x'), message('T', 'y')],
        oneway: false,
        once: { key, keep: 1000 },
      })
    const first = await publish('k')
    expect(await publish('k')).toEqual(first)
    await bench.reopen()
    expect(await publish('k')).toEqual(first)
    await publish('l')
    expect(await faultOf(publish('m'))).toEqual({ code: 'limit', about: 'once' })
    await bench.clock.advance(1001)
    expect(await publish('k')).not.toEqual(first)
  })

  it('draws from a share together with others, and gives back what it does not settle', async () => {
    const one = await open('one', { expiry: 0 })
    const two = await open('two', { expiry: 0 })
    const share: Binding = { pattern: 'T/#', share: 's', retained: 'skip' }
    await bind('one', one.epoch, share)
    await bind('two', two.epoch, share)
    await bench.publish(message('T', 'a'), message('T', 'b'), message('T', 'c'))
    const ones = await pop('one', one.epoch, { max: 2 })
    const twos = await pop('two', two.epoch)
    expect([bodies(ones), bodies(twos)]).toEqual([['a', 'b'], ['c']])
    await bench.settle(ones.slice(0, 1))
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'one', epoch: one.epoch, will: 'drop' } })
    expect(bodies(await pop('two', two.epoch))).toEqual(['b'])
    await bench.reopen()
    const back = await open('two', { expiry: 0 })
    await bind('two', back.epoch, share)
    expect(bodies(await pop('two', back.epoch))).toEqual(['b', 'c'])
  })

  it('takes one message for itself alone', async () => {
    const { epoch } = await open('me')
    const { stored } = await bench.run<'publish'>({
      kind: 'publish',
      messages: [message('reply', 'x')],
      oneway: false,
      into: { inbox: 'me' },
    })
    expect(stored[0]).toMatchObject({ queue: { topic: 'reply' } })
    await bench.reopen()
    const back = await open('me')
    expect(epoch).toBeLessThan(back.epoch)
    expect(bodies(await pop('me', back.epoch, { invisible: 0 }))).toEqual(['x'])
    const refused = await bench.run<'publish'>({
      kind: 'publish',
      messages: [message('r', 'x')],
      oneway: false,
      into: { inbox: 'no' },
    })
    expect(refused.stored[0]).toMatchObject({ code: 'notFound', about: 'inbox' })
  })

  it('gives what is retained to new bindings and forgets it when it is emptied', async () => {
    const retain = (path: string, body: string) => message('T', body, { path, retain: true })
    await bench.publish(retain('a', 'old'), retain('a', 'new'), retain('b', 'other'), retain('c', 'too many'))
    await bench.reopen()
    const { epoch } = await open('me')
    await bind('me', epoch, { pattern: 'T/+', retained: 'send', note: 'n' })
    const got = await pop('me', epoch)
    expect(got.map(({ message: { body }, retained, notes }) => [body.toString(), retained, notes])).toEqual([
      ['new', true, ['n']],
      ['other', true, ['n']],
    ])
    await bench.settle(got)
    await bench.publish(retain('a', ''))
    expect(bodies(await pop('me', epoch, { invisible: 0 }))).toEqual([''])
    await bind('me', epoch, { pattern: 'T/+', retained: 'ifNew' })
    expect(await pop('me', epoch)).toEqual([])
    await bind('me', epoch, { pattern: 'T/+', retained: 'send' })
    expect(bodies(await pop('me', epoch))).toEqual(['other'])
  })

  it('fires wills when they are to be fired', async () => {
    const will = (after: number) => ({ message: message('W', `after ${after}`), after })
    const leave = (inbox: string, epoch: number, how: 'drop' | 'fire' | 'keep') =>
      bench.run<'leave'>({ kind: 'leave', what: { inbox, epoch, will: how } })
    const now = await open('a', { will: will(0), expiry: 0 })
    await leave('a', now.epoch, 'fire')
    const dropped = await open('a', { will: will(1) })
    await leave('a', dropped.epoch, 'drop')
    const later = await open('a', { will: will(5000) })
    await leave('a', later.epoch, 'fire')
    expect(bodies(await bench.pop('W', { wait: 60_000, invisible: 0 }))).toEqual(['after 0'])
    await bench.reopen()
    await bench.clock.advance(5100)
    expect(bodies(await bench.pop('W', { wait: 60_000, invisible: 0 }))).toEqual(['after 5000'])
    const back = await open('a', { will: will(5000) })
    await leave('a', back.epoch, 'fire')
    await open('a')
    await bench.clock.advance(40_000)
    const lost = await open('a', { will: will(2), expiry: 0 })
    expect(lost.existed).toBe(true)
    await bench.reopen()
    await bench.clock.advance(29_000)
    expect(await bench.pop('W', { invisible: 0 })).toEqual([])
    await bench.clock.advance(2000)
    expect(bodies(await bench.pop('W', { wait: 60_000, invisible: 0 }))).toContain('after 2')
  })

  it('gives the will of a client that a drain left some time over a restart', async () => {
    const { epoch } = await open('a', { will: { message: message('W', 'will'), after: 0 } })
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'a', epoch, will: 'keep' } })
    await bench.reopen()
    await bench.clock.advance(29_000)
    await bench.publish(message('W', 'other'))
    expect(bodies(await bench.pop('W', { invisible: 0 }))).toEqual(['other'])
    await bench.clock.advance(2000)
    expect(bodies(await bench.pop('W', { wait: 60_000, invisible: 0 }))).toEqual(['will'])
  })

  it('skips what has expired', async () => {
    const { epoch } = await open('me')
    await bind('me', epoch, 'T')
    await bench.publish(message('T', 'old', { expiresAt: bench.clock.now() + 10 }), message('T', 'good'))
    await bench.clock.advance(20)
    expect(bodies(await pop('me', epoch))).toEqual(['good'])
    expect(bodies(await bench.pop('T'))).toEqual(['good'])
  })

  it('is bounded: the oldest message goes, further bindings and inboxes are refused', async () => {
    const { epoch } = await open('me')
    const { granted } = await bind('me', epoch, 'T', 'U', 'V', 'W')
    expect(granted.map((one) => (one === true ? one : one.code))).toEqual([true, true, true, 'limit'])
    await bench.publish(...['1', '2', '3', '4', '5', '6'].map((body) => message('T', body)))
    expect(bodies(await pop('me', epoch))).toEqual(['3', '4', '5', '6'])
    await open('b')
    await open('c')
    expect(await faultOf(open('d'))).toEqual({ code: 'limit', about: 'inbox' })
  })

  it('grants each binding on its own and replaces the whole set when asked', async () => {
    const { epoch } = await open('me')
    const { granted, existed } = await bench.run<'bind'>({
      kind: 'bind',
      inbox: 'me',
      epoch,
      add: [
        { pattern: 'T/#/x', retained: 'skip' },
        { pattern: 'T', retained: 'skip', filter: { kind: 'sql92', expression: 'a =' } },
        { pattern: 'T', retained: 'skip', filter: { kind: 'tag', expression: 'x' } },
        { pattern: 'U', retained: 'skip' },
        { pattern: 'V', retained: 'skip', from: 'min' },
      ],
      remove: [{ pattern: 'T' }, { pattern: 'never' }],
    })
    expect(existed).toEqual([false, false])
    expect(granted.map((one) => (one === true ? one : [one.code, one.about]))).toEqual([
      ['invalid', 'pattern'],
      ['invalid', 'filter'],
      true,
      true,
      ['unsupported', 'from'],
    ])
    await bench.publish(message('T', '1', { tag: 'x' }), message('T', '2', { tag: 'y' }), message('U', '3'))
    expect(bodies(await pop('me', epoch))).toEqual(['1', '3'])
    const second = await bench.run<'bind'>({
      kind: 'bind',
      inbox: 'me',
      epoch,
      add: [{ pattern: 'U', retained: 'skip' }],
      remove: 'others',
    })
    expect(second.existed).toEqual([])
    const third = await bench.run<'bind'>({
      kind: 'bind',
      inbox: 'me',
      epoch,
      add: [],
      remove: [{ pattern: 'T' }, { pattern: 'U' }],
    })
    expect(third.existed).toEqual([false, true])
    await bench.run<'bind'>({ kind: 'bind', inbox: 'me', epoch, add: [{ pattern: 'U', retained: 'skip' }], remove: [] })
    await bench.publish(message('T', '1', { tag: 'x' }), message('U', '3'))
    expect(bodies(await pop('me', epoch))).toEqual(['3'])
  })

  it('comes again with the same number when it is given back', async () => {
    const { epoch } = await open('me')
    await bind('me', epoch, 'T')
    await bench.publish(message('T', 'x'))
    const first = await pop('me', epoch)
    await bench.settle(first, { kind: 'retry', counts: false })
    const second = await pop('me', epoch)
    await bench.settle(second, { kind: 'retry', counts: true, after: 1000 })
    expect(await pop('me', epoch)).toEqual([])
    await bench.clock.advance(1100)
    const third = await pop('me', epoch)
    expect([first, second, third].map(([one]) => [slotsOf([one!])[0], one!.attempt])).toEqual([
      [1, 1],
      [1, 1],
      [1, 2],
    ])
  })
})

const copyOf = async (dir: string): Promise<string> => {
  const { cp, rm } = await import('node:fs/promises')
  const to = `${dir}-copy`
  await cp(dir, to, { recursive: true })
  await rm(`${to}/lock`)
  return to
}
