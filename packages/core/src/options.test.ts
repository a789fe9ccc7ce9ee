import { describe, expect, it } from 'vitest'
import { checkOptions, type OptionKinds } from './options.ts'

interface Options {
  readonly on?: boolean
  readonly name?: string
  readonly size?: number
  readonly ways?: readonly string[]
  readonly words?: readonly string[]
  readonly way?: 'in' | 'out'
}
const kinds: OptionKinds<Options> = {
  on: { kind: 'boolean' },
  name: { kind: 'text' },
  size: { kind: 'integer', min: 1, max: 9 },
  ways: { kind: 'texts', of: ['in', 'out'] },
  words: { kind: 'texts' },
  way: { kind: 'choice', of: ['in', 'out'] },
}

describe('options', () => {
  it('of their kinds are given back, absent ones too', () => {
    const given: Options = { on: false, name: '', size: 9, ways: ['out', 'in'], words: [], way: 'in' }
    expect(checkOptions<Options>(given, kinds)).toBe(given)
    expect(checkOptions<Options>({ size: 1 }, kinds)).toEqual({ size: 1 })
  })

  it.each([
    [{ on: 'yes' }, 'on', 'is not true or false'],
    [{ name: 1 }, 'name', 'is not a text'],
    [{ size: 0 }, 'size', 'is not an integer from 1 to 9'],
    [{ size: 10 }, 'size', 'is not an integer from 1 to 9'],
    [{ size: 1.5 }, 'size', 'is not an integer from 1 to 9'],
    [{ size: null }, 'size', 'is not an integer from 1 to 9'],
    [{ ways: ['up'] }, 'ways', 'is not a list of in, out'],
    [{ way: 'up' }, 'way', 'is not one of in, out'],
    [{ way: ['in'] }, 'way', 'is not one of in, out'],
    [{ words: 'one' }, 'words', 'is not a list of texts'],
    [{ words: [1] }, 'words', 'is not a list of texts'],
    [{ toString: 1 }, 'toString', 'no such option; there are on, name, size, ways, words, way'],
  ])('%j are refused by name', (given, about, message) => {
    expect(() => checkOptions(given as Options, kinds)).toThrow(
      expect.objectContaining({ code: 'invalid', about, message }),
    )
  })
})
