import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Frame } from './frame.ts'
import { decodeJson } from './header.ts'
import { Pattern, Patterns } from './pattern.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)

const frameOf = (header: Buffer): Frame => decodeJson(header, 0, header.length, undefined)
const patternOf = (header: string): Pattern | undefined => {
  const bytes = Buffer.from(header)
  return Pattern.of(bytes, 0, bytes.length, frameOf(bytes))
}
const send = (ext: object, opaque: number | string = 7, more = '') =>
  `{"code":310,"extFields":${JSON.stringify(ext)},"flag":0,"language":"JAVA","opaque":${opaque}${more},"serializeTypeCurrentRPC":"JSON","version":497}`

const usual = { a: 'group', b: 'topic', e: '3', i: 'UNIQ_KEY\u00017F00\u0002WAIT\u0001true\u0002', k: 'false', n: '' }

it('reads what JSON.parse reads, or says that it cannot', () => {
  const pattern = patternOf(send(usual)) as Pattern
  const values = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.constantFrom('', '0', 'true', '\u0001\u0002', '"\\/', '\u007f\u0080', '\n\t', 'a\u00e9'),
  )
  const opaque = fc.oneof(fc.integer(), fc.constantFrom('0', '-1', '00', '01', '1.5', '1e3', '-', '', '-0', 'null'))
  fc.assert(
    fc.property(fc.record({ b: values, e: values, i: values, n: values }), opaque, (ext, number) => {
      const bytes = Buffer.from(send({ ...usual, ...ext }, number))
      const read = pattern.read(bytes, 0, bytes.length, undefined)
      if (read) expect(read).toStrictEqual(frameOf(bytes))
      // What clients send is read: ASCII with any of the escapes that JSON has for it.
      const isPlain = Object.values(ext).every((text) =>
        /^[ -~]*$/.test(text.replaceAll('\u0001', '').replaceAll('\u0002', '')),
      )
      if (isPlain && /^(0|-?[1-9]\d{0,8})$/.test(String(number))) expect(read).toBeDefined()
    }),
    { numRuns },
  )
})

it('reads no bytes otherwise than JSON.parse would, whatever is wrong with them', () => {
  const good = Buffer.from(send(usual))
  const pattern = patternOf(good.toString()) as Pattern
  fc.assert(
    fc.property(fc.nat(), fc.nat(255), fc.integer({ min: -3, max: 3 }), fc.boolean(), (place, byte, cut, insert) => {
      const at = place % good.length
      const bytes = Buffer.concat([
        good.subarray(0, at),
        Buffer.from([byte]),
        good.subarray(insert ? at : at + 1),
        Buffer.from('"}},'),
      ])
      const to = Math.max(0, bytes.length - 4 + cut)
      const read = pattern.read(bytes, 0, to, undefined)
      if (read) expect(read).toStrictEqual(frameOf(bytes.subarray(0, to)))
    }),
    { numRuns },
  )
})

it.each([
  ['an escape that stands for more than ASCII', send(usual).replace('true', '\\u20ac')],
  ['a control character as it is', send(usual).replace('topic', 'to\u0001ic')],
  ['another field', send({ ...usual, z: '1' })],
  ['a field less', send({ a: 'group' })],
  ['another code', send(usual).replace('310', '320')],
  ['another version', send(usual).replace('497', '453')],
  ['bytes behind its end', `${send(usual)} `],
])('leaves %s to JSON.parse', (_, header) => {
  const bytes = Buffer.from(header)
  expect((patternOf(send(usual)) as Pattern).read(bytes, 0, bytes.length, undefined)).toBeUndefined()
})

it.each([
  ['blanks', send(usual).replace(',"flag"', ', "flag"')],
  ['a number among the fields', send({ ...usual, e: 3 })],
  ['a field that is there twice', send(usual).replace('"a":', '"b":"x","a":')],
  ['a key that is there twice', send(usual, 7, ',"opaque":8')],
  ['a field called __proto__', send(usual).replace('"a":', '"__proto__":')],
  ['a remark', send(usual, 7, ',"remark":"no"')],
  ['an object that it does not know', send(usual, 7, ',"later":{"opaque":1}')],
  ['a field whose name is escaped', send(usual).replace('"a":', '"\\u0061":')],
  ['more bytes than are kept', send({ ...usual, i: 'x'.repeat(1_024) })],
])('is not made of %s', (_, header) => {
  expect(patternOf(header)).toBeUndefined()
})

it('keeps a kind that came twice, at most four, and gives up where none comes again', () => {
  const patterns = new Patterns()
  const read = (header: string): boolean => {
    const bytes = Buffer.from(header)
    if (patterns.read(bytes, 0, bytes.length, undefined)) return true
    patterns.learn(bytes, 0, bytes.length, frameOf(bytes))
    return false
  }
  const kind = (name: string) => send({ [name]: 'x' })
  expect([1, 2, 3].map(() => read(kind('a')))).toEqual([false, false, true])
  for (const name of ['b', 'c', 'd', 'e']) for (let times = 0; times < 2; times++) read(kind(name))
  expect(read(kind('e'))).toBe(true)
  expect(read(kind('a'))).toBe(false)
  for (let at = 0; at < 40; at++) expect(read(kind(`f${at}`))).toBe(false)
  for (let times = 0; times < 3; times++) expect(read(kind('z'))).toBe(false)
})
