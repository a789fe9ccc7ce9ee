import v8 from 'node:v8'
import vm from 'node:vm'
import { deflateSync, gzipSync } from 'node:zlib'
import { Fault } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Messages, type Packed, unpack } from './messages.ts'

const runs = { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) }
const prefixed = ({ compressed, bytes }: Packed): Buffer => {
  const head = Buffer.alloc(5)
  head[0] = compressed ? 1 : 0
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}
const some = fc.array(
  fc.record({
    compressed: fc.boolean(),
    bytes: fc
      .oneof(
        fc.uint8Array({ maxLength: 30 }),
        fc.constantFrom(0, 1_023, 1_024, 2_500).map((size) => Buffer.alloc(size, 7)),
      )
      .map((array) => Buffer.from(array)),
  }),
  { maxLength: 4 },
)

describe('messages', () => {
  it('come out however their bytes are cut', () => {
    fc.assert(
      fc.property(some, fc.array(fc.nat(10_000), { maxLength: 12 }), (packed, cuts) => {
        const whole = Buffer.concat(packed.map(prefixed))
        const places = [0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b)
        const seen: Packed[] = []
        const messages = new Messages(2_500)
        for (let at = 1; at < places.length; at++)
          messages.add(whole.subarray(places[at - 1], places[at]), (one) => seen.push(one))
        expect(seen).toEqual(packed)
        expect(messages.held).toBe(0)
      }),
      runs,
    )
  })

  it('keep their own bytes of what they came with, however little that is', () => {
    v8.setFlagsFromString('--expose-gc')
    const collect = vm.runInNewContext('gc') as () => void
    const messages = new Messages(2 ** 20)
    const seen: Packed[] = []
    const body = Buffer.alloc(2 ** 18, 7)
    const head = prefixed({ compressed: false, bytes: body }).subarray(0, 5)
    collect()
    const before = process.memoryUsage()
    // A byte of each of them is meant, as in a DATA frame that is all padding.
    for (const byte of [...head, ...body.subarray(1)])
      messages.add(Buffer.alloc(265, byte).subarray(9, 10), () => undefined)
    collect()
    const after = process.memoryUsage()
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2 ** 21)
    expect(after.heapUsed - before.heapUsed).toBeLessThan(2 ** 23)
    messages.add(body.subarray(0, 1), (one) => seen.push(one))
    expect(seen[0]?.bytes.equals(body)).toBe(true)
  })

  it('are refused as soon as they announce too much, or begin with what is no flag', () => {
    const refused = (hex: string) => {
      try {
        new Messages(100).add(Buffer.from(hex, 'hex'), () => undefined)
        return undefined
      } catch (error) {
        return Fault.from(error).code
      }
    }
    expect(['0000000064', '0000000065', '007fffffff', '0200000001', '02'].map(refused)).toEqual([
      undefined,
      'tooLarge',
      'tooLarge',
      'malformed',
      undefined,
    ])
  })

  it('are unpacked, but not beyond what is taken', async () => {
    const body = Buffer.alloc(5_000, 'a')
    const as = (bytes: Buffer, encoding?: string, max = 10_000) => unpack({ compressed: true, bytes }, encoding, max)
    expect(await as(gzipSync(body), 'gzip')).toEqual(body)
    expect(await as(deflateSync(body), 'deflate')).toEqual(body)
    expect(await unpack({ compressed: false, bytes: body }, 'snappy', 1)).toBe(body)
    await expect(as(gzipSync(body), 'gzip', 4_000)).rejects.toMatchObject({ code: 'tooLarge' })
    await expect(as(body, 'gzip')).rejects.toMatchObject({ code: 'malformed' })
    for (const other of ['snappy', 'identity', undefined])
      await expect(as(body, other)).rejects.toMatchObject({ code: 'unsupported' })
  })
})
