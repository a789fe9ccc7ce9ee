import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message } from '../test/support.ts'
import { type FileLayer, type How, type OpenFile, realFiles } from './files.ts'
import { SHARE } from './pace.ts'
import { ALIGN, PIECE } from './window.ts'

const SEGMENT = /\d{20}$/

/** The real files, with what is read of segments. */
class Watched implements FileLayer {
  readonly makeDir = realFiles.makeDir
  readonly list = realFiles.list
  readonly rename = realFiles.rename
  readonly unlink = realFiles.unlink
  readonly syncDir = realFiles.syncDir
  readonly lock = realFiles.lock
  readonly asked: { readonly how: How; readonly position: number; readonly length: number }[] = []
  bytes = 0
  /** Under way, and at most. */
  now = 0
  most = 0
  /** What each read waits for. */
  gate: () => Promise<unknown> = async () => undefined
  /** What direct reads come to. */
  direct: 'read' | 'not opened' | 'not read' | 'cut short' = 'read'

  /** The ways in which segments were read. */
  get ways(): ('direct' | 'kept')[] {
    return [...new Set(this.asked.map(({ how }) => (how === 'direct' ? how : 'kept')))]
  }

  async open(path: string, how: How): Promise<OpenFile> {
    if (how === 'direct' && this.direct === 'not opened') throw new Error('EINVAL')
    const file = await realFiles.open(path, how)
    if (!SEGMENT.test(path)) return file
    return {
      write: (bytes, position) => file.write(bytes, position),
      sync: () => file.sync(),
      size: () => file.size(),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
      read: async (position, length, into) => {
        this.asked.push({ how, position, length })
        this.now++
        this.most = Math.max(this.most, this.now)
        try {
          await this.gate()
          if (how === 'direct' && this.direct === 'not read') throw new Error('EINVAL')
          const before = into && Buffer.from(into)
          const whole = await file.read(position, length, into)
          const isCut = how === 'direct' && this.direct === 'cut short'
          const read = isCut ? whole.subarray(0, 512) : whole
          if (isCut) before?.copy(into!, 512, 512)
          this.bytes += read.length
          return read
        } finally {
          this.now--
        }
      },
    }
  }
}

const QUEUES = 4
const COUNT = 400

