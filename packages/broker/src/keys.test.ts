import { readdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { system } from '@sluice/remoting'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message, turn } from '../test/support.ts'
import type { OpenFile } from './files.ts'
import { findKeys, hashKey, KeyList, writeKeys } from './keyList.ts'

const fileOf = (bytes: Buffer) =>
  ({
    read: async (at: number, length: number) => bytes.subarray(at, at + length),
    size: async () => bytes.length,
  }) as unknown as OpenFile

describe('a file of keys', () => {
  it('answers as the list does that it was made of', async () => {
    const hash = fc.oneof(fc.nat(20), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
    await fc.assert(
      fc.asyncProperty(fc.array(hash, { maxLength: 400 }), fc.nat(2 ** 40), async (hashes, start) => {
        const list = new KeyList(start, start)
        hashes.forEach((one, at) => {
          list.add(one, start + at * 100)
        })
        const file = fileOf(writeKeys(list))
        for (const one of new Set([...hashes, 7])) {
          const places = hashes.flatMap((other, at) => (other === one ? [start + at * 100] : [])).reverse()
          expect([list.find(one), await findKeys(file, start, one)]).toEqual([places, places])
        }
      }),
      { numRuns: 100 },
    )
  })

  it('that is damaged answers rightly or not at all', async () => {
    const list = new KeyList(0, 0)
    for (let at = 0; at < 200; at++) list.add(hashKey('T', `k${at % 50}`), at)
    const bytes = writeKeys(list)
    const hash = hashKey('T', 'k7')
    for (let at = 0; at < bytes.length; at += 3) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 0x10
      expect([list.find(hash), undefined]).toContainEqual(await findKeys(fileOf(damaged), 0, hash))
      expect([list.find(hash), undefined]).toContainEqual(await findKeys(fileOf(bytes.subarray(0, at)), 0, hash))
    }
  })
})

describe('a query by key', () => {
  let bench: Bench
  afterEach(() => bench.end())

  const SEGMENT = 8 * 1024
  const query = async (key: string, more: { unique?: boolean; max?: number; after?: number; topic?: string } = {}) => {
    const { unique = false, max = 100, after = 0, topic = 'T' } = more
    const before = Number.MAX_SAFE_INTEGER
    const from = { by: 'key', topic, key, unique, after, before } as const
    return bodies((await bench.run<'read'>({ kind: 'read', from, max, bytes: 1e9, wait: 0 })).batch)
  }
  /** Every tenth has the key `ten`, each its own. */
  const fill = async (from: number, to: number, topic = 'T'): Promise<void> => {
    for (let at = from; at < to; at++) {
      const keys = [`own-${at}`, ...(at % 10 === 0 ? ['ten'] : [])]
      await bench.publish(message(topic, `${at} `.padEnd(500, 'x'), { keys, id: `id-${topic}-${at}` }))
    }
  }
  const numbers = (found: readonly string[]) => found.map((body) => Number.parseInt(body, 10))
  const files = async () => (await readdir(bench.dir)).filter((name) => name.endsWith('.keys')).sort()
  const tens = (from: number, to: number): number[] =>
    Array.from({ length: to - from }, (_, at) => to - 1 - at).filter((at) => at % 10 === 0)

  it('finds what has it in the whole log, the newest first, over restarts and kills', async () => {
    bench = await Bench.start({ segmentBytes: SEGMENT })
    await fill(0, 200)
    const check = async (to: number): Promise<void> => {
      expect(numbers(await query('ten'))).toEqual(tens(0, to))
      expect(numbers(await query('ten', { max: 3 }))).toEqual(tens(0, to).slice(0, 3))
      for (const at of [0, 7, 99, to - 1]) {
        expect(numbers(await query(`own-${at}`))).toEqual([at])
        expect(numbers(await query(`id-T-${at}`, { unique: true }))).toEqual([at])
      }
      expect(await query('none')).toEqual([])
      expect(await query('own-7', { unique: true })).toEqual([])
    }
    await check(200)
    await fill(0, 5, 'U')
    expect(numbers(await query('ten', { topic: 'U' }))).toEqual([0])
    await bench.reopen()
    await check(200)
    await fill(200, 230)
    await bench.kill()
    await check(230)
    await fill(230, 300)
    await check(300)
    expect((await files()).length).toBeGreaterThan(10)
  })

  it('makes the file of a segment again that is gone or damaged', async () => {
    bench = await Bench.start({ segmentBytes: SEGMENT })
    await fill(0, 100)
    await bench.reopen()
    const [gone, damaged, cut] = await files()
    const path = (name: string | undefined) => join(bench.dir, name!)
    const whole = [await readFile(path(gone)), await readFile(path(damaged))]
    await unlink(path(gone))
    await writeFile(path(damaged), Buffer.from(whole[1]!).fill(0, 20))
    await writeFile(path(cut), '')
    expect(numbers(await query('ten'))).toEqual(tens(0, 100))
    expect(bench.lines.filter(({ event }) => event === 'keys.damaged').length).toBeGreaterThan(1)
    expect([await readFile(path(gone)), await readFile(path(damaged))]).toEqual(whole)
  })

  it('finds what a RocketMQ client says are its keys', async () => {
    bench = await Bench.start()
    const packed = Buffer.from(`${system.keys}\x01one two\x02${system.id}\x01the id\x02`)
    await bench.publish(message('T', 'x', { packed }))
    expect([await query('one'), await query('two'), await query('the id', { unique: true })]).toEqual([
      ['x'],
      ['x'],
      ['x'],
    ])
    expect([await query('one two'), await query('thr')]).toEqual([[], []])
  })

  it('finds a message without an id by the id that its place makes', async () => {
    bench = await Bench.start()
    const [stored] = await bench.publish(message('T', 'x'))
    expect(await query(stored!.id, { unique: true })).toEqual(['x'])
    expect(await query(stored!.id, { unique: true, topic: 'T', after: bench.clock.now() + 1 })).toEqual([])
  })

  it('does not show what waits for its time, and shows it from then on', async () => {
    bench = await Bench.start()
    await bench.publish(message('T', 'later', { keys: ['k'], deliverAt: bench.clock.now() + 10_000 }))
    await bench.publish(message('T', 'now', { keys: ['k'] }))
    expect(await query('k')).toEqual(['now'])
    await bench.clock.advance(10_200)
    let found = await query('k')
    for (; found.length < 2; found = await query('k')) await turn()
    expect(found).toEqual(['later', 'now'])
  })

  it('ends with what its segments end with', async () => {
    bench = await Bench.start({ segmentBytes: SEGMENT, retain: { bytes: 4 * SEGMENT }, defaultQueues: 1 })
    await fill(0, 200)
    while (bench.lines.filter(({ event }) => event === 'segment.deleted').length < 5) await turn()
    const found = numbers(await query('ten'))
    expect(found).toEqual(tens(0, 200).slice(0, found.length))
    expect(found.length).toBeLessThan(15)
    expect(await query('own-0')).toEqual([])
    // The file goes after its segment.
    const first = async () => Number.parseInt((await files())[0]!, 10)
    while ((await first()) < bench.broker.stats().start) await turn()
  })
})
