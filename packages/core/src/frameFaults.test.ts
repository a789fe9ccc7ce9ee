import { Duplex } from 'node:stream'
import { turns } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { gate, lines, peer, rest, type Script, stage, taken } from '../test/lines.ts'
import { Fault } from './model.ts'

/** A socket whose peer takes bytes when the test says so, as a full TCP window would. */
class SlowReader extends Duplex {
  taken = 0
  #left = 0
  #done: (() => void) | undefined
  override _read() {}
  override _write(chunk: Buffer, _: string, done: () => void) {
    this.#left = chunk.length
    this.#done = done
  }
  drink(bytes: number) {
    const taken = Math.min(bytes, this.#left)
    this.taken += taken
    this.#left -= taken
    if (this.#left > 0) return
    const done = this.#done
    this.#done = undefined
    done?.()
  }
}

describe('deadlines', () => {
  it('ends a connection whose reader takes nothing for the stall time', async () => {
    const it = await stage({}, { stallMs: 60_000 })
    const client = it.connect()
    client.pause()
    it.talks[0]!.link.send('x'.repeat(100_000))
    await it.clock.pass(59_000)
    expect(client.destroyed || it.closed > 0).toBe(false)
    await it.clock.pass(2_000)
    expect(it.closed).toBe(1)
    expect(it.events('connection.stalled')).toHaveLength(1)
  })

  it('leaves a reader alone that takes a large answer slowly', async () => {
    const it = await stage({}, { stallMs: 60_000, handshakeMs: 3_600_000 })
    const slow = new SlowReader()
    it.server.accept(slow, peer)
    it.talks[0]!.link.send('x'.repeat(6_000_000))
    await turns()
    for (let round = 0; round < 20; round++) {
      await it.clock.pass(40_000)
      slow.drink(1_100_000)
    }
    await it.clock.pass(100)
    expect(it.logs.filter(({ event }) => event === 'connection.stalled')).toEqual([])
    expect([slow.taken, slow.destroyed]).toEqual([6_000_001, false])
  })

  it('ends a connection that does not send its first frame in time', async () => {
    const it = await stage({}, { handshakeMs: 1_000 })
    const client = it.connect()
    client.write('hal')
    await it.clock.pass(900)
    client.write('f')
    await it.clock.pass(400)
    expect(await taken(client)).toBe('refused malformed\n')
    expect(it.events('connection.refused')[0]!.fields).toMatchObject({ reason: 'handshake took too long' })
  })

  it('gives a frame its time from its first byte, however it trickles', async () => {
    const it = await stage({}, { handshakeMs: 1_000, frameMs: 3_000 })
    const client = it.connect()
    client.write('first\n')
    await it.clock.pass(10_000)
    for (let second = 0; second < 3; second++) {
      client.write('x')
      await it.clock.pass(1_000)
    }
    expect(await taken(client)).toBe('first\n')
    client.write('x')
    await it.clock.pass(500)
    expect(await taken(client)).toBe('refused malformed\n')
    expect(it.events('connection.refused')[0]!.fields).toMatchObject({ reason: 'frame took too long' })
  })

  it('starts anew with each frame', async () => {
    const it = await stage({}, { frameMs: 3_000 })
    const client = it.connect()
    client.write('first\nsec')
    await it.clock.pass(2_000)
    client.write('ond\nthi')
    await it.clock.pass(2_000)
    client.write('rd\n')
    await it.clock.pass(60_000)
    expect(await taken(client)).toBe('first\nsecond\nthird\n')
  })

  it('does not count the time for which we ourselves read nothing', async () => {
    const busy = gate()
    const it = await stage({ receive: () => busy.promise }, { inflight: 1, frameMs: 3_000 })
    const client = it.connect()
    client.write('a\npart')
    await it.clock.pass(60_000)
    expect(it.events('connection.refused')).toEqual([])
    busy.open()
    await it.clock.pass(2_000)
    expect(it.events('connection.refused')).toEqual([])
    await it.clock.pass(2_000)
    expect(it.events('connection.refused')).toHaveLength(1)
  })

  it('ends an idle connection, but not one with work', async () => {
    const work = gate()
    const it = await stage({ receive: () => work.promise, spec: { idleMs: 5_000 } })
    const client = it.connect()
    client.write('a\n')
    await it.clock.pass(20_000)
    expect(it.closed).toBe(0)
    work.open()
    const end = rest(client)
    await it.clock.pass(500)
    client.end()
    await end
    await turns()
    expect(it.closed).toBe(1)
    expect(it.logs).toEqual([])
  })

  it('ticks about once a second', async () => {
    let ticks = 0
    const it = await stage({ tick: () => void ticks++ }, { handshakeMs: 60_000 })
    it.connect()
    await it.clock.pass(10_000)
    expect(ticks).toBe(10)
  })
})

describe('a plugin that throws', () => {
  const boom = () => {
    throw new Error('boom')
  }
  const parts: [string, Script, (it: Awaited<ReturnType<typeof stage>>) => void][] = [
    ['converse', { converse: boom }, () => {}],
    ['receive', { receive: boom }, () => {}],
    ['a promise of receive', { receive: async () => boom() }, () => {}],
    ['refuse', { refuse: boom, receive: () => Promise.reject(new Fault('forbidden', 'no')) }, () => {}],
    ['goAway', { goAway: boom }, (it) => it.connection().goAway('draining')],
    ['farewell', { farewell: boom }, (it) => it.connection().end(true)],
    ['tick', { tick: boom }, () => {}],
    ['closed', { closed: boom }, (it) => it.talks[0]!.link.end()],
    ['a promise of closed', { closed: async () => boom() }, (it) => it.talks[0]!.link.end()],
    ['encode', { spec: { codec: (limits) => ({ ...lines(limits), encode: boom }) } }, () => {}],
    [
      'decode',
      { spec: { codec: (limits) => ({ ...lines(limits), decoder: () => ({ decode: boom, buffered: 0 }) }) } },
      () => {},
    ],
    [
      'buffered',
      {
        spec: {
          codec: (limits) => ({
            ...lines(limits),
            decoder: () => Object.defineProperty({ decode: () => {}, buffered: 0 }, 'buffered', { get: boom }),
          }),
        },
      },
      () => {},
    ],
    ['decoder', { spec: { codec: (limits) => ({ ...lines(limits), decoder: boom }) } }, () => {}],
  ]
  it.each(parts)('in %s costs one connection and is logged', async (_, script, trigger) => {
    const failing: Awaited<ReturnType<typeof stage>> = await stage(script)
    const client = failing.connect()
    client.resume()
    client.write('a\n')
    await turns()
    if ([...failing.server.connections()].length > 0 && failing.talks.length > 0) trigger(failing)
    await failing.clock.pass(1_500)
    client.end()
    await failing.clock.pass(3_000)
    expect([...failing.server.connections()]).toEqual([])
    const failures = failing.events('plugin.failed')
    expect(failures.length).toBeGreaterThanOrEqual(1)
    expect(failures[0]!.fields.plugin).toBe('lines')
    expect(String(failures[0]!.fields.error)).toContain('boom')
    expect(failing.closed).toBe(failing.talks.length > 0 && script.converse === undefined ? 1 : 0)
  })

  it('does not disturb the others', async () => {
    const it: Awaited<ReturnType<typeof stage>> = await stage({
      receive(frame) {
        if (frame === 'boom') throw new Error('boom')
        it.talks[1]!.link.send(frame)
      },
    })
    const [bad, good] = [it.connect(), it.connect()]
    good.write('a\n')
    bad.write('boom\n')
    expect(await taken(good)).toBe('a\n')
    expect(await taken(bad)).toBe('refused internal\n')
    good.write('b\n')
    expect(await taken(good)).toBe('b\n')
  })
})
