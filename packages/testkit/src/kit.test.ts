import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Codec, Fault, systemClock } from '@sluice/core'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Check, runChecks } from './check.ts'
import { fakeClock, turns } from './clock.ts'
import { goldenFrames, plain, printFrames } from './golden.ts'
import { type HostileRow, hostileAs, hostileRows, missingEvents, playHostile } from './hostile.ts'
import { codecProperties } from './properties.ts'
import { socketPair, Wire } from './wire.ts'

const LIMIT = 64 * 1024

/** u32 length, then so many bytes. */
const lengthCodec = (fault: 'none' | 'throws' | 'allocates' | 'forgets' | 'holds' = 'none'): Codec<Buffer> => ({
  encode(frame) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(frame.length)
    return [head, frame]
  },
  decoder() {
    let held: Buffer = Buffer.alloc(0)
    const grabbed: Buffer[] = []
    return {
      get buffered() {
        return held.length
      },
      decode(chunk, emit) {
        held = fault === 'forgets' && held.length === 3 ? chunk : Buffer.concat([held, chunk])
        while (held.length >= 4) {
          const length = held.readUInt32BE(0)
          if (length > LIMIT) {
            if (fault === 'throws') throw new RangeError('too long')
            if (fault === 'allocates') grabbed.push(Buffer.alloc(16 * 1024 * 1024))
            if (fault !== 'holds') throw new Fault('tooLarge', 'too long')
          }
          if (held.length < 4 + length) return
          emit(held.subarray(4, 4 + length))
          held = held.subarray(4 + length)
        }
      },
    }
  },
})

const frames = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))
const announcements = [Buffer.from('7fffffff', 'hex')]
const failing = async (checks: readonly Check[]) =>
  (await runChecks(checks)).failures.map(({ name }) => name.replace(/^length: | \(.*/g, ''))

describe('codec properties', () => {
  const properties = (...args: Parameters<typeof lengthCodec>) =>
    codecProperties('length', lengthCodec(...args), frames, { frameBytes: LIMIT }, { announcements, runs: 300 })

  it('hold for a codec that is right', async () => {
    expect((await runChecks(properties())).failures).toEqual([])
  })

  it('find a throw that is no Fault', async () => {
    expect(await failing(properties('throws'))).toContain('any bytes give frames or a Fault')
  })

  it('find bytes that are lost between chunks', async () => {
    expect(await failing(properties('forgets'))).toContain('any split of the bytes gives the same frames')
  })

  it('find a frame that is held although it is too large', async () => {
    expect(await failing(properties('holds'))).toEqual(['announcement 1'])
  })

  it('find memory that was allocated for an announcement', async () => {
    const grabbed: Buffer[] = []
    const codec: Codec<Buffer> = {
      ...lengthCodec(),
      decoder: () => ({
        buffered: 0,
        decode() {
          grabbed.push(Buffer.alloc(16 * 1024 * 1024))
          throw new Fault('tooLarge', 'too long')
        },
      }),
    }
    const checks = codecProperties('length', codec, frames, { frameBytes: LIMIT }, { announcements, runs: 1 })
    expect(await failing(checks.slice(-1))).toEqual(['announcement 1'])
  })
})

describe('golden frames', () => {
  const directory = mkdtempSync(join(tmpdir(), 'golden-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  const write = (name: string, hex: string, json: string) => {
    writeFileSync(join(directory, `${name}.hex`), `# a client 1.0\n${hex}\n`)
    writeFileSync(join(directory, `${name}.json`), json)
  }

  it('compares frames and bytes, and expects faults', async () => {
    write('two', '00000001 61 00000002 6263', printFrames([Buffer.from('a'), Buffer.from('bc')]))
    write('large', 'ffffffff', '{"fault": "tooLarge"}')
    expect((await runChecks(goldenFrames(directory, lengthCodec()))).failures).toEqual([])
    write('wrong', '00000001 61', printFrames([Buffer.from('b')]))
    expect(await failing(goldenFrames(directory, lengthCodec()))).toEqual(['wrong'])
  })

  it('says values that JSON has no word for', () => {
    const value = { a: undefined, b: 1n, c: new Map([['k', Buffer.of(1)]]) }
    expect(plain(value)).toEqual({ b: { $int: '1' }, c: { $map: [['k', { $hex: '01' }]] } })
  })
})

describe('hostile rows', () => {
  let server: net.Server
  let target: Parameters<typeof playHostile>[1]
  beforeAll(async () => {
    // Answers each chunk with its length, ends on "end".
    server = net.createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', (chunk) => {
        socket.write(Buffer.of(chunk.length))
        if (chunk.includes('end')) socket.end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as net.AddressInfo
    target = { host: '127.0.0.1', ports: { plain: port, tls: port, proxy: port } }
  })
  afterAll(() => void server.close())

  const right: HostileRow = { name: 'end', send: [{ text: 'the end' }], answer: '07', ends: 'closed' }

  it('play and compare', async () => {
    await playHostile(right, target)
    await playHostile({ name: 'stays', send: [{ hex: '00', times: 3 }], answer: '03', ends: 'open' }, target)
    await playHostile({ name: 'waits', send: ['0000', { until: '02' }, '00'], answer: '0201', ends: 'open' }, target)
    await playHostile({ name: 'silent', send: [], ends: 'open' }, target)
  })

  it('fail on another answer, on another end, on an answer where none is due', async () => {
    await expect(playHostile({ ...right, answer: '08' }, target)).rejects.toThrow(/answered 07/)
    await expect(playHostile({ ...right, ends: 'open' }, target)).rejects.toThrow(/ended/)
    await expect(playHostile({ name: 'none', send: ['00'], ends: 'open' }, target)).rejects.toThrow(/nothing/)
    await expect(
      playHostile({ name: 't', send: right.send, answerText: 'x', ends: 'closed' }, target),
    ).rejects.toThrow()
  })

  it('count the lines of the log that they ask for', () => {
    const event = { event: 'connection.refused', code: 'malformed' }
    const rows = [
      { ...right, event },
      { ...right, event },
    ]
    expect(missingEvents(rows, [event, event])).toEqual([])
    expect(missingEvents(rows, [event])).toEqual(['connection.refused malformed: 1 instead of 2'])
  })

  it('are played under other names where many play one', () => {
    const send = ['00 686f7374', { pause: 1 }, '696c652d31', { text: 'hostile' }] as const
    const { send: renamed } = hostileAs({ ...right, send }, 36)
    expect(renamed).toEqual(['0068303030', { pause: 1 }, '3031302d31', { text: 'hostile' }])
  })

  it('are refused when a row is not what it should be', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'rows-')), 'hostile.json')
    const rows = Array.from({ length: 10 }, (_, n): object => ({ ...right, name: `row ${n}` }))
    writeFileSync(file, JSON.stringify(rows))
    expect(hostileRows(file)).toHaveLength(10)
    for (const wrong of [{ send: ['0'] }, { sends: [] }, { ends: 'later' }, { name: 'row 1' }]) {
      writeFileSync(file, JSON.stringify([{ ...rows[0], ...wrong }, ...rows.slice(1)]))
      expect(() => hostileRows(file)).toThrow()
    }
  })
})

