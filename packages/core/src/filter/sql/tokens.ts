import { Fault } from '../../model.ts'

/** UTF-16 units of one expression. */
export const EXPRESSION_MAX = 16_384

const keywords = [
  'AND',
  'OR',
  'NOT',
  'BETWEEN',
  'IN',
  'IS',
  'NULL',
  'LIKE',
  'ESCAPE',
  'CONTAINS',
  'STARTSWITH',
  'ENDSWITH',
  'TRUE',
  'FALSE',
] as const
export type Keyword = (typeof keywords)[number]
const known: ReadonlySet<string> = new Set(keywords)

/** `at`: where it begins in the expression, counted from 0. */
export type Token = { readonly at: number } & (
  | { readonly is: 'word'; readonly word: Keyword }
  | { readonly is: 'name' | 'text' | 'number'; readonly text: string }
  | { readonly is: 'sign'; readonly sign: string }
  | { readonly is: 'end' }
)

const snippet = (text: string): string => (text.length > 24 ? `${text.slice(0, 24)}…` : text)

/** What a token looks like to whoever wrote it. */
export const shown = (token: Token): string => {
  switch (token.is) {
    case 'word':
      return token.word
    case 'sign':
      return token.sign
    case 'text':
      return `'${snippet(token.text)}'`
    case 'end':
      return 'the end'
    default:
      return snippet(token.text)
  }
}

/** Positions are told from 1 on. */
export const wrong = (at: number, what: string): Fault =>
  new Fault('invalid', `filter, position ${at + 1}: ${what}`, { about: 'filter' })

const BLANK = /(?:[ \t\r\n\f]|--[^\r\n]*|\/\*[\s\S]*?\*\/)+/y
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[lL]?/y
const NAME = /[\p{L}_$][\p{L}\p{N}_$.]*/uy
const SIGN = /<>|!=|<=|>=|[=<>()+\-*/,]/y
const WORD_PART = /[\p{L}\p{N}_$.]/uy

/**
 *   token  = name | '"' … '"' | "'" … "'" | number | sign | keyword, in any case
 *   name   = letter or _ or $, then digits and dots as well; quotes are doubled inside quotes
 *   number = digits [ . digits ] [ E [sign] digits ] [ L ]
 *   blanks, `-- …` to the end of the line and `/* … *\/` stand between tokens.
 * @throws Fault 'invalid' about 'filter', with the position
 */
export const tokenize = (expression: string): readonly Token[] => {
  if (expression.length > EXPRESSION_MAX)
    throw new Fault('invalid', `filter of over ${EXPRESSION_MAX} characters`, { about: 'filter' })
  const tokens: Token[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(expression)?.[0]
  }
  while (at < expression.length) {
    const blank = take(BLANK)
    if (blank !== undefined) {
      at += blank.length
      continue
    }
    const token = nextToken(expression, at, take)
    tokens.push(token.token)
    at += token.length
  }
  return [...tokens, { is: 'end', at }]
}

const nextToken = (
  expression: string,
  at: number,
  take: (pattern: RegExp) => string | undefined,
): { readonly token: Token; readonly length: number } => {
  const first = expression[at]!
  if (first === "'" || first === '"') {
    const { text, length } = quoted(expression, at, first)
    if (first === '"' && text === '') throw wrong(at, 'a name is not empty')
    return { token: { is: first === "'" ? 'text' : 'name', text, at }, length }
  }
  const number = take(NUMBER)
  if (number !== undefined) {
    WORD_PART.lastIndex = at + number.length
    if (WORD_PART.test(expression))
      throw wrong(at + number.length, `a number ends before ${snippet(expression.slice(at + number.length))}`)
    return { token: { is: 'number', text: number, at }, length: number.length }
  }
  const name = take(NAME)
  if (name !== undefined) {
    const word = name.toUpperCase()
    const token: Token = known.has(word) ? { is: 'word', word: word as Keyword, at } : { is: 'name', text: name, at }
    return { token, length: name.length }
  }
  const sign = take(SIGN)
  if (sign === undefined) throw wrong(at, `${String.fromCodePoint(expression.codePointAt(at)!)} means nothing here`)
  return { token: { is: 'sign', sign: sign === '!=' ? '<>' : sign, at }, length: sign.length }
}

const quoted = (expression: string, at: number, quote: string): { readonly text: string; readonly length: number } => {
  let end = at + 1
  for (;;) {
    end = expression.indexOf(quote, end)
    if (end < 0) throw wrong(at, `${quote} without an end`)
    if (expression[end + 1] !== quote) break
    end += 2
  }
  return { text: expression.slice(at + 1, end).replaceAll(quote + quote, quote), length: end + 1 - at }
}
