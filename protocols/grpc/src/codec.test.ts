import { Fault } from '@sluice/core'
import { codecProperties } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frame } from '../test/raw.ts'
import { http2Codec } from './codec.ts'
import { type Frame, PREFACE } from './http2/frames.ts'

const codec = http2Codec()
const preamble = Buffer.concat([PREFACE, frame('SETTINGS', 0, 0)])
const stream = fc.integer({ min: 1, max: 2 ** 31 - 1 })
const word = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const text = (min: number) =>
  fc.string({ minLength: min, maxLength: 12 }).map((one) => one.replace(/[^\x20-\x7e]/g, '-'))
const name = text(1).map((one) => one.toLowerCase().replace(/[^a-z0-9]/g, '-'))
const fields = fc.array(fc.tuple(name, text(0)), { maxLength: 4 }).map((pairs) => pairs.flat())
const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc
    .record({ stream, bytes, last: fc.boolean() })
    .map((one): Frame => ({ kind: 'data', ...one, counted: one.bytes.length })),
  fc.record({ stream, fields, last: fc.boolean() }).map((one): Frame => ({ kind: 'headers', ...one })),
  fc.record({ stream, error: word }).map((one): Frame => ({ kind: 'reset', ...one })),
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: 65_535 }), word), { maxLength: 3 })
    .map((values): Frame => ({ kind: 'settings', values })),
  fc.constant<Frame>({ kind: 'settingsAck' }),
  fc
    .record({ ack: fc.boolean(), opaque: fc.uint8Array({ minLength: 8, maxLength: 8 }) })
    .map(({ ack, opaque }): Frame => ({ kind: 'ping', ack, opaque: Buffer.from(opaque) })),
  fc.record({ last: word, error: word }).map((one): Frame => ({ kind: 'goAway', ...one })),
  fc.record({ stream: word, bytes: word }).map((one): Frame => ({ kind: 'window', ...one })),
)

const decode = (...chunks: Buffer[]): Frame[] => {
  const seen: Frame[] = []
  const decoder = codec.decoder()
  for (const chunk of chunks) decoder.decode(chunk, (one) => seen.push(one))
  return seen
}
const refusal = (...chunks: Buffer[]): string | undefined => {
  try {
    decode(preamble, ...chunks)
    return undefined
  } catch (error) {
    return Fault.is(error) ? error.about : String(error)
  }
}

