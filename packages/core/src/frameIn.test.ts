import { turn, turns } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { effort } from '../test/effort.ts'
import { type Gate, gate, numbers, rest, stage, taken } from '../test/lines.ts'
import { Fault } from './model.ts'

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
    client.end(numbers(0, 200))
    await turns()
    expect(connection().busy).toBe(200)
    for (let answered = 0; answered < 200; answered++) {
      gates[answered]!.open()
      await turn()
    }
    expect(await answers).toBe(numbers(0, 200))
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
