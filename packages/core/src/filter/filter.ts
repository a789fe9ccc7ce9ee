import { Fault, type Filter, type Message } from '../model.ts'

export type Matches = (message: Pick<Message, 'tag' | 'properties'>) => boolean

const all: Matches = () => true

/** Whether this filter lets everything through. */
export const isOpen = (filter: Filter | undefined): boolean =>
  filter === undefined || (filter.kind === 'tag' && /^\s*(\*|)\s*$/.test(filter.expression))

/**
 * Compiled once a subscription.
 *   tag = `*` | empty | tag ( `||` tag )*
 * @throws Fault 'invalid' about 'filter' for a tag list with an empty or blank member, 'unsupported' for SQL92
 */
export const compileFilter = (filter: Filter | undefined): Matches => {
  if (filter === undefined || isOpen(filter)) return all
  if (filter.kind === 'sql92')
    throw new Fault('unsupported', 'SQL92 filters are not supported yet', { about: 'filter' })
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
