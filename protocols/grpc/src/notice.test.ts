import { duplexPair } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frame } from '../test/raw.ts'
import { FrameEdges, NoticeDuplex } from './notice.ts'

const runs = { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) }
const NOTICE = '0000080700000000007fffffff00000000'
const frames = fc.array(
  fc.record({
    type: fc.constantFrom('DATA', 'SETTINGS', 'HEADERS', 'PING'),
    bytes: fc.nat(40),
    parts: fc.nat(2),
  }),
  { minLength: 1, maxLength: 6 },
)

/** HEADERS with so many CONTINUATIONs; everything else in one frame. */
const bytesOf = (one: { type: string; bytes: number; parts: number }): Buffer[] =>
  one.type !== 'HEADERS'
    ? [frame(one.type, 0, 1, Buffer.alloc(one.bytes, 0xff))]
    : Array.from({ length: one.parts + 1 }, (_, at) =>
        frame(at === 0 ? 'HEADERS' : 'CONT', at === one.parts ? 4 : 0, 1, Buffer.alloc(one.bytes, 0xff)),
      )

const cut = (whole: Buffer, at: readonly number[]): Buffer[] => {
  const places = [0, ...at.map((n) => n % (whole.length + 1)), whole.length].sort((a, b) => a - b)
  return places.slice(1).map((end, index) => whole.subarray(places[index], end))
}

const collect = (stream: NodeJS.ReadableStream): { bytes: Buffer } => {
  const seen = { bytes: Buffer.alloc(0) }
  stream.on('data', (chunk: Buffer) => {
    seen.bytes = Buffer.concat([seen.bytes, chunk])
  })
  return seen
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('edges between frames', () => {
  it('are found however the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 6 }), (list, places) => {
        const groups = list.map(bytesOf)
        const ends = new Set<number>()
        let end = 0
        for (const group of groups) ends.add((end += Buffer.concat(group).length))
        const edges = new FrameEdges()
        let passed = 0
        for (const chunk of cut(Buffer.concat(groups.flat()), places)) {
          edges.pass(chunk)
          passed += chunk.length
          expect(edges.atEdge).toBe(passed === 0 || ends.has(passed))
        }
        expect(edges.count).toBe(groups.flat().length)
      }),
      runs,
    )
  })
})

describe('the notice', () => {
  const pair = () => {
    const [near, far] = duplexPair()
    return { duplex: new NoticeDuplex(near), seen: collect(far), far }
  }

  it('leaves at once between two frames', async () => {
    const { duplex, seen } = pair()
    duplex.write(frame('SETTINGS', 0, 0))
    duplex.notice()
    await turn()
    expect(seen.bytes.toString('hex')).toBe(`${frame('SETTINGS', 0, 0).toString('hex')}${NOTICE}`)
  })

  it('waits for the first frame, and for the end of one that is on its way', async () => {
    const { duplex, seen } = pair()
    duplex.notice()
    const data = frame('DATA', 0, 1, Buffer.from('abc'))
    duplex.write(data.subarray(0, 4))
    await turn()
    expect(seen.bytes.length).toBe(4)
    duplex.write(data.subarray(4))
    await turn()
    expect(seen.bytes.toString('hex')).toBe(`${data.toString('hex')}${NOTICE}`)
  })

  it('does not part a header block', async () => {
    const { duplex, seen } = pair()
    const [headers, more] = bytesOf({ type: 'HEADERS', bytes: 3, parts: 1 }) as [Buffer, Buffer]
    duplex.write(headers)
    duplex.notice()
    await turn()
    expect(seen.bytes.length).toBe(headers.length)
    duplex.write(more)
    await turn()
    expect(seen.bytes.toString('hex').endsWith(`${more.toString('hex')}${NOTICE}`)).toBe(true)
  })

  it('passes bytes, ends and backpressure on', async () => {
    const { duplex, far, seen } = pair()
    const got = collect(duplex)
    far.write('to the session')
    duplex.cork()
    for (const part of ['a', 'b', 'c']) duplex.write(part)
    duplex.uncork()
    await turn()
    await turn()
    expect(got.bytes.toString()).toBe('to the session')
    expect(seen.bytes.toString()).toBe('abc')
    expect(duplex.taken).toBeGreaterThan(0)
    far.end()
    await new Promise((resolve) => duplex.once('close', resolve))
  })
})
