import { Fault, type Message } from '../../model.ts'
import { compileLike } from './like.ts'
import { parse } from './parse.ts'
import type { Comparison, Node, Search } from './syntax.ts'
import { booleanOf, equal, finite, numberOf, orderOf, textOf, type Value } from './values.ts'

export type Fields = Pick<Message, 'tag' | 'keys' | 'properties'>
type Evaluate = (fields: Fields) => Value
/** Undefined: unknown. */
type Decide = (fields: Fields) => boolean | undefined

/**
 * SQL92 over a message's properties, `TAGS` and `KEYS` among them, as a function: a message is taken when the
 * condition holds, not when it is unknown.
 * @throws Fault 'invalid' about 'filter', with the position and what was expected there
 */
export const compileSql = (expression: string): ((fields: Fields) => boolean) => {
  const decide = condition(parse(expression))
  return (fields) => decide(fields) === true
}

const property = (name: string): Evaluate => {
  if (name === 'TAGS') return ({ tag }) => tag
  if (name === 'KEYS') return ({ keys }) => (keys && keys.length > 0 ? keys.join(' ') : undefined)
  return ({ properties }) => (Object.hasOwn(properties, name) ? properties[name] : undefined)
}

const value = (node: Node): Evaluate => {
  switch (node.is) {
    case 'literal':
      return () => node.value
    case 'name':
      return property(node.name)
    case 'negative': {
      const of = value(node.node)
      return (fields) => {
        const number = numberOf(of(fields))
        return number === undefined ? undefined : -number
      }
    }
    case 'arithmetic':
      return arithmetic(node)
    default:
      return condition(node)
  }
}

const arithmetic = ({ first, rest }: Extract<Node, { is: 'arithmetic' }>): Evaluate => {
  const begin = value(first)
  const steps = rest.map(({ sign, node }) => ({ sign, of: value(node) }))
  if (steps.length === 0) return (fields) => numberOf(begin(fields))
  return (fields) => {
    let total = numberOf(begin(fields))
    for (const { sign, of } of steps) {
      const next = numberOf(of(fields))
      if (total === undefined || next === undefined) return undefined
      total = finite(operate(sign, Number(total), Number(next)))
    }
    return total
  }
}

/** A division by zero is unknown, as every number that is not finite. */
const operate = (sign: '+' | '-' | '*' | '/', left: number, right: number): number => {
  if (sign === '+') return left + right
  if (sign === '-') return left - right
  return sign === '*' ? left * right : left / right
}

const condition = (node: Node): Decide => {
  switch (node.is) {
    case 'all':
      return every(node.nodes.map(condition))
    case 'any':
      return some(node.nodes.map(condition))
    case 'not':
      return not(condition(node.node))
    case 'compare':
      return compare(node.sign, value(node.left), value(node.right))
    case 'between':
      return between(value(node.node), value(node.low), value(node.high))
    case 'in':
      return within(value(node.node), node.list)
    case 'null': {
      const of = value(node.node)
      return (fields) => of(fields) === undefined
    }
    case 'like':
      return like(value(node.node), node.pattern, node.escape)
    case 'search':
      return search(node.by, value(node.node), node.text)
    default: {
      const of = value(node)
      return (fields) => booleanOf(of(fields))
    }
  }
}

/** One that is false decides, whatever is unknown beside it. */
const every =
  (parts: readonly Decide[]): Decide =>
  (fields) => {
    let all: boolean | undefined = true
    for (const part of parts) {
      const holds = part(fields)
      if (holds === false) return false
      if (holds === undefined) all = undefined
    }
    return all
  }

/** One that holds decides, whatever is unknown beside it. */
const some =
  (parts: readonly Decide[]): Decide =>
  (fields) => {
    let any: boolean | undefined = false
    for (const part of parts) {
      const holds = part(fields)
      if (holds) return true
      if (holds === undefined) any = undefined
    }
    return any
  }

const not =
  (of: Decide): Decide =>
  (fields) => {
    const holds = of(fields)
    return holds === undefined ? undefined : !holds
  }

const orders: Readonly<Record<Exclude<Comparison, '=' | '<>'>, (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
}

const compare = (sign: Comparison, left: Evaluate, right: Evaluate): Decide => {
  if (sign === '=') return (fields) => equal(left(fields), right(fields))
  if (sign === '<>') return not((fields) => equal(left(fields), right(fields)))
  const holds = orders[sign]
  return (fields) => {
    const order = orderOf(left(fields), right(fields))
    return order === undefined ? undefined : holds(order)
  }
}

const between = (of: Evaluate, low: Evaluate, high: Evaluate): Decide =>
  every([compare('>=', of, low), compare('<=', of, high)])

const within = (of: Evaluate, list: readonly Value[]): Decide => {
  const one = some(list.map((member) => (fields: Fields) => equal(of(fields), member)))
  if (list.some((member) => typeof member !== 'string')) return one
  const texts = new Set(list)
  return (fields) => {
    const found = of(fields)
    return typeof found === 'string' ? texts.has(found) : one(fields)
  }
}

const like = (of: Evaluate, pattern: string, mark: string | undefined): Decide => {
  const matches = compileLike(pattern, mark)
  if (!matches) {
    const words = `filter: in LIKE ${mark} stands before %, _ or itself only`
    throw new Fault('invalid', words, { about: 'filter' })
  }
  return textual(of, matches)
}

const searchers: Readonly<Record<Search, (text: string, wanted: string) => boolean>> = {
  CONTAINS: (text, wanted) => text.includes(wanted),
  STARTSWITH: (text, wanted) => text.startsWith(wanted),
  ENDSWITH: (text, wanted) => text.endsWith(wanted),
}

const search = (by: Search, of: Evaluate, wanted: string): Decide => {
  const holds = searchers[by]
  return textual(of, (text) => holds(text, wanted))
}

const textual =
  (of: Evaluate, holds: (text: string) => boolean): Decide =>
  (fields) => {
    const text = textOf(of(fields))
    return text === undefined ? undefined : holds(text)
  }
