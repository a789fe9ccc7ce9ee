import { turns } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { type Gate, gate, numbers, peer, rest, type Script, type Stage, stage, taken } from '../test/lines.ts'
import { Fault } from './model.ts'

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
    expect(await taken(client)).toBe(numbers(0, 22))
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
