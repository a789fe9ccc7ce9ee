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
  fc.record({ compressed: fc.boolean(), bytes: fc.uint8Array({ maxLength: 30 }).map((array) => Buffer.from(array)) }),
  { maxLength: 4 },
)

describe('messages', () => {
  it('come out however their bytes are cut', () => {
    fc.assert(
      fc.property(some, fc.array(fc.nat(200), { maxLength: 8 }), (packed, cuts) => {
        const whole = Buffer.concat(packed.map(prefixed))
        const places = [0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b)
        const seen: Packed[] = []
        const messages = new Messages(100)
        for (let at = 1; at < places.length; at++)
          messages.add(whole.subarray(places[at - 1], places[at]), (one) => seen.push(one))
        expect(seen).toEqual(packed)
        expect(messages.held).toBe(0)
      }),
      runs,
    )
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
