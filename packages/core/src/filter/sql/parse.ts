import type { Comparison, Node, Search } from './syntax.ts'
import { type Keyword, shown, type Token, tokenize, wrong } from './tokens.ts'
import { type Num, numberOf } from './values.ts'

/** Parentheses, NOT and signs inside each other. */
export const DEPTH_MAX = 64
/** Members of one IN. */
export const LIST_MAX = 1024

const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '<=', '>', '>='])
const searches: ReadonlySet<string> = new Set(['CONTAINS', 'STARTSWITH', 'ENDSWITH'])

/**
 *   filter    = condition
 *   condition = all { OR all }
 *   all       = not { AND not }
 *   not       = NOT not | test
 *   test      = sum [ ( = | <> | != | < | <= | > | >= ) sum
 *                   | IS [NOT] NULL
 *                   | [NOT] BETWEEN sum AND sum
 *                   | [NOT] IN "(" literal { "," literal } ")"
 *                   | [NOT] LIKE text [ ESCAPE character ]
 *                   | [NOT] ( CONTAINS | STARTSWITH | ENDSWITH ) text ]
 *   sum       = product { ( + | - ) product }
 *   product   = signed { ( * | / ) signed }
 *   signed    = ( + | - ) signed | literal | name | "(" condition ")"
 *   literal   = text | [ + | - ] number | TRUE | FALSE
 * A name alone, TRUE and FALSE are conditions too.
 * @throws Fault 'invalid' about 'filter', with the position and what was expected there
 */
export const parse = (expression: string): Node => {
  return new Parser(tokenize(expression)).whole()
}

