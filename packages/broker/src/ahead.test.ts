import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message, turn } from '../test/support.ts'
import { Ahead } from './ahead.ts'
import { type FileLayer, type OpenFile, realFiles } from './files.ts'
import { segmentName } from './segments.ts'

const MIB = 1024 * 1024
const ignore = () => undefined
const lines = { info: ignore, warn: ignore, error: ignore }

/** A file that notes what is written into it; each write ends when it is let go. */
const slowFile = () => {
  const pieces: { at: number; bytes: number; go(): void }[] = []
  const file: OpenFile = {
    write: ([bytes], at) => new Promise((go) => void pieces.push({ at, bytes: bytes!.length, go })),
    sync: async () => undefined,
    close: async () => undefined,
    truncate: async () => undefined,
    size: async () => 0,
    read: async () => Buffer.alloc(0),
  }
  return { file, pieces }
}

describe('zeros ahead', () => {
  const start = (most: number, step = 0) => {
    const { file, pieces } = slowFile()
    return { ahead: new Ahead({ open: async () => file, from: 0, most, step, lines }), pieces }
  }

  it('are few at first, and more with what is written', async () => {
    const { ahead, pieces } = start(64 * MIB)
    const steps: number[] = []
    for (let at = 100; at < 40 * MIB; at += 100_000) {
      ahead.wrote(at)
      await turn(1)
      while (pieces.length > 0) {
        pieces.shift()!.go()
        await turn(1)
      }
      if (steps.at(-1) !== ahead.step) steps.push(ahead.step)
      expect(ahead.laid - at).toBeLessThanOrEqual(12 * MIB)
    }
    expect(steps.map((bytes) => bytes / MIB)).toEqual([0.25, 0.5, 1, 2, 4, 8])
  })

  it('end with the segment', async () => {
    const { ahead, pieces } = start(MIB, MIB)
    ahead.wrote(1000)
    for (let laid = 0; laid < 8; laid++) {
      await turn(1)
      pieces.shift()?.go()
    }
    await turn(1)
    expect(ahead.laid).toBe(MIB)
    ahead.wrote(MIB)
    await turn(1)
    expect(pieces).toEqual([])
  })

  it('hold up only what is to be written where they are being laid', async () => {
    const { ahead, pieces } = start(64 * MIB, 4 * MIB)
    expect(ahead.room(5_000)).toBeUndefined()
    ahead.wrote(5_000)
    await turn(1)
    const [first] = pieces.splice(0)
    expect(first).toMatchObject({ at: 5_000, bytes: MIB })
    let written = false
    const room = ahead.room(6_000)!.then(() => {
      written = true
      ahead.wrote(2 * MIB)
    })
    await turn(1)
    expect(written).toBe(false)
    first!.go()
    await room
    await turn(1)
    // What was overtaken goes on behind what was written.
    const [second] = pieces.splice(0)
    expect(second!.at).toBe(2 * MIB)
    expect(ahead.room(2 * MIB)).toBeUndefined()
    second!.go()
  })

  it('are done without where the disk refuses them, once a file', async () => {
    let opened = 0
    const told: string[] = []
    const open = async (): Promise<OpenFile> => {
      opened++
      throw new Error('ENOSPC')
    }
    const warn = (event: string) => void told.push(event)
    const ahead = new Ahead({ open, from: 0, most: MIB, step: 0, lines: { ...lines, warn } })
    for (let at = 1_000; at < 9_000; at += 1_000) {
      expect(ahead.room(at)).toBeUndefined()
      ahead.wrote(at)
      await turn(1)
    }
    await ahead.end()
    expect([opened, told]).toEqual([1, ['log.ahead']])
  })
})

