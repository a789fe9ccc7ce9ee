import { Fault, type Filter } from '../model.ts'
import { compileSql, type Fields } from './sql/compile.ts'

export type Matches = (message: Fields) => boolean

const all: Matches = () => true

/** Whether this filter lets everything through. */
export const isOpen = (filter: Filter | undefined): boolean =>
  filter === undefined || (filter.kind === 'tag' && /^\s*(\*|)\s*$/.test(filter.expression))

/** Compilations of SQL that are remembered: clients send the text again with each poll. */
const REMEMBERED_MAX = 256
const remembered = new Map<string, Matches>()

const sql = (expression: string): Matches => {
  const known = remembered.get(expression)
  if (known) return known
  const matches = compileSql(expression)
  if (remembered.size >= REMEMBERED_MAX)
    for (const oldest of remembered.keys()) {
      remembered.delete(oldest)
      break
    }
  remembered.set(expression, matches)
  return matches
}

/**
 * Compiled once a subscription.
 *   tag   = `*` | empty | tag ( `||` tag )*
 *   sql92 = a condition; its grammar stands at `parse`
 * @throws Fault 'invalid' about 'filter': a tag list with an empty or blank member, or no SQL92, with the position
 */
export const compileFilter = (filter: Filter | undefined): Matches => {
  if (filter === undefined || isOpen(filter)) return all
  if (filter.kind === 'sql92') return sql(filter.expression)
  const tags = filter.expression.split('||').map((tag) => tag.trim())
  if (tags.some((tag) => tag === '' || /\s/.test(tag)))
    throw new Fault('invalid', `not a list of tags: ${filter.expression.slice(0, 100)}`, { about: 'filter' })
  if (tags.includes('*')) return all
  if (tags.length === 1) {
    const [only] = tags
    return (message) => message.tag === only
  }
  const set = new Set(tags)
  return (message) => message.tag !== undefined && set.has(message.tag)
}