describe('frames of HTTP/2', () => {
  const announcements = ['ffffff000000000001', '004001000000000001', '7fffff040000000000'].map((hex) =>
    Buffer.from(hex, 'hex'),
  )
  for (const { name, run } of codecProperties(
    'frames',
    codec,
    frames,
    { frameBytes: 64 * 1024 },
    { preamble, announcements },
  ))
    it(name, run)

  it('begin with the preface and settings', () => {
    const single = [...preamble].map((byte) => Buffer.of(byte))
    expect(decode(...single)).toEqual([{ kind: 'settings', values: [] }])
    expect(decode(PREFACE, preamble.subarray(PREFACE.length))).toHaveLength(1)
    for (const other of [
      Buffer.from('PRI * HTTP/1.1\r\n'),
      Buffer.concat([PREFACE, frame('PING', 0, 0, Buffer.alloc(8))]),
    ]) {
      expect(() => decode(other)).toThrow(expect.objectContaining({ about: 'PROTOCOL_ERROR' }))
    }
  })

  it('lose their padding and their priority; what is not known is passed over', () => {
    const padded = frame('DATA', 8, 1, Buffer.from('\x02ab\0\0'))
    const first = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 9]), Buffer.from([0x83]), Buffer.from([0])])
    const unknown = Buffer.from('0000030c0000000001abcdef', 'hex')
    const seen = decode(
      preamble,
      frame('HEADERS', 4 | 8 | 32, 1, first),
      unknown,
      frame('PRIORITY', 0, 1, Buffer.alloc(5)),
      padded,
    )
    expect(seen.slice(1)).toEqual([
      { kind: 'headers', stream: 1, fields: [':method', 'POST'], last: false },
      { kind: 'data', stream: 1, bytes: Buffer.from('ab'), counted: 5, last: false },
    ])
  })

  it('carry header blocks in parts, of which no more is kept than may be', () => {
    const parts = [
      frame('HEADERS', 1, 1, Buffer.from([0x83])),
      frame('CONT', 0, 1),
      frame('CONT', 4, 1, Buffer.from([0x86])),
    ]
    const fields = [':method', 'POST', ':scheme', 'http']
    expect(decode(preamble, ...parts)[1]).toEqual({ kind: 'headers', stream: 1, fields, last: true })
    const decoder = codec.decoder()
    decoder.decode(Buffer.concat([preamble, parts[0]!]), () => undefined)
    expect(decoder.buffered).toBeGreaterThan(0)
    const large = frame('CONT', 0, 1, Buffer.alloc(16_384))
    expect(refusal(parts[0]!, large, large)).toBe('ENHANCE_YOUR_CALM')
    expect(refusal(parts[0]!, ...Array<Buffer>(20).fill(frame('CONT', 0, 1)))).toBe('ENHANCE_YOUR_CALM')
  })

  const own = Buffer.from([0, 0, 0, 1, 0])
  const broken: readonly (readonly [string, string, readonly Buffer[]])[] = [
    ['a frame that is too large', 'FRAME_SIZE_ERROR', [frame('DATA', 0, 1, Buffer.alloc(16_385))]],
    ['a PING of seven bytes', 'FRAME_SIZE_ERROR', [frame('PING', 0, 0, Buffer.alloc(7))]],
    ['a PING on a stream', 'PROTOCOL_ERROR', [frame('PING', 0, 1, Buffer.alloc(8))]],
    ['half a setting', 'FRAME_SIZE_ERROR', [frame('SETTINGS', 0, 0, Buffer.alloc(5))]],
    ['an acknowledgement that says something', 'FRAME_SIZE_ERROR', [frame('SETTINGS', 1, 0, Buffer.alloc(6))]],
    ['settings on a stream', 'PROTOCOL_ERROR', [frame('SETTINGS', 0, 1)]],
    ['data without a stream', 'PROTOCOL_ERROR', [frame('DATA', 0, 0)]],
    ['headers without a stream', 'PROTOCOL_ERROR', [frame('HEADERS', 4, 0)]],
    ['headers that end before their priority', 'FRAME_SIZE_ERROR', [frame('HEADERS', 36, 1, Buffer.alloc(3))]],
    ['more padding than payload', 'PROTOCOL_ERROR', [frame('DATA', 8, 1, Buffer.from([3, 0, 0]))]],
    ['padding without its length', 'PROTOCOL_ERROR', [frame('DATA', 8, 1)]],
    ['a continuation of nothing', 'PROTOCOL_ERROR', [frame('CONT', 4, 1)]],
    ['a continuation of another stream', 'PROTOCOL_ERROR', [frame('HEADERS', 0, 1), frame('CONT', 4, 3)]],
    ['a frame within a header block', 'PROTOCOL_ERROR', [frame('HEADERS', 0, 1), frame('PING', 0, 0, Buffer.alloc(8))]],
    ['a promise', 'PROTOCOL_ERROR', [frame('PUSH', 4, 1, Buffer.alloc(4))]],
    ['a short reset', 'FRAME_SIZE_ERROR', [frame('RST_STREAM', 0, 1, Buffer.alloc(3))]],
    ['a reset without a stream [§6.4]', 'PROTOCOL_ERROR', [frame('RST_STREAM', 0, 0, Buffer.alloc(4))]],
    ['a priority without a stream [§6.3]', 'PROTOCOL_ERROR', [frame('PRIORITY', 0, 0, Buffer.alloc(5, 1))]],
    ['a priority of four bytes [§6.3]', 'FRAME_SIZE_ERROR', [frame('PRIORITY', 0, 1, Buffer.alloc(4))]],
    ['a stream after itself [RFC 7540 §5.3.1]', 'PROTOCOL_ERROR', [frame('PRIORITY', 0, 1, own)]],
    ['headers of such a one', 'PROTOCOL_ERROR', [frame('HEADERS', 36, 1, Buffer.concat([own, Buffer.of(0x83)]))]],
    ['a short GOAWAY', 'FRAME_SIZE_ERROR', [frame('GOAWAY', 0, 0, Buffer.alloc(7))]],
    ['a long window', 'FRAME_SIZE_ERROR', [frame('WINDOW', 0, 0, Buffer.alloc(5))]],
    ['compression that is none', 'COMPRESSION_ERROR', [frame('HEADERS', 4, 1, Buffer.from([0xff]))]],
  ]
  it.each(broken)('are refused: %s', (_, error, chunks) => expect(refusal(...chunks)).toBe(error))
})
