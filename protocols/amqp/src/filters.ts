import { Fault, type Filter } from '@sluice/core'
import { isTagged, type MapValue, mapOf, numberOf, textOf, type Value } from './types/values.ts'

export interface Filtering {
  readonly filter?: Filter
  /** What the attach answers: those that are in force, and no others. [3.5.3] */
  readonly inForce?: MapValue
}

const DIRECT_BINDING = 0x468c_0000_0000
const TOPIC_BINDING = 0x468c_0000_0001
const SELECTOR = 0x468c_0000_0004
/** Descriptors of filters, as number or as name. Source: the registry of AMQP filters of Apache Qpid. */
const known: ReadonlyMap<string, number> = new Map([
  ['apache.org:legacy-amqp-direct-binding:string', DIRECT_BINDING],
  ['apache.org:legacy-amqp-topic-binding:string', TOPIC_BINDING],
  ['apache.org:selector-filter:string', SELECTOR],
])
const TAG = /^[^\s|*#]+$/

/**
 * The filters of a source. Those that mean "one of these tags" are applied; a selector that means more is refused, as
 * the client would not notice that it is not applied; filters of other kinds are left out of the answer.
 * @throws Fault 'unsupported' or 'invalid' about 'filter'
 */
export const filtersOf = (filters: MapValue | undefined): Filtering => {
  const applied = (filters?.value ?? []).flatMap(([name, value]) => {
    const tags = tagsOf(value)
    return tags ? [{ name, value, tags }] : []
  })
  if (applied.length === 0) return {}
  if (applied.length > 1) throw new Fault('unsupported', 'more than one filter', { about: 'filter' })
  const { name, value, tags } = applied[0]!
  return { filter: { kind: 'tag', expression: tags.join('||') }, inForce: mapOf([[name, value]]) }
}

const tagsOf = (value: Value): readonly string[] | undefined => {
  if (value === null || !isTagged(value) || value.type !== 'described') return undefined
  const descriptor = numberOf(value.descriptor) ?? known.get(textOf(value.descriptor) ?? '')
  if (descriptor !== SELECTOR && descriptor !== DIRECT_BINDING && descriptor !== TOPIC_BINDING) return undefined
  const text = textOf(value.value)
  if (text === undefined) throw new Fault('invalid', 'a filter that is no string', { about: 'filter' })
  if (descriptor === SELECTOR) return selectorTags(text)
  if (TAG.test(text)) return [text]
  throw new Fault('unsupported', `a binding with wildcards: ${text.slice(0, 100)}`, { about: 'filter' })
}

const QUOTED = "'((?:[^']|'')*)'"
const EQUALS = new RegExp(`^\\s*TAGS\\s*=\\s*${QUOTED}\\s*$`, 'i')
const IN = /^\s*TAGS\s+IN\s*\(([^()]*)\)\s*$/i
const SELECTOR_MAX = 4096

/**
 * selector = "TAGS" "=" text [ "OR" … ] | "TAGS" "IN" "(" text [ "," text ]… ")"
 * @throws Fault 'unsupported' or 'invalid' about 'filter'
 */
const selectorTags = (selector: string): readonly string[] => {
  if (selector.length > SELECTOR_MAX) throw new Fault('invalid', 'a selector that is too long', { about: 'filter' })
  const list = IN.exec(selector)
  const terms = list ? list[1]!.split(',').map((text) => `TAGS = ${text}`) : selector.split(/\sOR\s/i)
  return terms.map((term) => {
    const tag = EQUALS.exec(term)?.[1]?.replaceAll("''", "'")
    if (tag === undefined)
      throw new Fault('unsupported', `a selector other than TAGS = '…' or TAGS IN ('…'): ${selector.slice(0, 100)}`, {
        about: 'filter',
      })
    if (!TAG.test(tag)) throw new Fault('invalid', `no tag: ${tag.slice(0, 100)}`, { about: 'filter' })
    return tag
  })
}
