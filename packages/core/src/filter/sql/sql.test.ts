import { describe, expect, it } from 'vitest'
import { Fault } from '../../model.ts'
import { compileSql, type Fields } from './compile.ts'
import { DEPTH_MAX, LIST_MAX } from './parse.ts'
import { EXPRESSION_MAX } from './tokens.ts'

const message: Fields = {
  tag: 'blue',
  keys: ['k1', 'k2'],
  properties: {
    a: '5',
    b: '5.0',
    big: '9007199254740993',
    neg: '-2',
    word: 'apple',
    odd: "it's 100%_fine",
    yes: 'TRUE',
    no: 'false',
    empty: '',
    face: 'a😀b',
    'x-mq-a b"c': 'quoted',
    'mqtt.topic': 'plant/1',
    like: 'l',
    größe: '3',
  },
}
/** What one message is: taken, left out, or neither it nor its contrary. */
const truth = (expression: string): boolean | undefined => {
  const holds = compileSql(expression)(message)
  return holds ? true : compileSql(`NOT (${expression})`)(message) ? false : undefined
}
const refusal = (expression: string): string => {
  try {
    compileSql(expression)
  } catch (error) {
    if (Fault.is(error) && error.code === 'invalid' && error.about === 'filter') return error.message
    throw error
  }
  return ''
}

const table: Readonly<Record<string, readonly string[]>> = {
  true: [
    'a = 5',
    'a = 5.0',
    'b = 5',
    'a = 5L',
    "a = '5'",
    'a <> 6',
    'a != 6',
    'a > 4.9',
    'a >= 5',
    '4 < a',
    'a <= .5e1',
    "a > '4'",
    'neg < -1',
    'neg = -2',
    '-neg = +2',
    'a + 1 = 6',
    'a - 1 - 1 = 3',
    'a * 2 + 1 = 11',
    'a + 2 * 3 = 11',
    '(a + 2) * 3 = 21',
    'a / 2 = 2.5',
    'big = 9007199254740993',
    'big > 9007199254740992',
    'big <> 9007199254740992',
    'a BETWEEN 1 AND 5',
    'a not between 6 and 7',
    "a BETWEEN 1 AND 5 AND word = 'apple'",
    "word IN ('apple', 'pear')",
    "word NOT IN ('pear')",
    "a IN (4, 5, 'x')",
    'neg IN (-2)',
    'yes IN (TRUE)',
    'nothing IS NULL',
    'a IS NOT NULL',
    'empty IS NOT NULL',
    "empty = ''",
    "word LIKE 'a%'",
    "word LIKE '_pple'",
    "word LIKE '%'",
    "word LIKE 'a%p%e'",
    "word NOT LIKE 'a%p'",
    "empty LIKE '%'",
    "odd LIKE '%100\\%\\_f%' ESCAPE '\\'",
    "odd LIKE 'it''s%'",
    "word LIKE 'a!!!%' ESCAPE '!' OR '!%' LIKE '!!!%' ESCAPE '!'",
    "face LIKE 'a_b'",
    "face LIKE 'a😀%'",
    "word CONTAINS 'ppl'",
    "word NOT CONTAINS 'x'",
    "word STARTSWITH 'app'",
    "word ENDSWITH 'le'",
    "word NOT ENDSWITH 'x'",
    'yes = TRUE',
    'no = false',
    'no <> TRUE',
    'yes',
    'NOT no',
    'NOT NOT yes',
    'TRUE',
    'NOT a = 6',
    'NOT a = 6 AND yes',
    'no OR yes AND yes',
    '(no OR yes) AND yes',
    '(a = 5) = TRUE',
    'nothing = 1 OR yes',
    "TAGS = 'blue'",
    "KEYS CONTAINS 'k2'",
    "KEYS = 'k1 k2'",
    '"x-mq-a b""c" = \'quoted\'',
    "mqtt.topic = 'plant/1'",
    '"like" = \'l\'',
    'größe = 3',
    'a=5 -- and so on\n AND/* this\n* too */yes',
  ],
  false: [
    'a = 6',
    'a > 5',
    "a = '5.0'",
    'a = b',
    'A = 5 AND 1 = 2',
    'a NOT BETWEEN 1 AND 5',
    'a BETWEEN 5 AND 1',
    "word IN ('Apple')",
    "word LIKE 'A%'",
    "word LIKE 'pple'",
    "word LIKE ''",
    "face LIKE 'a__b'",
    "odd LIKE '%100\\%x%' ESCAPE '\\'",
    "word STARTSWITH 'pp'",
    'a IS NULL',
    'nothing IS NOT NULL',
    'no',
    'yes = FALSE',
    'FALSE',
    'nothing = 1 AND no',
  ],
  unknown: [
    'nothing = 1',
    'nothing <> 1',
    'nothing = nothing',
    'nothing > 1',
    'nothing',
    'nothing + 1 = 2',
    'nothing BETWEEN 1 AND 2',
    "nothing IN ('x')",
    "nothing NOT IN ('x')",
    "nothing LIKE '%'",
    "nothing CONTAINS ''",
    'nothing = 1 OR no',
    'nothing = 1 AND yes',
    'word = 5',
    'word <> 5',
    'word > 5',
    'word > a',
    'word = TRUE',
    'word',
    'a / 0 = 1',
    'a * 1e308 * 1e308 > 1',
    'empty = 0',
    'toString IS NOT NULL AND nothing = 1 OR nothing > 1',
    '__proto__ = 1',
  ],
}

