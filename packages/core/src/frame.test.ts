import net from 'node:net'
import { Duplex } from 'node:stream'
import { turn, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { effort } from '../test/effort.ts'
import { type Gate, gate, peer, rest, type Script, type Stage, stage, taken } from '../test/lines.ts'
import { Fault } from './model.ts'

const text = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `${from + index}\n`).join('')

describe('receive', () => {
  it('is called in order of arrival without waiting for the frame before', async () => {
    const seen: string[] = []
    const { connect } = await stage({
      receive(frame) {
        seen.push(frame)
        return new Promise(() => {})
      },
    })
    connect().write('a\nb\nc\n')
    await turns()
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  it('keeps the order when frames had to wait and some are answered at once', async () => {
    const seen: string[] = []
    const gates: Gate[] = []
    const { connect } = await stage(
      {
        receive(frame) {
          seen.push(frame)
          if (frame.startsWith('sync')) return
          gates.push(gate())
          return gates.at(-1)!.promise
        },
      },
      { inflight: 1 },
    )
    connect().write('a\nsync1\nb\nsync2\n')
    await turns()
    expect(seen).toEqual(['a'])
    gates[0]!.open()
    await turns()
    expect(seen).toEqual(['a', 'sync1', 'b'])
    gates[1]!.open()
    await turns()
    expect(seen).toEqual(['a', 'sync1', 'b', 'sync2'])
  })

  it('never has more than the bound in flight, and answers a client that pipelines ten times as many', async () => {
    let inflight = 0
    let most = 0
    const gates: Gate[] = []
    const { connect, connection } = await stage(
      {
        async receive(frame) {
          most = Math.max(most, ++inflight)
          gates.push(gate())
          await gates.at(-1)!.promise
          inflight--
          this_.send(frame)
        },
        converse(link) {
          this_ = link
        },
      },
      { inflight: 20 },
    )
    const client = connect()
    const answers = rest(client)
    client.end(text(0, 200))
    await turns()
    expect(connection().busy).toBe(200)
    for (let answered = 0; answered < 200; answered++) {
      gates[answered]!.open()
      await turn()
    }
    expect(await answers).toBe(text(0, 200))
    expect(most).toBe(20)
  })
  let this_: { send(frame: string): boolean }

  it('pauses the socket at the bound: what waits here is no more than a chunk, the rest waits with the client', async () => {
    const gates: Gate[] = []
    const { connect, connection } = await stage(
      {
        receive: () => {
          gates.push(gate())
          return gates.at(-1)!.promise
        },
      },
      { inflight: 2 },
    )
    const client = connect()
    for (let chunk = 0; chunk < 5_000; chunk++) client.write('x\n'.repeat(100))
    await turns(100)
    expect(gates.length).toBe(2)
    expect(connection().busy).toBe(100)
    expect(client.writableLength).toBeGreaterThan(0)
    gates[0]!.open()
    await turns()
    expect(gates.length).toBe(3)
    expect(connection().busy).toBe(99)
  })

  it('counts each frame of a request that was made of several', async () => {
    const gates: Gate[] = []
    let received = 0
    const { connect, connection } = await stage(
      {
        receive() {
          if (received++ % 3 === 0) gates.push(gate())
          return gates.at(-1)!.promise
        },
      },
      { inflight: 6 },
    )
    connect().write('x\n'.repeat(8))
    await turns()
    expect([received, connection().busy]).toEqual([6, 8])
    gates[0]!.open()
    await turns()
    expect([received, connection().busy]).toEqual([8, 5])
    gates[2]!.open()
    await turns()
    expect(connection().busy).toBe(3)
    gates[1]!.open()
    await turns()
    expect(connection().busy).toBe(0)
  })

  it('resumes only when nothing waits any more, and reads everything in the end', async () => {
    let received = 0
    const { connect } = await stage(
      {
        async receive() {
          received++
          await turn()
        },
      },
      { inflight: 3 },
    )
    const client = connect()
    const closed = rest(client)
    for (let chunk = 0; chunk < 20; chunk++) client.write('x\n'.repeat(50))
    client.end()
    await closed
    expect(received).toBe(1000)
  })

  it('takes 30,000 small frames of one chunk in a blink although each has to wait', async () => {
    let received = 0
    const { connect } = await stage({ receive: async () => void received++ }, { inflight: 1 })
    const client = connect()
    const closed = rest(client)
    const spent = await effort(async () => {
      client.end('\n'.repeat(30_000))
      await closed
    })
    expect(received).toBe(30_000)
    expect(spent).toBeLessThan(2_000)
  })
})

describe('send', () => {
  const written = (client: { on(event: 'data', run: (chunk: Buffer) => void): unknown }) => {
    const chunks: Buffer[] = []
    client.on('data', (chunk) => void chunks.push(chunk))
    return chunks
  }

  it('makes one write of all frames of a tick', async () => {
    const { connect } = await stage({
      receive: () => undefined,
      converse: (link) => (send = (text) => link.send(text)),
    })
    const chunks = written(connect())
    for (let index = 0; index < 100; index++) send(`${index}`)
    await turns()
    expect(chunks.map(String)).toEqual([text(0, 100)])
  })
  let send: (frame: string) => boolean

  it('may be called before the first frame came: some servers speak first', async () => {
    const { connect, logs } = await stage({ converse: (link) => void link.send('hello') })
    expect(await taken(connect())).toBe('hello\n')
    expect(logs).toEqual([])
  })

  it('passes on what is above 64 KiB without copying it', async () => {
    const part = Buffer.alloc(50_000, 'x')
    const { connect } = await stage({
      converse: (link) => (send = (text) => link.send(text)),
      spec: { codec: (limits) => ({ ...linesOf(limits), encode: () => [part, part] }) },
    })
    const chunks = written(connect())
    send('')
    await turns()
    expect(chunks.map(({ length }) => length)).toEqual([50_000, 50_000])
    expect(chunks[0]!.buffer).toBe(part.buffer)
  })

  it('answers false above the bound, reads no more, loses nothing, and reads on once the peer took it', async () => {
    const got: boolean[] = []
    let received = 0
    const { connect, talks, connection } = await stage(
      {
        receive(frame) {
          received++
          got.push(talks[0]!.link.send(frame.repeat(30_000)))
        },
      },
      { outboundBytes: 100_000 },
    )
    const client = connect()
    for (let index = 0; index < 10; index++) {
      client.write(`${index}\n`)
      await turns()
    }
    // 64 KiB are in the client's hands, 100,000 bytes wait here.
    expect(got).toEqual([true, true, true, true, true, false])
    expect(received).toBe(6)
    expect(connection().busy).toBe(1)
    let writable = false
    void talks[0]!.link.writable().then(() => (writable = true))
    await turns()
    expect(writable).toBe(false)
    const all = rest(client)
    client.end()
    const answers = await all
    expect(answers).toBe(Array.from({ length: 10 }, (_, index) => `${String(index).repeat(30_000)}\n`).join(''))
    expect(writable).toBe(true)
  })

  it('writable resolves for what waited then, even if more is sent all the time', async () => {
    const { connect, connection, talks } = await stage({}, { outboundBytes: 1_000 })
    const client = connect()
    const { link } = talks[0]!
    await link.writable() // nothing waits
    const part = 'a'.repeat(64 * 1024)
    link.send(part) // into the client's hands
    await turns()
    link.send(part)
    let writable = false
    void link.writable().then(() => (writable = true))
    await turns()
    await turns()
    expect(writable).toBe(false)
    for (let round = 0; round < 20 && !writable; round++) {
      link.send(part)
      link.send(part)
      await turns()
      client.read()
      await turns()
      expect(connection().busy).toBe(1)
    }
    expect(writable).toBe(true)
  })

  it('writable resolves when the peer is gone, and send answers false', async () => {
    const { connect, talks } = await stage({}, { outboundBytes: 1 })
    const client = connect()
    const { link } = talks[0]!
    expect(link.send('x'.repeat(100_000))).toBe(false)
    await turns()
    const writable = link.writable()
    client.destroy(new Error('reset'))
    await writable
    await turns()
    expect(link.send('abc')).toBe(false)
    await link.writable()
  })
})

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

describe('the end', () => {
  it('after a half-close answers what is in flight, then closes', async () => {
    const gates: Gate[] = []
    const { connect, talks } = await stage(
      {
        async receive(frame) {
          gates.push(gate())
          await gates.at(-1)!.promise
          talks[0]!.link.send(frame)
        },
      },
      { inflight: 1 },
    )
    const client = connect()
    client.end('a\nb\n')
    expect(await taken(client)).toBe('')
    gates[0]!.open()
    expect(await taken(client)).toBe('a\n')
    gates[1]!.open()
    expect(await rest(client)).toBe('b\n')
  })

  it('after a half-close a refusal still has its last word', async () => {
    const work = gate()
    const { connect } = await stage({ receive: () => work.promise })
    const client = connect()
    client.end('a\n')
    await turns()
    work.fail(new Fault('forbidden', 'no'))
    expect(await rest(client)).toBe('refused forbidden\n')
  })

  it('says the last frame after those of the same tick, half-closes, lingers, destroys', async () => {
    const it = await stage()
    const client = it.connect()
    const { link } = it.talks[0]!
    link.send('one')
    link.end('last')
    link.end('twice')
    expect(link.send('late')).toBe(false)
    expect(await taken(client)).toBe('one\nlast\n')
    client.write('late\n')
    await it.clock.pass(1_900)
    expect(it.closed).toBe(0)
    await it.clock.pass(200)
    expect(it.closed).toBe(1)
    expect(client.writableEnded).toBe(false)
  })

  it('lingers from when the peer took the last word, not from when we said it', async () => {
    const it = await stage({}, { stallMs: 60_000 })
    const client = it.connect()
    it.talks[0]!.link.send('x'.repeat(600_000))
    it.talks[0]!.link.end('last')
    await it.clock.pass(30_000)
    expect(it.closed).toBe(0)
    const all = rest(client)
    await turns()
    client.end()
    expect((await all).slice(-6)).toBe('\nlast\n')
  })

  it('receives nothing more after its end, and the frames that waited are dropped', async () => {
    const seen: string[] = []
    const it: Awaited<ReturnType<typeof stage>> = await stage({
      receive(frame) {
        seen.push(frame)
        if (frame === 'quit') it.talks[0]!.link.end()
      },
    })
    it.connect().write('a\nquit\nb\n')
    await turns()
    expect(seen).toEqual(['a', 'quit'])
    expect(it.connection().busy).toBe(0)
  })

  it('tells `closed` exactly once, whichever way it ends', async () => {
    const ways: ((
      it: Awaited<ReturnType<typeof stage>>,
      client: ReturnType<Awaited<ReturnType<typeof stage>>['connect']>,
    ) => void)[] = [
      (_, client) => void client.destroy(),
      (_, client) => void client.destroy(new Error('reset')),
      (_, client) => void client.end(),
      (_, client) => void client.write('!\n'),
      (it) => it.talks[0]!.link.end('bye'),
      (it) => it.connection().end(false),
      (it) => it.connection().end(true),
      (it) => void it.server.close(),
    ]
    for (const way of ways) {
      const it = await stage()
      const client = it.connect()
      client.resume()
      await turns()
      way(it, client)
      await it.clock.pass(5_000)
      client.destroy()
      await it.clock.pass(5_000)
      expect([it.closed, [...it.server.connections()].length]).toEqual([1, 0])
    }
  })

  it('takes a socket that was closed already', async () => {
    const it = await stage()
    const { duplexPair } = await import('node:stream')
    const [, socket] = duplexPair()
    socket.destroy()
    await turns()
    it.server.accept(socket, peer)
    await turns()
    expect([...it.server.connections()]).toEqual([])
  })
})

describe('a connection', () => {
  it('is busy with requests, waiting frames, deliveries and answers that were not taken', async () => {
    const work = gate()
    const it = await stage({ receive: () => work.promise, unsettled: 3 }, { inflight: 1 })
    const client = it.connect()
    expect(it.connection().busy).toBe(3)
    client.write('a\nb\n')
    await turns()
    expect(it.connection().busy).toBe(5)
    it.talks[0]!.link.send('x'.repeat(100_000))
    await turns()
    expect(it.connection().busy).toBe(6)
    client.resume()
    await turns()
    expect(it.connection().busy).toBe(5)
  })

  it('is told once to go away, serves on, and ends only when it has no work unless forced', async () => {
    const work = gate()
    const it: Awaited<ReturnType<typeof stage>> = await stage({
      async receive(frame) {
        await work.promise
        it.talks[0]!.link.send(frame)
      },
    })
    const client = it.connect()
    const connection = it.connection()
    expect(connection.state).toBe('serving')
    connection.goAway('draining')
    connection.goAway('draining')
    expect(connection.state).toBe('told')
    expect(await taken(client)).toBe('go away\n')
    client.write('a\n')
    await turns()
    connection.end(false)
    await turns()
    work.open()
    expect(await taken(client)).toBe('a\nfarewell\n')
    client.end()
    await turns()
    expect(connection.state).toBe('closed')
  })

  /** Told, and asked to end right after a request that came later than that. */
  const talking = async (script: (it: () => Stage) => Script = () => ({}), spec: Script['spec'] = {}) => {
    const it: Stage = await stage({ goAway() {}, spec, ...script(() => it) })
    const client = it.connect()
    const connection = it.connection()
    connection.goAway('draining')
    await it.clock.pass(10)
    client.write('a\n')
    expect(await taken(client)).toBe('a\n')
    connection.end(false)
    return { ...it, client, connection }
  }

  it('that ends holds the answers of a client that talks on back until it is quiet, for the farewell', async () => {
    const { client, connection, clock } = await talking()
    client.write('b\nc')
    await clock.pass(110)
    connection.end(false) // half a request is on its way
    client.write('\n')
    await clock.pass(90)
    connection.end(false)
    await turns()
    expect(client.read()).toBeNull()
    await clock.pass(10)
    connection.end(false)
    expect(await taken(client)).toBe('b\nc\nfarewell\n')
  })

  it('that ends says its answers at once where its last word says what was served', async () => {
    const { client, connection } = await talking(undefined, { lastWordCounts: true })
    client.write('b\nc')
    await turns()
    connection.end(false)
    expect(await taken(client)).toBe('b\n')
    client.write('\n')
    await turns()
    connection.end(false)
    expect(await taken(client)).toBe('c\nfarewell\n')
  })

  it('that ends counts answers that it holds back not as work, and says them when it is forced', async () => {
    const { client, connection } = await talking()
    client.write('b\n')
    await turns()
    expect(connection.busy).toBe(0)
    connection.end(true)
    expect(await taken(client)).toBe('b\nfarewell\n')
  })

  it('that ends holds nothing back for long from a client that does not wait for its answers', async () => {
    const work = gate()
    const { client, clock, connection } = await talking((it) => ({
      async receive(frame) {
        if (frame === 'slow') await work.promise
        it().talks[0]!.link.send(frame)
      },
    }))
    client.write('slow\n')
    for (let at = 0; at < 22; at++) {
      client.write(`${at}\n`)
      await clock.pass(25)
      connection.end(false)
    }
    expect(await taken(client)).toBe(text(0, 22))
    work.open()
    expect(await taken(client)).toBe('slow\nfarewell\n')
  })

  it('that ends looks by itself whether it may', async () => {
    const { client, clock } = await talking()
    client.write('b\n')
    await clock.pass(750)
    expect(await taken(client)).toBe('b\nfarewell\n')
  })

  it('tells its conversation once that it ends, before the farewell', async () => {
    const said: string[] = []
    const it: Awaited<ReturnType<typeof stage>> = await stage({
      converse: () => void Object.assign(it.talks[0]!, { leave: () => said.push('leave') }),
      receive: () => new Promise(() => {}),
      farewell: () => void said.push('farewell'),
    })
    it.connect().write('a\n')
    await turns()
    it.connection().end(false)
    it.connection().end(false)
    expect(said).toEqual(['leave'])
    it.connection().end(true)
    expect(said).toEqual(['leave', 'farewell'])
  })

  it('that is forced ends although its peer does not read', async () => {
    const it = await stage()
    const client = it.connect()
    client.pause()
    it.talks[0]!.link.send('x'.repeat(1_000_000))
    await turns()
    it.connection().end(false)
    await it.clock.pass(3_000)
    expect(it.closed).toBe(0)
    it.connection().end(true)
    await it.clock.pass(3_000)
    expect(it.closed).toBe(1)
  })

  it('close of the server ends all, waits for their `closed`, and takes no more', async () => {
    const cleanup = gate()
    const it = await stage({ closed: () => cleanup.promise })
    const clients = [it.connect(), it.connect(), it.connect()]
    const words = clients.map((client) => rest(client))
    let closed = false
    const closing = it.server.close().then(() => (closed = true))
    expect(await Promise.all(words)).toEqual(['farewell\n', 'farewell\n', 'farewell\n'])
    for (const client of clients) client.end()
    await turns()
    expect([it.closed, closed]).toEqual([3, false])
    cleanup.open()
    await closing
    const late = it.connect()
    await turns()
    expect(it.talks.length).toBe(3)
    expect(late.readableEnded || late.destroyed || it.talks.length === 3).toBe(true)
    expect(it.clock.pending).toBe(0)
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
    ['encode', { spec: { codec: (limits) => ({ ...linesOf(limits), encode: boom }) } }, () => {}],
    [
      'decode',
      { spec: { codec: (limits) => ({ ...linesOf(limits), decoder: () => ({ decode: boom, buffered: 0 }) }) } },
      () => {},
    ],
    [
      'buffered',
      {
        spec: {
          codec: (limits) => ({
            ...linesOf(limits),
            decoder: () => Object.defineProperty({ decode: () => {}, buffered: 0 }, 'buffered', { get: boom }),
          }),
        },
      },
      () => {},
    ],
    ['decoder', { spec: { codec: (limits) => ({ ...linesOf(limits), decoder: boom }) } }, () => {}],
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

describe('a refusal', () => {
  it('comes before any frame that waited is handled', async () => {
    const seen: string[] = []
    const work = gate()
    const { connect } = await stage(
      {
        receive(frame) {
          seen.push(frame)
          return work.promise
        },
      },
      { inflight: 1 },
    )
    const client = connect()
    client.write('a\nb\n')
    await turns()
    work.fail(new Fault('forbidden', 'no'))
    expect(await taken(client)).toBe('refused forbidden\n')
    expect(seen).toEqual(['a'])
  })

  it('of broken bytes is logged without its bytes, and said in the protocol’s words', async () => {
    const { connect, logs } = await stage()
    const client = connect()
    client.write('a\n!secret\nb\n')
    expect(await taken(client)).toBe('a\nrefused malformed\n')
    expect(logs).toEqual([
      {
        level: 'info',
        event: 'connection.refused',
        fields: { protocol: 'lines', code: 'malformed', reason: 'a line that begins with !', remote: '192.0.2.1' },
      },
    ])
  })
})

describe('on a real socket', () => {
  const servers: net.Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })
  const listening = async (script: Script) => {
    const it = await stage(script)
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => it.server.accept(socket, peer))
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { ...it, port: (server.address() as net.AddressInfo).port }
  }

  it('a client with megabytes still on their way gets the last word, and no reset before it', async () => {
    const { port } = await listening({
      receive: (frame) => {
        if (frame === 'bad') throw new Fault('forbidden', 'no')
      },
    })
    for (let round = 0; round < 20; round++) {
      const client = net.connect(port, '127.0.0.1')
      let failed: Error | undefined
      client.on('error', (error) => (failed = error))
      const all = rest(client)
      client.write('bad\n')
      client.write(Buffer.alloc(4_000_000, 'x\n'))
      expect([await all, failed]).toEqual(['refused forbidden\n', undefined])
      client.destroy()
    }
  })

  it('a reset by the client is an end like another', async () => {
    const it = await listening({})
    const client = net.connect(it.port, '127.0.0.1')
    client.write('a\n')
    await new Promise((resolve) => client.once('data', resolve))
    client.resetAndDestroy()
    await new Promise<void>((resolve) => {
      const look = () => ([...it.server.connections()].length === 0 ? resolve() : setImmediate(look))
      look()
    })
    expect(it.logs).toEqual([])
  })

  it('a large answer arrives whole although the client half-closed before it', async () => {
    const { port } = await listening({})
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const body = 'y'.repeat(4_000_000)
    const all = rest(client)
    client.end(`${body}\n`)
    expect((await all).length).toBe(body.length + 1)
  })
})

const { lines: linesOf } = await import('../test/lines.ts')