describe('a log with zeros ahead', () => {
  let bench: Bench
  afterEach(() => bench?.end())

  const last = async (): Promise<string> => {
    const names = (await readdir(bench.dir)).filter((name) => /^\d{20}$/.test(name)).sort()
    return join(bench.dir, names.at(-1)!)
  }
  const length = async (): Promise<number> => (await stat(await last())).size
  /** Zeros are laid beyond the end. */
  const laid = () => expect.poll(length).toBeGreaterThan(bench.broker.stats().end)
  const alone = async (): Promise<void> => {
    for (const name of await readdir(bench.dir))
      if (/snapshot|index/.test(name)) await rm(join(bench.dir, name), { force: true })
  }
  const events = () => bench.lines.map(({ event }) => event)
  /** What stands in the file that a kill leaves, changed. */
  const afterKill = async (edit: (bytes: Buffer, end: number) => Buffer | void): Promise<void> => {
    await laid()
    const { end } = bench.broker.stats()
    const bytes = await readFile(await last())
    await bench.broker.close()
    await alone()
    await writeFile(await last(), edit(bytes, end) ?? bytes)
    await bench.open()
  }

  it('is small when little was written, and as long as what is in it when it was closed', async () => {
    bench = await Bench.start()
    for (let at = 0; at < 10; at++) await bench.publish(message('T', `m${at}`))
    await laid()
    expect(await length()).toBeLessThanOrEqual(MIB)
    const { end } = bench.broker.stats()
    await bench.broker.close()
    expect(await length()).toBe(end)
    await bench.open()
    expect(await bench.pop('T')).toHaveLength(10)
  })

  it('ends after a kill where the zeros begin, and goes on there', async () => {
    bench = await Bench.start()
    await bench.publish(message('T', 'a'))
    const { end } = bench.broker.stats()
    await afterKill(ignore)
    expect(bench.broker.stats()).toMatchObject({ end, cutBytes: 0, unreadableBytes: 0 })
    expect(events()).not.toContain('log.cut')
    await bench.publish(message('T', 'b'))
    await bench.reopen()
    expect(bodies(await bench.pop('T')).sort()).toEqual(['a', 'b'])
  })

  it('has a torn tail within them, and says how long it was', async () => {
    bench = await Bench.start()
    await bench.publish(message('T', 'a'))
    await afterKill((bytes, end) => void bytes.write('half', end + 512))
    expect(bench.broker.stats()).toMatchObject({ cutBytes: 516, unreadableBytes: 0 })
    expect(bodies(await bench.pop('T'))).toEqual(['a'])
  })

  it('is damaged, and not at its end, where a later batch says that it was durable', async () => {
    bench = await Bench.start()
    const sent = ['first', 'second', 'third', 'fourth']
    for (const body of sent) await bench.publish(message('T', body))
    await afterKill((bytes) => {
      const at = bytes.indexOf('second')
      bytes.fill(0, at - 60, at + 10)
    })
    expect(events()).toContain('log.damaged')
    expect(bench.broker.stats().unreadableBytes).toBeGreaterThan(0)
    expect(bodies(await bench.pop('T')).sort()).toEqual(['first', 'fourth', 'third'])
  })

  it('has none in a full segment, nor under flush async', async () => {
    bench = await Bench.start({ segmentBytes: 64 * 1024 })
    for (let at = 0; at < 100; at++) await bench.publish(message('T', ''.padEnd(2_000, 'x')))
    await bench.publish(message('T', ''))
    const names = (await readdir(bench.dir)).filter((name) => /^\d{20}$/.test(name)).sort()
    expect(names.length).toBeGreaterThan(2)
    for (const [index, name] of names.slice(0, -1).entries())
      expect(segmentName(Number(name) + (await stat(join(bench.dir, name))).size)).toBe(names[index + 1])
    await bench.reopen({ flush: 'async' })
    await bench.publish(message('T', 'last'))
    await turn(20)
    expect((await stat(await last())).size + Number((await last()).slice(-20))).toBe(bench.broker.stats().end)
  })

  it('goes on without them when the disk refuses them', async () => {
    const files: FileLayer = {
      ...realFiles,
      open: async (path, how) => {
        const file = await realFiles.open(path, how)
        if (how !== 'write') return file
        const write = () => Promise.reject(new Error('ENOSPC'))
        return { ...bound(file), write }
      },
    }
    bench = await Bench.start({ files })
    for (let at = 0; at < 5; at++) await bench.publish(message('T', `m${at}`))
    expect(bench.broker.stats().failed).toBe(false)
    expect(events().filter((event) => event === 'log.ahead')).toHaveLength(1)
    expect(await bench.pop('T')).toHaveLength(5)
  })
})

const bound = (file: OpenFile): OpenFile => ({
  write: (bytes, at) => file.write(bytes, at),
  read: (at, length, into) => file.read(at, length, into),
  size: () => file.size(),
  truncate: (size) => file.truncate(size),
  sync: () => file.sync(),
  close: () => file.close(),
})
