import { encodeFrame, type Frame, languages } from '@sluice/remoting'
import { codecProperties, goldenFrames } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { detect, remotingCodec } from './codec.ts'

const limits = { frameBytes: 64 * 1024 }

describe('golden frames', () => {
  const checks = goldenFrames(new URL('../fixtures', import.meta.url).pathname, remotingCodec(limits))
  for (const { name, run } of checks) it(name, run)
})

const text = fc.string({ minLength: 1, maxLength: 8 })
const frames = fc
  .record(
    {
      code: fc.integer({ min: -0x8000, max: 0x7fff }),
      language: fc.constantFrom(...languages),
      version: fc.integer({ min: 0, max: 0x7fff }),
      opaque: fc.integer(),
      flag: fc.integer({ min: 0, max: 3 }),
      remark: text,
      ext: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
      body: fc.uint8Array({ minLength: 1, maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
      binary: fc.boolean(),
    },
    { noNullPrototype: true, requiredKeys: ['code', 'language', 'version', 'opaque', 'flag', 'ext', 'binary'] },
  )
  .map((made) => made as Frame)

describe('properties', () => {
  const announcements = [Buffer.from('7fffffff', 'hex'), Buffer.from('ffffffff00000002', 'hex')]
  for (const { name, run } of codecProperties('remoting', remotingCodec(limits), frames, limits, { announcements }))
    it(name, run)
})

describe('detect', () => {
  const headOf = (frame: Partial<Frame>) => {
    const bytes = encodeFrame({
      code: 105,
      language: 'JAVA',
      version: 479,
      opaque: 1,
      flag: 0,
      ext: { topic: 'T' },
      binary: false,
      ...frame,
    })
    return (bytes as Buffer).subarray(0, 9)
  }

  it('knows both serialisations from nine bytes, and says when it has seen too few', () => {
    for (const binary of [false, true]) {
      const head = headOf({ binary })
      expect(detect(head)).toBe(true)
      for (let length = 0; length < (binary ? 5 : 9); length++) expect(detect(head.subarray(0, length))).toBe(undefined)
    }
  })

  it('leaves what begins otherwise to others', () => {
    const heads = [
      Buffer.from('PRI * HTTP/2.0'),
      Buffer.from('GET / HTTP/1.1'),
      Buffer.from('AMQP\0\x01\0\0'),
      Buffer.from('100c00044d5154540502003c', 'hex'),
      Buffer.from('16030100', 'hex'),
      Buffer.from('000000180012000000000001', 'hex'),
      Buffer.from('7fffffff', 'hex'),
    ]
    for (const head of heads) expect(detect(head)).toBe(false)
  })
})
