import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Fault } from '../../model.ts'
import { compileSql, type Fields } from './compile.ts'

const runs = { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) }

/** An expression: how it may be written, and what it means to somebody who knows neither tokens nor trees. */
interface Said<T> {
  readonly text: string
  readonly means: (properties: Fields['properties']) => T
}
type Truth = boolean | undefined
type Properties = Fields['properties']

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`
const nameOf = fc.constantFrom('a', 'b', 'c', '_x')
const word = fc.constantFrom('', 'x', 'xy', "it's", '1', '2.0', '-3', 'true', 'FALSE', '50%', 'é😀')
const properties = fc.dictionary(nameOf, word, { noNullPrototype: true }) as fc.Arbitrary<Properties>
const keyword = (text: string) => fc.constantFrom(text, text.toLowerCase())
const blank = fc.constantFrom(' ', '\n', ' /* ( */ ')

const name: fc.Arbitrary<Said<string | undefined>> = nameOf.map((text) => ({
  text,
  means: (of: Properties) => of[text],
}))
const number: fc.Arbitrary<Said<number | undefined>> = fc
  .constantFrom('1', '2', '2.0', '.5', '1e1', '3')
  .map((text) => ({ text, means: () => Number(text) }))
const numeric = (text: string | undefined): number | undefined =>
  text !== undefined && /^-?[0-9.]+$/.test(text) ? Number(text) : undefined
const counted: fc.Arbitrary<Said<number | undefined>> = fc.oneof(
  number,
  name.map(({ text, means }) => ({ text, means: (of: Properties) => numeric(means(of)) })),
)
const sum: fc.Arbitrary<Said<number | undefined>> = fc.oneof(
  counted,
  fc.tuple(counted, fc.constantFrom('+', '-', '*', '/'), counted).map(([left, sign, right]) => ({
    text: `${left.text} ${sign} ${right.text}`,
    means: (of: Properties) => {
      const [a, b] = [left.means(of), right.means(of)]
      if (a === undefined || b === undefined) return undefined
      const made = sign === '+' ? a + b : sign === '-' ? a - b : sign === '*' ? a * b : a / b
      return Number.isFinite(made) ? made : undefined
    },
  })),
)

const both = <A, B>(a: A | undefined, b: B | undefined, holds: (a: A, b: B) => boolean): Truth =>
  a === undefined || b === undefined ? undefined : holds(a, b)
const signs: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '=': (a, b) => a === b,
  '<>': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
}
const contrary = (truth: Truth): Truth => (truth === undefined ? undefined : !truth)
const negatable = (test: fc.Arbitrary<(not: string) => Said<Truth>>): fc.Arbitrary<Said<Truth>> =>
  fc.tuple(test, fc.boolean(), keyword('NOT')).map(([make, not, spelled]) => {
    const { text, means } = make(not ? `${spelled} ` : '')
    return { text, means: not ? (of) => contrary(means(of)) : means }
  })

/** As a regular expression, which the one under test is not. */
const likeRegExp = (pattern: string) =>
  new RegExp(
    `^${[...pattern]
      .map((one) => (one === '%' ? '.*' : one === '_' ? '.' : one.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
      .join('')}$`,
    'su',
  )

const tests: readonly fc.Arbitrary<Said<Truth>>[] = [
  fc.tuple(number, fc.constantFrom(...Object.keys(signs)), sum).map(([left, sign, right]) => ({
    text: `${left.text}${sign}${right.text}`,
    means: (of) => both(left.means(of), right.means(of), signs[sign]!),
  })),
  fc.tuple(name, fc.constantFrom('=', '<>'), word).map(([left, sign, right]) => ({
    text: `${left.text} ${sign} ${quote(right)}`,
    means: (of) => both(left.means(of), right, (a, b) => (a === b) === (sign === '=')),
  })),
  negatable(
    fc.tuple(counted, sum, sum, keyword('BETWEEN')).map(([one, low, high, spelled]) => (not) => ({
      text: `${one.text} ${not}${spelled} ${low.text} AND ${high.text}`,
      means: (of) => {
        const [at, from, to] = [one.means(of), low.means(of), high.means(of)]
        const [above, below] = [both(at, from, (a, b) => a >= b), both(at, to, (a, b) => a <= b)]
        if (above === false || below === false) return false
        return above === undefined || below === undefined ? undefined : true
      },
    })),
  ),
  negatable(
    fc.tuple(name, fc.array(word, { minLength: 1, maxLength: 4 })).map(([one, list]) => (not) => ({
      text: `${one.text} ${not}IN (${list.map(quote).join(', ')})`,
      means: (of) => both(one.means(of), list, (text, members) => (members as readonly string[]).includes(text)),
    })),
  ),
  fc.tuple(name, fc.boolean()).map(([one, not]) => ({
    text: `${one.text} IS ${not ? 'NOT ' : ''}NULL`,
    means: (of) => (one.means(of) === undefined) !== not,
  })),
  negatable(
    fc
      .tuple(name, fc.string({ unit: fc.constantFrom('x', 'y', '%', '_', 'é', '😀', "'"), maxLength: 5 }))
      .map(([one, pattern]) => (not) => ({
        text: `${one.text} ${not}LIKE ${quote(pattern)}`,
        means: (of) => both(one.means(of), likeRegExp(pattern), (text, matcher) => matcher.test(text)),
      })),
  ),
  negatable(
    fc.tuple(name, fc.constantFrom('CONTAINS', 'STARTSWITH', 'ENDSWITH'), word).map(([one, by, part]) => (not) => ({
      text: `${one.text} ${not}${by} ${quote(part)}`,
      means: (of) =>
        both(one.means(of), part, (text, wanted) => {
          const at = by === 'ENDSWITH' ? text.length - wanted.length : 0
          if (by !== 'CONTAINS') return at >= 0 && text.slice(at, at + wanted.length) === wanted
          return text.split(wanted).length > 1 || text === wanted || wanted === ''
        }),
    })),
  ),
  name.map((one) => ({
    text: one.text,
    means: (of) => {
      const said = one.means(of)?.toLowerCase()
      return said === 'true' ? true : said === 'false' ? false : undefined
    },
  })),
  fc.boolean().map((truth) => ({ text: truth ? 'TRUE' : 'false', means: () => truth })),
]

/** Kleene: false is 0, unknown 1/2, true 1; AND is the smaller, OR the larger. */
const rank = (truth: Truth): number => (truth === undefined ? 0.5 : Number(truth))
const truthOf = (of: number): Truth => (of === 0.5 ? undefined : of === 1)

const { condition } = fc.letrec<{ condition: Said<Truth> }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    ...tests,
    fc.tuple(tie('condition'), keyword('NOT')).map(([one, spelled]) => ({
      text: `${spelled} (${one.text})`,
      means: (of: Properties) => contrary(one.means(of)),
    })),
    fc.tuple(tie('condition'), blank, keyword('AND'), tie('condition')).map(([a, space, spelled, b]) => ({
      text: `(${a.text})${space}${spelled}${space}(${b.text})`,
      means: (of: Properties) => truthOf(Math.min(rank(a.means(of)), rank(b.means(of)))),
    })),
    fc.tuple(tie('condition'), blank, keyword('OR'), tie('condition')).map(([a, space, spelled, b]) => ({
      text: `(${a.text})${space}${spelled}${space}(${b.text})`,
      means: (of: Properties) => truthOf(Math.max(rank(a.means(of)), rank(b.means(of)))),
    })),
  ),
}))

const scrap = fc.constantFrom(
  ...'a b 1 2.5 = <> < > ( ) , + - * / \' " % NOT AND OR IN BETWEEN IS NULL LIKE ESCAPE CONTAINS TRUE -- /* ; \u0000 😀'.split(
    ' ',
  ),
)

describe('SQL92', () => {
  it('means what a naive reading of it means, negated too', () => {
    fc.assert(
      fc.property(condition, properties, ({ text, means }, of) => {
        const wanted = means(of)
        expect([compileSql(text)({ properties: of }), compileSql(`NOT (${text})`)({ properties: of })]).toEqual([
          wanted === true,
          wanted === false,
        ])
      }),
      runs,
    )
  })

  it('whatever is written compiles or is a fault about the filter, never another throw', () => {
    const written = fc.oneof(
      fc.array(scrap, { maxLength: 12 }).map((all) => all.join(' ')),
      fc.string({ maxLength: 20 }),
    )
    fc.assert(
      fc.property(written, properties, (text, of) => {
        try {
          expect(typeof compileSql(text)({ properties: of })).toBe('boolean')
        } catch (error) {
          if (!Fault.is(error)) throw error
          expect([error.code, error.about]).toEqual(['invalid', 'filter'])
        }
      }),
      runs,
    )
  })
})