describe('the fake clock', () => {
  it('runs what is due in order of time, each once', () => {
    const clock = fakeClock(0)
    const seen: string[] = []
    const say = (what: string) => () => void seen.push(`${what}@${clock.now()}`)
    const stop = clock.every(10, say('every'))
    clock.after(15, say('after'))
    clock.after(15, say('never'))()
    clock.advance(25)
    stop()
    clock.advance(100)
    expect(seen).toEqual(['every@10', 'after@15', 'every@20'])
    expect([clock.now(), clock.pending]).toEqual([125, 0])
  })
})

describe('a wire', () => {
  const wires: Wire[] = []
  afterEach(() => {
    for (const wire of wires.splice(0)) wire.destroy()
  })
  const pair = () => {
    const [near, far] = socketPair()
    const wire = new Wire(near)
    wires.push(wire)
    return { wire, far }
  }

  it('waits for bytes, takes them, and notices the end', async () => {
    const { wire, far } = pair()
    const waiting = wire.take(3)
    far.write('ab')
    far.write('cd')
    expect((await waiting).toString()).toBe('abc')
    far.end('e')
    expect((await wire.rest()).toString()).toBe('de')
    far.resume()
    await wire.closed
    await expect(wire.take(1)).rejects.toThrow(/the stream ended while waiting for 1 bytes; nothing is unread/)
  })

  it('tells the other end when it is destroyed', async () => {
    const { wire, far } = pair()
    const closed = new Promise((resolve) => far.on('close', resolve))
    wire.destroy()
    await closed
  })

  it('speaks frames', async () => {
    const { wire, far } = pair()
    const other = new Wire(far)
    const client = wire.frames(lengthCodec())
    const server = other.frames(lengthCodec())
    client.send(Buffer.from('one'), Buffer.from('two'))
    expect((await server.next()).toString()).toBe('one')
    await turns(2)
    expect(server.here().map(String)).toEqual(['two'])
  })

  it('works with the clock of the system too', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
  })
})
