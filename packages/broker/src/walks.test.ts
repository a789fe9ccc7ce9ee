import { type Binding, type Delivered, Fault } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, message, turn } from '../test/support.ts'
import { Turns } from './walks.ts'

const DAY = 86_400_000
const TOPICS = 100

describe('a walk through what is retained', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1, segmentBytes: 64 * 1024 })
  })
  afterEach(() => bench.end())

  const retain = (path: string, body: string, more = {}) => message('T', body, { path, retain: true, ...more })
  const fill = (count = TOPICS) =>
    bench.publish(...Array.from({ length: count }, (_, at) => retain(`p${at}`, `old ${at}`)))
  const open = (expiry: number, fresh = false) =>
    bench.run<'open'>({ kind: 'open', inbox: 'me', fresh, expiry }, contextOf('me'))
  const bind = (epoch: number, add: readonly Binding[], remove: readonly { pattern: string }[] = []) =>
    bench.run<'bind'>({ kind: 'bind', inbox: 'me', epoch, add, remove })
  const all: Binding = { pattern: 'T/#', retained: 'send', note: 'n' }
  const pop = async (epoch: number, max: number, more: { invisible?: 0; wait?: number } = {}) => {
    const source = { kind: 'inbox', inbox: 'me', epoch } as const
    await turn(1) // a whole page may be had again
    const ask = { kind: 'pop', source, max, invisible: 'session', wait: 0, fifo: false, ...more } as const
    return [...(await bench.run<'pop'>(ask)).batch]
  }
  /** The next so many, whatever pages they come in. */
  const some = async (epoch: number, count: number) => {
    const got: Delivered[] = []
    while (got.length < count) got.push(...(await pop(epoch, count - got.length, { wait: 1_000 })))
    return got
  }
  /** Everything, in pages of `max`. */
  const rest = async (epoch: number, max = 10) => {
    const got: string[] = []
    for (;;) {
      const page = await pop(epoch, max)
      if (page.length === 0) return got
      got.push(...bodies(page))
      await bench.settle(page)
    }
  }
  const old = (from: number, to = TOPICS) => Array.from({ length: to - from }, (_, at) => `old ${from + at}`)

  it('gives no more at once than a page, and everything in pages', async () => {
    await fill()
    const { epoch } = await open(0)
    await bind(epoch, [all])
    const page = await pop(epoch, 1_000)
    expect(page.length).toBeLessThanOrEqual(16)
    expect(page.every(({ retained, notes }) => retained && notes?.[0] === 'n')).toBe(true)
    await bench.settle(page)
    expect([...bodies(page), ...(await rest(epoch, 1_000))]).toEqual(old(0))
  })

  it('finds what is far apart, and exact names, also for who does not wait', async () => {
    await fill(3_000)
    await bench.publish(retain('deep/x', 'deep'))
    const { epoch } = await open(0)
    await bind(epoch, [
      { pattern: 'T/+/x', retained: 'send' },
      { pattern: 'T/p7', retained: 'send' },
      { pattern: 'T/none', retained: 'send' },
    ])
    expect(await rest(epoch)).toEqual(['deep', 'old 7'])
  })

  it('passes over what was replaced since, which comes live and once, and over what was cleared', async () => {
    await fill()
    const { epoch } = await open(0)
    await bind(epoch, [all])
    await bench.settle(await some(epoch, 10))
    await bench.publish(retain('p5', 'new 5'), retain('p50', 'new 50'), retain('p51', ''), retain('more', 'new'))
    const expected = [...old(10).filter((body) => !/ 5[01]$/.test(body)), 'new 5', 'new 50', '', 'new']
    expect(await rest(epoch)).toEqual(expected)
  })

  it('leaves out what expires before its turn', async () => {
    await fill(20)
    await bench.publish(retain('short', 'short', { expiresAt: bench.clock.now() + 1_000 }), retain('last', 'last'))
    const { epoch } = await open(0)
    await bind(epoch, [all])
    await bench.settle(await some(epoch, 10))
    await bench.clock.advance(2_000)
    expect(await rest(epoch)).toEqual([...old(10, 20), 'last'])
  })

  it('ends with its binding, and begins anew with a new one', async () => {
    await fill()
    const { epoch } = await open(0)
    await bind(epoch, [all, { pattern: 'T/p99', retained: 'send' }])
    await bench.settle(await some(epoch, 10))
    await bind(epoch, [], [{ pattern: 'T/#' }])
    expect(await rest(epoch)).toEqual(['old 99'])
    await bind(epoch, [all])
    await bench.settle(await some(epoch, 10))
    await bind(epoch, [{ ...all, retained: 'ifNew', note: 'other' }])
    const [one] = await pop(epoch, 1)
    expect([one?.notes, one?.message.path]).toEqual([['other'], 'p10'])
    await bench.settle([one!])
    await bind(epoch, [all])
    expect(await rest(epoch)).toEqual(old(0))
  })

  it('goes one after the other where filters overlap, each message with the note of its own', async () => {
    await fill(3)
    const { epoch } = await open(0)
    await bind(epoch, [all, { pattern: 'T/+', retained: 'send', note: 'm' }])
    const got = await some(epoch, 6)
    expect(await pop(epoch, 9)).toEqual([])
    expect(got.map(({ message: { path }, notes }) => `${path} ${notes}`)).toEqual([
      'p0 n',
      'p1 n',
      'p2 n',
      'p0 m',
      'p1 m',
      'p2 m',
    ])
  })

  it('goes on where it was for who comes back, after a takeover, a kill and a start', async () => {
    await fill()
    const first = await open(DAY)
    await bind(first.epoch, [all])
    await bench.settle(await some(first.epoch, 10))
    const out = await some(first.epoch, 10)
    const second = await open(DAY)
    expect(bodies(await pop(second.epoch, 10))).toEqual(bodies(out))
    await bench.settle((await some(second.epoch, 10)).filter(({ attempt }) => attempt === 1))
    await bench.kill()
    await bench.publish(retain('p60', 'new 60'))
    const third = await open(DAY)
    await bench.settle(await some(third.epoch, 10))
    await bench.settle(await some(third.epoch, 5))
    await bench.reopen()
    const fourth = await open(DAY)
    const left = old(35).filter((body) => body !== 'old 60')
    expect(await rest(fourth.epoch)).toEqual([...left, 'new 60'])
    await bench.reopen()
    expect(await rest((await open(DAY)).epoch)).toEqual([])
  })

  it('takes what was written again because its segment went', async () => {
    await bench.reopen({ segmentBytes: 8 * 1024, retain: { bytes: 32 * 1024 } })
    await fill(20)
    const { epoch } = await open(DAY)
    await bind(epoch, [all])
    await bench.settle(await some(epoch, 5))
    for (let at = 0; at < 80; at++) await bench.publish(message('U', `${at}.`.padEnd(1_000, 'x')))
    while (!bench.lines.some(({ event }) => event === 'segment.deleted')) await turn()
    await bench.settle(await some(epoch, 5))
    await bench.reopen({ segmentBytes: 8 * 1024, retain: { bytes: 32 * 1024 } })
    expect(await rest((await open(DAY)).epoch)).toEqual(old(10, 20))
  })

  it('is seen by a browse, which takes nothing', async () => {
    await fill(20)
    const { epoch } = await open(0)
    await bind(epoch, [all])
    const source = { kind: 'inbox', inbox: 'me', epoch } as const
    const { batch } = await bench.run<'read'>({
      kind: 'read',
      from: { by: 'source', source },
      max: 9,
      bytes: 1e6,
      wait: 0,
    })
    expect([...batch].map(({ message: { body } }) => body.toString())).toEqual(old(0, 9))
    expect(await rest(epoch)).toEqual(old(0, 20))
  })

  it('ends a pop whose inbox was taken over while it waited for its turn', async () => {
    await fill()
    const { epoch } = await open(DAY)
    await bind(epoch, [all])
    const source = { kind: 'inbox', inbox: 'me', epoch } as const
    const ask = { kind: 'pop', source, max: 16, invisible: 'session', wait: 0, fifo: false } as const
    const pops = Promise.allSettled(Array.from({ length: 5 }, () => bench.run<'pop'>(ask)))
    await open(DAY)
    const ends = await pops
    const refused = ends.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
    expect(refused.length).toBeGreaterThanOrEqual(4)
    expect(refused.every(({ reason }) => Fault.is(reason) && reason.code === 'conflict')).toBe(true)
  })
})

