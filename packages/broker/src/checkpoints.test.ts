import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message, turn } from '../test/support.ts'
import { type FileLayer, realFiles } from './files.ts'

const SEGMENT = 32 * 1024
const BODY = Buffer.alloc(4 * 1024, 'x')

let bench: Bench
afterEach(() => bench.end())

/** How large the snapshots are that are written. */
const watched = () => {
  const sizes: number[] = []
  const files: FileLayer = {
    ...realFiles,
    async open(path, how) {
      const file = await realFiles.open(path, how)
      const write: typeof file.write = (bytes, position) => {
        if (how === 'create' && path.includes('snapshot-'))
          sizes.push(bytes.reduce((sum, { length }) => sum + length, 0))
        return file.write(bytes, position)
      }
      return {
        write,
        read: (...how) => file.read(...how),
        sync: () => file.sync(),
        size: () => file.size(),
        truncate: (size) => file.truncate(size),
        close: () => file.close(),
      }
    },
  }
  return { sizes, files }
}

const putTopics = (count: number) =>
  bench.run<'admin'>({
    kind: 'admin',
    action: {
      do: 'putTopics',
      topics: Array.from({ length: count }, (_, at) => ({ topic: `t${at}`, queues: 1, type: 'mixed' })),
    },
  })

const fill = async (segments: number, topics: number): Promise<void> => {
  const { end } = bench.broker.stats()
  for (let at = 0; bench.broker.stats().end < end + segments * SEGMENT; at++) {
    await bench.publish(message(`t${at % topics}`, BODY))
    await turn(3)
  }
}

describe('snapshots', () => {
  it('take a share of the log that does not grow with what there is', async () => {
    const { sizes, files } = watched()
    bench = await Bench.start({ flush: 'async', segmentBytes: SEGMENT, files })
    await putTopics(300)
    await fill(60, 300)
    const size = sizes.at(-1)!
    expect(size).toBeGreaterThan(4 * 1024)
    expect(sizes.length).toBeGreaterThan(2)
    expect(sizes.length).toBeLessThanOrEqual((60 * SEGMENT) / (size * 64) + 2)
  })

  it('of little are taken at each segment', async () => {
    const { sizes, files } = watched()
    bench = await Bench.start({ flush: 'async', segmentBytes: SEGMENT, files })
    await fill(10, 1)
    await bench.broker.close()
    expect(sizes.length).toBeGreaterThanOrEqual(7)
  })

  it('that are old leave a start the log since to read, and nothing is missing after it', async () => {
    const { sizes, files } = watched()
    bench = await Bench.start({ flush: 'async', segmentBytes: SEGMENT, files })
    await putTopics(300)
    await fill(8, 300)
    const taken = sizes.length
    await fill(3, 300)
    await bench.publish(message('t7', 'last'))
    await bench.kill()
    expect(taken).toBe(1)
    expect(sizes.length).toBe(2) // the second at the close of the life before the copy
    const found = await bench.pop('t7', { max: 32 })
    expect(bodies(found).at(-1)).toBe('last')
    expect(bench.lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