const refused: readonly (readonly [string, string])[] = [
  ['', 'position 1: expected a name, a text, a number or (, found the end'],
  ['a =', 'position 4: expected a name, a text, a number or (, found the end'],
  ['a = 5 b', 'position 7: expected AND, OR or the end, found b'],
  ['a = 5 = 5', 'position 7: expected AND, OR or the end, found ='],
  ['a = NULL', 'position 5: nothing is compared with NULL: say IS NULL or IS NOT NULL'],
  ["a > 'x'", "position 5: expected a number, found 'x'"],
  ["'x' > a", "position 1: only numbers have an order (>), found 'x'"],
  ['a > TRUE', 'position 5: expected a number, found TRUE'],
  ["'x' BETWEEN 1 AND 2", "position 1: only numbers have an order (BETWEEN), found 'x'"],
  ['a BETWEEN 1 OR 2', 'position 13: expected AND, found OR'],
  ['a IS 5', 'position 6: expected NULL or NOT NULL, found 5'],
  ['a IS NOT 5', 'position 10: expected NULL, found 5'],
  ['a NOT 5', 'position 7: expected BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH, found 5'],
  ['a IN 5', 'position 6: expected ( and a list, found 5'],
  ['a IN ()', 'position 7: expected a text, a number, TRUE or FALSE, found )'],
  ['a IN (1 2)', 'position 9: expected , or ), found 2'],
  ["a IN (-'x')", "position 8: expected a number, found 'x'"],
  ['a LIKE b', 'position 8: expected a pattern in single quotes, found b'],
  ["a LIKE 'x' ESCAPE 'yz'", "position 19: expected one character in single quotes, found 'yz'"],
  ["a LIKE 'x!y' ESCAPE '!'", 'LIKE ! stands before %, _ or itself only'],
  ['a CONTAINS 5', 'position 12: expected a text in single quotes, found 5'],
  ['(a = 5', 'position 7: expected AND, OR or ), found the end'],
  ['a = 5 AND', 'position 10: expected a name, a text, a number or (, found the end'],
  ['5', 'position 1: expected a condition, found 5'],
  ["a = 5 OR 'x'", "position 10: expected a condition, found 'x'"],
  ['5 AND yes', 'position 1: expected a condition, found 5'],
  ['NOT 5', 'position 5: expected a condition, found 5'],
  ['a + 1', 'position 1: expected a condition, found a'],
  ["a + 'x' = 1", "position 5: expected a number, found 'x'"],
  ["a = 'x", "position 5: ' without an end"],
  ['"" = 1', 'position 1: a name is not empty'],
  ['5a = 1', 'position 2: a number ends before a = 1'],
  ['a = 1e999', 'position 5: 1e999 is too large'],
  ['a ; b', 'position 3: ; means nothing here'],
  ['a || b', 'position 3: | means nothing here'],
  [`a = ${'('.repeat(DEPTH_MAX + 1)}1`, `position ${5 + DEPTH_MAX + 1}: nested deeper than ${DEPTH_MAX}`],
  [`${'NOT '.repeat(DEPTH_MAX + 1)}a`, `nested deeper than ${DEPTH_MAX}`],
  [`a = ${'-'.repeat(1)}${' -'.repeat(DEPTH_MAX)}1`, `nested deeper than ${DEPTH_MAX}`],
  [`a IN (${'1,'.repeat(LIST_MAX)}1)`, `a list of over ${LIST_MAX}`],
  [`a = '${'x'.repeat(EXPRESSION_MAX)}'`, `filter of over ${EXPRESSION_MAX} characters`],
]

describe('SQL92', () => {
  for (const [wanted, expressions] of Object.entries(table)) {
    it.each(expressions)(`is ${wanted}: %s`, (expression) => {
      expect(String(truth(expression) ?? 'unknown')).toBe(wanted)
    })
  }

  it.each(refused)('refuses %s', (expression, words) => {
    expect(refusal(expression)).toContain(words)
  })

  it('takes what is as large as may be', () => {
    expect(compileSql(`a IN (${'1,'.repeat(LIST_MAX - 1)}5)`)(message)).toBe(true)
    expect(compileSql(`${'('.repeat(DEPTH_MAX)}a = 5${')'.repeat(DEPTH_MAX)}`)(message)).toBe(true)
    const sum = `a = 5 OR a ${'+1'.repeat(EXPRESSION_MAX / 2)}`.slice(0, EXPRESSION_MAX - 8)
    expect(compileSql(`${sum.replace(/\+$/, '')} = 1`)(message)).toBe(true)
    const side = Array.from({ length: DEPTH_MAX * 2 }, () => '(NOT a = 6)').join(' AND ')
    expect(compileSql(side)(message)).toBe(true)
    const many = `${'a=5 OR '.repeat(2_000)}a=6`
    expect(compileSql(many)({ properties: { a: '6' } })).toBe(true)
  })

  it('answers hostile texts in time that grows with their length alone', () => {
    const long = 'a'.repeat(30_000)
    const fields = { properties: { a: long, n: `${'1'.repeat(30_000)}x` } }
    const began = process.cpuUsage()
    expect(compileSql(`a LIKE '${'%a'.repeat(200)}%b'`)(fields)).toBe(false)
    expect(compileSql('n = 1 OR n > 1 OR n + n = 2')(fields)).toBe(false)
    expect(compileSql(`a LIKE '${'%'.repeat(1_000)}b'`)(fields)).toBe(false)
    expect(() => compileSql(`a = ${'1'.repeat(16_000)}x`)).toThrow(Fault)
    expect(process.cpuUsage(began).user / 1_000).toBeLessThan(5_000)
  })
})