describe('turns of the loop', () => {
  it('are shared by all that walk, in order', async () => {
    const turns = new Turns(() => 0)
    const given: string[] = []
    const walk = async (name: string, pages: number): Promise<void> => {
      for (let page = 0; page < pages; page++) {
        const now = turns.room()
        const room = typeof now === 'number' ? now : await now
        expect(room).toBeGreaterThan(0)
        expect(room).toBeLessThanOrEqual(16)
        given.push(`${name}${page}`)
        turns.spend(room)
      }
    }
    const walks = ['a', 'b', 'c'].map((name) => walk(name, 3))
    await turn(2)
    expect(given.length).toBeLessThanOrEqual(3)
    await Promise.all(walks)
    expect(given).toEqual(['a0', 'a1', 'b0', 'c0', 'a2', 'b1', 'c1', 'b2', 'c2'])
  })

  it('are those of others while they write, and then no more is taken than a few', async () => {
    let written = 0
    const turns = new Turns(() => written)
    const room = async () => {
      const room = await turns.room()
      turns.spend(room)
      return room
    }
    expect(await room()).toBe(16)
    written++
    expect(await room()).toBe(4)
    for (let page = 0; page < 15; page++) expect(await room()).toBe(4)
    expect(await room()).toBe(16)
  })

  it('are taken after half a millisecond all the same, when others write in each of them', async () => {
    let written = 0
    const turns = new Turns(() => written++)
    for (let page = 0; page < 2; page++) turns.spend(await turns.room())
    const pages: number[] = []
    for (let page = 0; page < 5; page++) {
      const began = performance.now()
      turns.spend(await turns.room())
      pages.push(performance.now() - began)
    }
    expect(Math.min(...pages)).toBeGreaterThan(0.25)
  })

  it('go to the next one when one that waited takes nothing', async () => {
    const turns = new Turns(() => 0)
    turns.spend(16)
    void turns.room()
    expect(await turns.room()).toBeGreaterThan(0)
  })
})
