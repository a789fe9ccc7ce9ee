import { createRequire } from 'node:module'
import { Fault } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { values } from '../../test/arbitrary.ts'
import { DEPTH_MAX, Reader, VALUES_MAX } from './reader.ts'
import { asJson, asText, type Value } from './values.ts'
import { Writer } from './writer.ts'

const rhea = createRequire(import.meta.url)('rhea')
const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)

const encode = (value: Value): Buffer => {
  const writer = new Writer(16)
  writer.value(value)
  return writer.copy()
}
const decode = (hex: string | Buffer): Value => {
  const reader = new Reader(typeof hex === 'string' ? Buffer.from(hex.replace(/\s/g, ''), 'hex') : hex)
  const value = reader.value()
  expect(reader.done).toBe(true)
  return value
}
const refusal = (hex: string | Buffer): string => {
  try {
    decode(hex)
  } catch (error) {
    if (Fault.is(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'none'
}

describe('AMQP values', () => {
  it('survive being written and read', () => {
    fc.assert(
      fc.property(values, (value) => void expect(decode(encode(value))).toEqual(value)),
      { numRuns },
    )
  })

  it('are written as another library reads them, in as many bytes', () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encode(value)
        const reader = new rhea.types.Reader(bytes)
        reader.read()
        expect(reader.remaining()).toBe(0)
      }),
      { numRuns },
    )
  })

  it('of any bytes are read or refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          new Reader(Buffer.from(bytes)).value()
        } catch (error) {
          if (!Fault.is(error)) throw error
        }
      }),
      { numRuns },
    )
  })

  it.each<[string, string, Value]>([
    ['null', '40', null],
    ['boolean of one byte', '5601', true],
    ['ulong of a number', '80 0000000000000100', { type: 'ulong', value: 256 }],
    ['ulong beyond 2^53', '80 ffffffffffffffff', { type: 'ulong', value: 2n ** 64n - 1n }],
    ['long -1', '55ff', { type: 'long', value: -1 }],
    ['long below -2^53', '81 8000000000000000', { type: 'long', value: -(2n ** 63n) }],
    ['int in one byte', '5480', { type: 'int', value: -128 }],
    ['char', '73 0001f600', { type: 'char', value: 0x1f600 }],
    ['float', '72 3f800000', { type: 'float', value: 1 }],
    ['uuid', `98${'ab'.repeat(16)}`, { type: 'uuid', value: Buffer.alloc(16, 0xab) }],
    [
      'symbol array',
      'e0 07 02 a3 01 61 02 62 63',
      {
        type: 'array',
        of: 'symbol',
        value: [
          { type: 'symbol', value: 'a' },
          { type: 'symbol', value: 'bc' },
        ],
      },
    ],
    ['array of nulls', 'e0 02 03 40', { type: 'array', of: 'null', value: [null, null, null] }],
    ['list of eight-bit sizes', 'c0 03 02 41 42', [true, false]],
    ['described', '00 53 24 45', { type: 'described', descriptor: { type: 'ulong', value: 0x24 }, value: [] }],
  ])('%s', (_, hex, value) => {
    expect(decode(hex)).toEqual(value)
  })

  it.each([
    ['no constructor', '00', 'malformed: a value runs past its end'],
    ['unknown constructor', '39', 'malformed: no type has code 0x39'],
    ['boolean that is none', '5602', 'malformed: 0x02 is no boolean'],
    ['string past its end', 'a1 05 61', 'malformed: a value runs past its end'],
    ['string of 2 GiB', 'b1 7fffffff 61', 'malformed: a value runs past its end'],
    ['binary of 4 GiB', 'b0 ffffffff', 'malformed: a value runs past its end'],
    ['string that is not UTF-8', 'a1 02 c3 28', 'malformed: a string is not UTF-8'],
    ['a surrogate in UTF-8', 'a1 03 eda080', 'malformed: a string is not UTF-8'],
    ['symbol that is not ASCII', 'a3 01 e9', 'malformed: a symbol is not ASCII'],
    ['char beyond Unicode', '73 00110000', 'malformed: a char is no Unicode scalar value'],
    ['list of 2 GiB', 'd0 7fffffff 00000001', 'malformed: a compound value runs past its end'],
    [
      'list of 4 Gi elements in 5 bytes',
      'd0 00000005 ffffffff 40',
      'malformed: a list announces more elements than it has bytes',
    ],
    ['list shorter than its size', 'c0 03 01 40 40', 'malformed: a compound value is longer than its elements'],
    ['map of an odd count', 'c1 02 01 40', 'malformed: a map announces entries that it has not'],
    ['array of 4 Gi bytes each', 'f0 00000005 00000002 72', 'malformed: a value runs past its end'],
  ])('refuses %s', (_, hex, why) => {
    expect(refusal(hex)).toBe(why)
  })

  it.each([
    ['null', '40'],
    ['true', '41'],
    ['uint 0', '43'],
    ['empty list', '45'],
  ])('refuses an array of ten million elements without width (%s) before it makes one', (_, element) => {
    const before = process.memoryUsage().heapUsed
    expect(refusal(`f0 00000005 00989680 ${element}`)).toBe(`tooLarge: more than ${VALUES_MAX} values`)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(1024 * 1024)
  })

  it('counts elements over all arrays of a value', () => {
    const array = 'f0 00000005 00008000 40' // 32,768 nulls
    const three = `d0 ${(4 + 30).toString(16).padStart(8, '0')} 00000003 ${array.repeat(3)}`
    expect(refusal(three)).toBe(`tooLarge: more than ${VALUES_MAX} values`)
  })

  it('refuses types nested deeper than the limit, however many', () => {
    expect(refusal(`${'0043'.repeat(DEPTH_MAX)}40`)).toBe('none')
    expect(refusal(`${'0043'.repeat(DEPTH_MAX + 1)}40`)).toBe(`malformed: nested deeper than ${DEPTH_MAX}`)
    expect(refusal(Buffer.alloc(400_000, 0))).toBe(`malformed: nested deeper than ${DEPTH_MAX}`)
    let list = Buffer.from('45', 'hex')
    for (let depth = 0; depth <= DEPTH_MAX; depth++) {
      const head = Buffer.from('d0000000000000000001'.slice(0, 2), 'hex')
      const lengths = Buffer.alloc(8)
      lengths.writeUInt32BE(list.length + 4, 0)
      lengths.writeUInt32BE(1, 4)
      list = Buffer.concat([head, lengths, list])
    }
    expect(refusal(list)).toBe(`malformed: nested deeper than ${DEPTH_MAX}`)
  })

  it('have a text for models that know only text', () => {
    expect(asText({ type: 'ulong', value: 2n ** 64n - 1n })).toBe('18446744073709551615')
    expect(asText({ type: 'uuid', value: Buffer.from('00112233445566778899aabbccddeeff', 'hex') })).toBe(
      '00112233-4455-6677-8899-aabbccddeeff',
    )
    expect(asText({ type: 'char', value: 0x41 })).toBe('A')
    expect(asText(Buffer.from([1, 255]))).toBe('01ff')
    expect(asText(['a', { type: 'int', value: 1 }])).toBe('["a",1]')
  })

  it('have a form as JSON', () => {
    const map: Value = {
      type: 'map',
      value: [
        ['a', { type: 'int', value: 1 }],
        [{ type: 'ulong', value: 2 }, [null, true, { type: 'double', value: Number.NaN }]],
      ],
    }
    expect(JSON.stringify(asJson(map))).toBe('{"2":[null,true,"NaN"],"a":1}')
  })
})
