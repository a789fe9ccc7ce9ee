import { Fault } from '@sluice/core'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { languages } from './codes.ts'
import { encodeFrame, type Frame, FrameDecoder } from './frame.ts'

const LIMIT = 64 * 1024
const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)

const join = (encoded: Buffer | readonly Buffer[]): Buffer =>
  Buffer.isBuffer(encoded) ? encoded : Buffer.concat([...encoded])

const decodeAll = (chunks: readonly Buffer[], limit = LIMIT): Frame[] => {
  const frames: Frame[] = []
  const decoder = new FrameDecoder(limit)
  for (const chunk of chunks) decoder.decode(chunk, (frame) => frames.push(frame))
  expect(decoder.buffered).toBe(0)
  return frames
}

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}
const json = (header: string, body = Buffer.alloc(0)): Buffer =>
  Buffer.concat([
    word(4 + Buffer.byteLength(header) + body.length),
    word(Buffer.byteLength(header)),
    Buffer.from(header),
    body,
  ])

const faultOf = (bytes: Buffer, limit = LIMIT): string => {
  const decoder = new FrameDecoder(limit)
  try {
    decoder.decode(bytes, () => undefined)
  } catch (error) {
    expect(Fault.is(error)).toBe(true)
    return (error as Fault).code
  }
  throw new Error('no fault')
}

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const frame: fc.Arbitrary<Frame> = fc
  .record(
    {
      code: fc.integer({ min: -0x8000, max: 0x7fff }),
      language: fc.constantFrom(...languages),
      version: fc.integer({ min: 0, max: 0x7fff }),
      opaque: fc.integer(),
      flag: fc.integer({ min: 0, max: 3 }),
      remark: text,
      ext: fc.dictionary(fc.oneof(text, fc.constant('__proto__')), text, { maxKeys: 4, noNullPrototype: true }),
      body: fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      binary: fc.boolean(),
    },
    { noNullPrototype: true, requiredKeys: ['code', 'language', 'version', 'opaque', 'flag', 'ext', 'binary'] },
  )
  .map((made) => made as Frame)

it('gives back what was encoded', () => {
  fc.assert(
    fc.property(frame, (one) => {
      expect(decodeAll([join(encodeFrame(one))])).toStrictEqual([one])
    }),
    { numRuns },
  )
})

it('does not care where the bytes are split', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 6 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.map((one) => join(encodeFrame(one))))
        const places = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b)
        const chunks = [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length))
        expect(decodeAll(chunks)).toStrictEqual(frames)
      },
    ),
    { numRuns },
  )
})

it('takes frames byte by byte', () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 2 }), (frames) => {
      const bytes = Buffer.concat(frames.map((one) => join(encodeFrame(one))))
      expect(decodeAll([...bytes].map((byte) => Buffer.from([byte])))).toStrictEqual(frames)
    }),
    { numRuns: Math.ceil(numRuns / 4) },
  )
})

/** Bytes that pass the first checks more often than noise does. */
const garbage = fc.oneof(
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(0, 1, 2), fc.nat(70))
    .map(([rest, type, header]) =>
      Buffer.concat([word(4 + rest.length), word((type << 24) | header), Buffer.from(rest)]),
    ),
  fc.tuple(frame, fc.nat(), fc.nat(255)).map(([one, at, byte]) => {
    const bytes = join(encodeFrame(one))
    bytes[at % bytes.length] = byte
    return bytes
  }),
)

it('answers any garbage with frames or a fault, and holds no more than its limit', () => {
  fc.assert(
    fc.property(fc.array(garbage, { maxLength: 3 }), (chunks) => {
      const decoder = new FrameDecoder(256)
      try {
        for (const chunk of chunks) {
          decoder.decode(chunk, () => undefined)
          expect(decoder.buffered).toBeLessThanOrEqual(256)
        }
      } catch (error) {
        if (!Fault.is(error)) throw error
      }
    }),
    { numRuns },
  )
})

it('refuses an announced length at once and holds nothing', () => {
  const decoder = new FrameDecoder(LIMIT)
  expect(() => decoder.decode(word(0x7fff_ffff), () => undefined)).toThrow(/a frame of 2147483651 bytes/)
  expect(decoder.buffered).toBe(0)
  expect(faultOf(word(0xffff_ffff))).toBe('tooLarge')
  expect(faultOf(word(LIMIT - 3))).toBe('tooLarge')
  expect(faultOf(word(16 * 1024 * 1024 - 3), 2 ** 31)).toBe('tooLarge')
})

it('refuses an announced length that came in pieces', () => {
  const decoder = new FrameDecoder(LIMIT)
  decoder.decode(Buffer.from([0x7f]), () => undefined)
  expect(() => decoder.decode(Buffer.from([0xff, 0xff, 0xff]), () => undefined)).toThrow(Fault)
})

