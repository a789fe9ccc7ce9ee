import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, faultOf, message, TestClock, turn } from '../test/support.ts'
import { type FileLayer, type OpenFile, realFiles } from './files.ts'
import { Log } from './log.ts'
import { Segments } from './segments.ts'

const ignore = () => undefined

/** The real disk, counting what is done by the handle that made a file and, where told to, failing. */
const watched = (fail: () => boolean = () => false) => {
  const seen = { writes: 0, syncs: 0 }
  const wrap = (file: OpenFile, counts: number): OpenFile => ({
    write(bytes, position) {
      if (fail()) throw new Error('ENOSPC')
      seen.writes += counts
      return file.write(bytes, position)
    },
    async sync() {
      seen.syncs += counts
      await file.sync()
    },
    read: (position, length, into) => file.read(position, length, into),
    size: () => file.size(),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  })
  const files: FileLayer = {
    ...realFiles,
    open: async (path, how) => wrap(await realFiles.open(path, how), how === 'create' ? 1 : 0),
  }
  return { files, seen }
}

describe('log', () => {
  let bench: Bench
  afterEach(() => bench?.end())

  it('writes and syncs once what is appended in one turn', async () => {
    const { files, seen } = watched()
    bench = await Bench.start({ files })
    await bench.publish(message('T', 'first'))
    seen.writes = seen.syncs = 0
    await Promise.all(Array.from({ length: 100 }, (_, at) => bench.publish(message('T', `m${at}`))))
    expect(seen).toMatchObject({ writes: 1, syncs: 1 })
  })

  it('under flush async writes a read of a socket at once, and less of it with what else comes in the turn', async () => {
    const { files, seen } = watched()
    bench = await Bench.start({ files, flush: 'async' })
    await bench.publish(message('T', 'first'))
    const body = Buffer.alloc(1024)
    const publish = (count: number) =>
      Promise.all(Array.from({ length: count }, () => bench.publish(message('T', body))))
    const writesAfter = async (count: number) => {
      seen.writes = 0
      const all = publish(count)
      await new Promise<void>((resolve) => process.nextTick(resolve))
      const { writes } = seen
      await all
      return [writes, seen.writes]
    }
    expect(await writesAfter(40)).toEqual([0, 1])
    expect(await writesAfter(60)).toEqual([1, 1])
  })

  it('does not wait for the disk under flush async, and syncs a little later', async () => {
    const { files, seen } = watched()
    bench = await Bench.start({ files, flush: 'async' })
    seen.syncs = 0
    for (let at = 0; at < 10; at++) await bench.publish(message('T', `m${at}`))
    expect(seen.syncs).toBe(0)
    await bench.clock.advance(600)
    expect(seen.syncs).toBe(1)
    await bench.clock.advance(600)
    expect(seen.syncs).toBe(1)
    await bench.reopen()
    expect(await bench.pop('T')).toHaveLength(10)
  })

  it('shows a message to readers only when it is durable', async () => {
    let release = () => undefined as void
    let gate: Promise<void> | undefined
    const files: FileLayer = {
      ...realFiles,
      open: async (path, how) => {
        const file = await realFiles.open(path, how)
        return {
          write: (bytes, at) => file.write(bytes, at),
          read: (at, length, into) => file.read(at, length, into),
          size: () => file.size(),
          truncate: (size) => file.truncate(size),
          close: () => file.close(),
          sync: async () => {
            await gate
            await file.sync()
          },
        }
      },
    }
    bench = await Bench.start({ files })
    await bench.publish(message('T', 'a'))
    gate = new Promise((resolve) => {
      release = resolve
    })
    const publishing = bench.publish(message('T', 'b'))
    await turn()
    // It has chosen when this turn is over; its lease is written behind the batch that is being synced.
    const popping = bench.pop('T')
    await turn()
    release()
    expect(bodies(await popping)).toEqual(['a'])
    gate = undefined
    await publishing
    expect(bodies(await bench.pop('T'))).toEqual(['b'])
  })

  it('acknowledges nothing any more when the disk fails, and recovers what it had', async () => {
    let full = false
    const { files } = watched(() => full)
    bench = await Bench.start({ files })
    await bench.publish(message('T', 'a'))
    full = true
    expect(await faultOf(bench.publish(message('T', 'b')))).toMatchObject({ code: 'unavailable' })
    expect(await faultOf(bench.publish(message('T', 'c')))).toMatchObject({ code: 'unavailable' })
    expect(bench.broker.stats().failed).toBe(true)
    expect(bench.lines.map(({ event }) => event)).toContain('log.failed')
    full = false
    await bench.reopen()
    expect(bodies(await bench.pop('T'))).toEqual(['a'])
  })

  it('reads what is not in memory any more from its segments', async () => {
    bench = await Bench.start({ segmentBytes: 64 * 1024, cacheBytes: 32 * 1024 })
    const sent = Array.from({ length: 300 }, (_, at) => `${at}.`.padEnd(1000, 'x'))
    for (let at = 0; at < sent.length; at += 50)
      await bench.publish(...sent.slice(at, at + 50).map((body) => message('T', body)))
    const got = [...(await bench.pop('T', { max: 1000 }))]
    expect(new Set(bodies(got))).toEqual(new Set(sent))
    expect(bench.broker.stats().segments).toBeGreaterThan(2)
  })

  it('writes again into memory that nobody reads, and never into what a reader has', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'sluice-log-'))
    const segments = new Segments(realFiles, dir)
    const log = new Log(
      {
        flush: 'async',
        segmentBytes: 1 << 30,
        cacheBytes: 128 * 1024,
        clock: new TestClock(),
        lines: { info: ignore, warn: ignore, error: ignore },
        rolled: () => async () => undefined,
      },
      segments,
      await segments.create(0, 0),
      0,
    )
    const memories = new Set<Buffer>()
    const append = async (fill: string) => {
      const place = log.append(Buffer.alloc(1_000, fill))
      memories.add(log.room.bytes)
      await log.done()
      return place
    }
    for (let at = 0; at < 2_000; at++) await append('a')
    expect(memories.size).toBeLessThanOrEqual(10)
    const read = log.peek(await append('b'), 1_000)!
    for (let at = 0; at < 2_000; at++) await append('c')
    expect(read.equals(Buffer.alloc(1_000, 'b'))).toBe(true)
    await log.close()
    await segments.close()
    await rm(dir, { recursive: true })
  })

  it('takes bodies longer than its chunks', async () => {
    bench = await Bench.start({ cacheBytes: 1024 })
    const body = Buffer.alloc(3_000_000, 'y')
    await bench.publish(message('T', body), message('T', 'small'))
    await bench.reopen()
    const got = await bench.pop('T')
    expect(got.map(({ message: { body } }) => body.length).sort()).toEqual([5, 3_000_000].sort())
  })
})