const isCondition = ({ is }: Node): boolean => is !== 'arithmetic' && is !== 'negative'
const isTruth = (node: Node): boolean => isCondition(node) && (node.is !== 'literal' || typeof node.value === 'boolean')
/** What order is asked of is a number, or may turn out to be one. */
const mayBeNumber = (node: Node): boolean =>
  node.is === 'literal' ? numberOf(node.value) !== undefined : node.is === 'name' || !isCondition(node)

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Node {
    const node = this.#truth(this.#any)
    if (this.#token.is !== 'end') throw this.#expected('AND, OR or the end')
    return node
  }

  get #token(): Token {
    return this.#tokens[this.#at]!
  }

  #expected(what: string): Error {
    return wrong(this.#token.at, `expected ${what}, found ${shown(this.#token)}`)
  }

  #sign(...signs: readonly string[]): string | undefined {
    const token = this.#token
    if (token.is !== 'sign' || !signs.includes(token.sign)) return undefined
    this.#at++
    return token.sign
  }

  #word(...words: readonly Keyword[]): Keyword | undefined {
    const token = this.#token
    if (token.is !== 'word' || !words.includes(token.word)) return undefined
    this.#at++
    return token.word
  }

  #text(what: string): string {
    const token = this.#token
    if (token.is !== 'text') throw this.#expected(what)
    this.#at++
    return token.text
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > DEPTH_MAX) throw wrong(this.#token.at, `nested deeper than ${DEPTH_MAX}`)
    const what = read()
    this.#depth--
    return what
  }

  #checked(read: () => Node, holds: (node: Node) => boolean, what: string): Node {
    const token = this.#token
    const node = read()
    if (!holds(node)) throw wrong(token.at, `expected ${what}, found ${shown(token)}`)
    return node
  }

  #truth(read: () => Node): Node {
    return this.#checked(read, isTruth, 'a condition')
  }

  #chain(is: 'all' | 'any', word: Keyword, read: () => Node): Node {
    const start = this.#token
    const first = read()
    if (this.#token.is !== 'word' || this.#token.word !== word) return first
    if (!isTruth(first)) throw wrong(start.at, `expected a condition, found ${shown(start)}`)
    const nodes = [first]
    while (this.#word(word)) nodes.push(this.#truth(read))
    return { is, nodes }
  }

  readonly #any = (): Node => this.#chain('any', 'OR', this.#all)
  readonly #all = (): Node => this.#chain('all', 'AND', this.#not)

  readonly #not = (): Node => {
    if (!this.#word('NOT')) return this.#test()
    return { is: 'not', node: this.#nested(() => this.#truth(this.#not)) }
  }

  #test(): Node {
    const start = this.#token
    const node = this.#sum()
    const { is } = this.#token
    if (is === 'sign') return this.#compared(node, start)
    if (is !== 'word') return node
    if (this.#word('IS')) {
      const not = this.#word('NOT') !== undefined
      if (!this.#word('NULL')) throw this.#expected(not ? 'NULL' : 'NULL or NOT NULL')
      return negated(not, { is: 'null', node })
    }
    const not = this.#word('NOT') !== undefined
    const tested = this.#tested(node, start)
    if (tested) return negated(not, tested)
    if (not) throw this.#expected('BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH')
    return node
  }

  #compared(left: Node, start: Token): Node {
    const token = this.#token
    if (token.is !== 'sign' || !comparisons.has(token.sign)) return left
    this.#at++
    const sign = token.sign as Comparison
    if (sign === '=' || sign === '<>') return { is: 'compare', sign, left, right: this.#sum() }
    if (!mayBeNumber(left)) throw wrong(start.at, `only numbers have an order (${sign}), found ${shown(start)}`)
    return { is: 'compare', sign, left, right: this.#checked(() => this.#sum(), mayBeNumber, 'a number') }
  }

  #tested(node: Node, start: Token): Node | undefined {
    if (this.#word('BETWEEN')) {
      if (!mayBeNumber(node)) throw wrong(start.at, `only numbers have an order (BETWEEN), found ${shown(start)}`)
      const low = this.#checked(() => this.#sum(), mayBeNumber, 'a number')
      if (!this.#word('AND')) throw this.#expected('AND')
      return { is: 'between', node, low, high: this.#checked(() => this.#sum(), mayBeNumber, 'a number') }
    }
    if (this.#word('IN')) return { is: 'in', node, list: this.#list() }
    if (this.#word('LIKE')) return this.#like(node)
    const token = this.#token
    if (token.is !== 'word' || !searches.has(token.word)) return undefined
    this.#at++
    return { is: 'search', by: token.word as Search, node, text: this.#text('a text in single quotes') }
  }

  #like(node: Node): Node {
    const pattern = this.#text('a pattern in single quotes')
    if (!this.#word('ESCAPE')) return { is: 'like', node, pattern, escape: undefined }
    const { at } = this.#token
    const mark = this.#text('one character in single quotes')
    if ([...mark].length !== 1) throw wrong(at, `expected one character in single quotes, found '${mark.slice(0, 24)}'`)
    return { is: 'like', node, pattern, escape: mark }
  }

  #list(): readonly (string | Num | boolean)[] {
    if (!this.#sign('(')) throw this.#expected('( and a list')
    const list: (string | Num | boolean)[] = []
    do {
      if (list.length === LIST_MAX) throw wrong(this.#token.at, `a list of over ${LIST_MAX}`)
      list.push(this.#member())
    } while (this.#sign(','))
    if (!this.#sign(')')) throw this.#expected(', or )')
    return list
  }

  #member(): string | Num | boolean {
    const sign = this.#sign('+', '-')
    const token = this.#token
    if (sign && token.is !== 'number') throw this.#expected('a number')
    const literal = this.#literal()
    if (literal === undefined) throw this.#expected('a text, a number, TRUE or FALSE')
    return sign === '-' ? -(literal as number) : literal
  }

  #literal(): string | Num | boolean | undefined {
    const token = this.#token
    const word = this.#word('TRUE', 'FALSE')
    if (word) return word === 'TRUE'
    if (token.is !== 'text' && token.is !== 'number') return undefined
    this.#at++
    if (token.is === 'text') return token.text
    const number = numberOf(token.text.replace(/l$/i, ''))
    if (number === undefined) throw wrong(token.at, `${token.text.slice(0, 24)} is too large`)
    return number
  }

  #sum(): Node {
    return this.#arithmetic(['+', '-'], () => this.#arithmetic(['*', '/'], () => this.#signed()))
  }

  #arithmetic(signs: readonly ('+' | '-' | '*' | '/')[], read: () => Node): Node {
    const start = this.#token
    const first = read()
    const rest: { sign: '+' | '-' | '*' | '/'; node: Node }[] = []
    for (;;) {
      const sign = this.#sign(...signs) as '+' | '-' | '*' | '/' | undefined
      if (!sign) break
      rest.push({ sign, node: this.#checked(read, mayBeNumber, 'a number') })
    }
    if (rest.length === 0) return first
    if (!mayBeNumber(first)) throw wrong(start.at, `expected a number, found ${shown(start)}`)
    return { is: 'arithmetic', first, rest }
  }

  #signed(): Node {
    const sign = this.#sign('+', '-')
    if (sign) {
      const node = this.#nested(() => this.#checked(() => this.#signed(), mayBeNumber, 'a number'))
      return sign === '-' ? { is: 'negative', node } : { is: 'arithmetic', first: node, rest: [] }
    }
    const token = this.#token
    if (token.is === 'name') {
      this.#at++
      return { is: 'name', name: token.text }
    }
    const value = this.#literal()
    if (value !== undefined) return { is: 'literal', value }
    if (token.is === 'word' && token.word === 'NULL')
      throw wrong(token.at, 'nothing is compared with NULL: say IS NULL or IS NOT NULL')
    if (!this.#sign('(')) throw this.#expected('a name, a text, a number or (')
    const inner = this.#nested(this.#any)
    if (!this.#sign(')')) throw this.#expected('AND, OR or )')
    return inner
  }
}

const negated = (not: boolean, node: Node): Node => (not ? { is: 'not', node } : node)