describe('cold reads', () => {
  const files = new Watched()
  let bench: Bench
  const body = (at: number) => `${at}.`.padEnd(2000 + (at % 7) * 500, String(at % 10))

  const wanted = [...Array.from({ length: COUNT }, (_, at) => body(at)), 'x'.repeat(1_500_000)].sort()

  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: QUEUES, files, segmentBytes: 4 * 1024 * 1024 })
    for (let at = 0; at < COUNT; at += 50)
      await bench.publish(...Array.from({ length: 50 }, (_, more) => message('T', body(at + more))))
    await bench.publish(message('T', 'x'.repeat(1_500_000)))
    await bench.reopen()
    files.asked.length = files.bytes = files.most = 0
    files.direct = 'read'
  })
  afterEach(() => bench.end())

  const read = async (index: number, offset: number, max: number) => {
    const from = { by: 'offset', queue: { topic: 'T', node: bench.broker.node, index }, offset } as const
    const { batch, next } = await bench.run<'read'>({ kind: 'read', from, max, bytes: 10_000_000, wait: 0 })
    return { delivered: [...batch], next }
  }
  const readAll = async (index: number, max: number): Promise<string[]> => {
    const all: string[] = []
    for (let offset = 0; ; ) {
      const { delivered, next } = await read(index, offset, max)
      if (delivered.length === 0) return all
      all.push(...bodies(delivered))
      offset = next
    }
  }

  it('give every record of every queue, whole and in order, also one that is longer than what is read at a time', async () => {
    const queues = await Promise.all([0, 1, 2, 3].map((index) => readAll(index, 32)))
    expect(queues.flat().sort()).toEqual(wanted)
    for (const all of queues)
      expect(all.slice(0, 100).map(Number.parseFloat)).toEqual(
        [...all.slice(0, 100)].map(Number.parseFloat).sort((a, b) => a - b),
      )
  })

  it('go to the files one at a time, and hardly more than once for what all queues of a topic have', async () => {
    await Promise.all([0, 1, 2, 3].map((index) => readAll(index, 32)))
    const { start, end } = bench.broker.stats()
    expect(files.most).toBe(1)
    expect(files.bytes).toBeLessThan((end - start) * 1.2)
  })

  it('go past what the system keeps, in pieces that a sync does not wait long for', async () => {
    await readAll(0, 32)
    expect(files.ways).toEqual(['direct'])
    expect(Math.max(...files.asked.map(({ length }) => length))).toBe(PIECE)
    for (const { position, length } of files.asked) expect([position % ALIGN, length % ALIGN]).toEqual([0, 0])
  })

  for (const [direct, ways] of [
    ['not opened', ['kept']],
    ['not read', ['direct', 'kept']],
    ['cut short', ['direct', 'kept']],
  ] as const) {
    it(`give the same where direct reads are ${direct}`, async () => {
      files.direct = direct
      const queues = await Promise.all([0, 1, 2, 3].map((index) => readAll(index, 32)))
      expect(queues.flat().sort()).toEqual(wanted)
      expect(files.ways).toEqual(ways)
      expect(bench.broker.stats().unreadableRecords).toBe(0)
    })
  }

  it('ask for direct reads once where they are refused', async () => {
    files.direct = 'not read'
    await readAll(0, 8)
    expect(files.asked.filter(({ how }) => how === 'direct')).toHaveLength(1)
  })

  it('of what was just written go to what the system keeps, as far back as it is trusted to', async () => {
    for (const [recentBytes, way] of [
      [2 ** 30, 'kept'],
      [0, 'direct'],
    ] as const) {
      const lately = await Bench.start({ files, cacheBytes: 64 * 1024, recentBytes })
      try {
        for (let at = 0; at < 40; at++) await lately.publish(message('L', body(at)))
        files.asked.length = 0
        const from = { by: 'offset', queue: { topic: 'L', node: lately.broker.node, index: 0 }, offset: 0 } as const
        const { batch } = await lately.run<'read'>({ kind: 'read', from, max: 1, bytes: 10_000, wait: 0 })
        expect([...batch]).toHaveLength(1)
        expect(files.ways).toEqual([way])
      } finally {
        await lately.end()
      }
    }
  })

  it('give memory away that is not read into again', async () => {
    const { delivered } = await read(0, 0, 8)
    const before = bodies(delivered)
    await read(1, 50, 32) // further on than what goes on: from the beginning of the memory
    expect(bodies(delivered)).toEqual(before)
    expect(bodies((await read(0, 0, 8)).delivered)).toEqual(before)
  })

  it('do not hold up what is written meanwhile', async () => {
    let open: () => void = () => undefined
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    files.gate = () => opened
    const cold = read(0, 0, 32)
    while (files.now === 0) await new Promise(setImmediate)
    const [stored] = await bench.publish(message('T', 'hot'))
    expect(stored).toBeDefined()
    expect(files.now).toBe(1)
    files.gate = async () => undefined
    open()
    expect((await cold).delivered).toHaveLength(32)
  })

  it('leave a turn of the loop between two shares, also of what needs no file', async () => {
    let turns = 0
    let watching = setImmediate(function next() {
      turns++
      watching = setImmediate(next)
    })
    const inTurn = new Map<number, number>()
    const take = async (index: number): Promise<void> => {
      const { delivered } = await read(index, 0, 16)
      const bytes = delivered.reduce((sum, { message }) => sum + message.body.length, 0)
      inTurn.set(turns, (inTurn.get(turns) ?? 0) + bytes)
    }
    await Promise.all(Array.from({ length: 40 }, (_, at) => take(at % QUEUES)))
    clearImmediate(watching)
    expect([...inTurn.values()].reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(10 * SHARE)
    expect(Math.max(...inTurn.values())).toBeLessThanOrEqual(SHARE)
  })
})