it('refuses what is no frame', () => {
  expect(faultOf(word(3))).toBe('malformed')
  expect(faultOf(Buffer.concat([word(8), word(0x0200_0002), Buffer.from('{}')]))).toBe('malformed')
  expect(faultOf(Buffer.concat([word(8), word(9)]))).toBe('malformed')
  expect(faultOf(json('{"code":1'))).toBe('malformed')
  expect(faultOf(json('[1]'))).toBe('malformed')
  expect(faultOf(json('{"opaque":1}'))).toBe('malformed')
  expect(faultOf(json('{"code":1.5,"opaque":1}'))).toBe('malformed')
  expect(faultOf(json('{"code":1,"opaque":1,"extFields":{"a":{}}}'))).toBe('malformed')
  expect(faultOf(Buffer.concat([word(7), word(3), Buffer.from([0x7b, 0xff, 0x7d])]))).toBe('malformed')
})

it('writes numbers and booleans of lax clients as text and forgets nulls', () => {
  const header =
    '{"code":310,"opaque":7,"language":"JAVA","extFields":{"e":3,"m":false,"g":1700000000000,"k":null,"b":"T"}}'
  expect(decodeAll([json(header)])).toStrictEqual([
    {
      code: 310,
      language: 'JAVA',
      version: 0,
      opaque: 7,
      flag: 0,
      ext: { e: '3', m: 'false', g: '1700000000000', b: 'T' },
      binary: false,
    },
  ])
})

it('reads a header without extFields and keys that it does not know', () => {
  const header =
    '{"code":34,"opaque":-5,"flag":2,"remark":null,"extFields":null,"serializeTypeCurrentRPC":"JSON","later":[1]}'
  const [frame] = decodeAll([json(header, Buffer.from('x'))])
  expect(frame).toStrictEqual({
    code: 34,
    language: 'OTHER',
    version: 0,
    opaque: -5,
    flag: 2,
    ext: {},
    body: Buffer.from('x'),
    binary: false,
  })
})

it('cannot carry a code above 16 bits in a binary header', () => {
  const frame: Frame = { code: 200_050, language: 'JAVA', version: 1, opaque: 1, flag: 0, ext: {}, binary: true }
  expect(decodeAll([join(encodeFrame(frame))])[0]?.code).toBe(3442)
})

it('leaves big bodies and stored records in their own buffers', () => {
  const body = Buffer.alloc(4000, 1)
  const parts = [Buffer.alloc(9000, 2), Buffer.alloc(10, 3)]
  const base = { code: 0, language: 'JAVA', version: 479, opaque: 1, flag: 1, ext: {}, binary: false }
  const encoded = encodeFrame({ ...base, body, parts }) as readonly Buffer[]
  expect(encoded.slice(1)).toEqual([body, ...parts])
  expect(encoded[1]).toBe(body)
  const [decoded] = decodeAll([join(encoded)])
  expect(decoded?.body).toEqual(Buffer.concat([body, ...parts]))
  expect(Buffer.isBuffer(encodeFrame({ ...base, parts: [Buffer.from('ab'), Buffer.from('cd')] }))).toBe(true)
  const many = Array.from({ length: 32 }, (_, index) => Buffer.alloc(1200, index))
  const joined = encodeFrame({ ...base, parts: many })
  expect(decodeAll([joined as Buffer])[0]?.body).toEqual(Buffer.concat(many))
})

it('writes headers of any length, whatever is in them', () => {
  const base = { code: 0, language: 'JAVA', version: 479, opaque: 1, flag: 1, binary: false }
  for (const length of [3_700, 3_840, 3_900, 4_096, 10_000]) {
    for (const end of ['', '"', '\u0001', '\u00e9', '\ud800', '\u007f']) {
      const frame = { ...base, remark: 'r'.repeat(length) + end, ext: { a: 'x'.repeat(300) } }
      for (let times = 0; times < 2; times++) {
        const [decoded] = decodeAll([join(encodeFrame(frame))])
        expect(decoded).toStrictEqual(frame)
      }
    }
  }
})

it('writes each header whole, however much it has of the one before', () => {
  const text = fc.constantFrom('', 'a', 'ab', 'x"y', 'ä', 'abc', 'true')
  const ext = fc.dictionary(fc.constantFrom('a', 'b', 'ab', 'true'), text, { maxKeys: 3, noNullPrototype: true })
  const small = fc.record({ code: fc.constantFrom(0, 10, 100), opaque: fc.constantFrom(1, 12), remark: text, ext })
  fc.assert(
    fc.property(fc.array(small, { minLength: 2, maxLength: 6 }), (many) => {
      for (const { remark, ...one } of many) {
        const frame = { ...one, ...(remark && { remark }), language: 'JAVA', version: 479, flag: 1, binary: false }
        expect(decodeAll([join(encodeFrame(frame))])).toStrictEqual([frame])
      }
    }),
    { numRuns },
  )
})

it('always says extFields', () => {
  const bytes = join(
    encodeFrame({ code: 0, language: 'JAVA', version: 479, opaque: 1, flag: 1, ext: {}, binary: false }),
  )
  expect(bytes.toString('latin1', 8)).toContain('"extFields":{}')
})
