import { compileFilter, Fault, type Filter } from '@sluice/core'
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

/** Fields of JMS and AMQP that are no properties here: a selector on them would quietly never match. */
const FOREIGN = /\b(JMS[A-Z]\w*|amqp\.\w+)/

/**
 * The filters of a source. Selectors and bindings are applied; filters of other kinds are left out of the answer.
 * @throws Fault 'unsupported' or 'invalid' about 'filter'
 */
export const filtersOf = (filters: MapValue | undefined): Filtering => {
  const applied = (filters?.value ?? []).flatMap(([name, value]) => {
    const filter = filterOf(value)
    return filter ? [{ name, value, filter }] : []
  })
  if (applied.length === 0) return {}
  if (applied.length > 1) throw new Fault('unsupported', 'more than one filter', { about: 'filter' })
  const { name, value, filter } = applied[0]!
  return { filter, inForce: mapOf([[name, value]]) }
}

const filterOf = (value: Value): Filter | undefined => {
  if (value === null || !isTagged(value) || value.type !== 'described') return undefined
  const descriptor = numberOf(value.descriptor) ?? known.get(textOf(value.descriptor) ?? '')
  if (descriptor !== SELECTOR && descriptor !== DIRECT_BINDING && descriptor !== TOPIC_BINDING) return undefined
  const text = textOf(value.value)
  if (text === undefined) throw new Fault('invalid', 'a filter that is no string', { about: 'filter' })
  if (descriptor === SELECTOR) return selector(text)
  if (TAG.test(text)) return { kind: 'tag', expression: text }
  throw new Fault('unsupported', `a binding with wildcards: ${text.slice(0, 100)}`, { about: 'filter' })
}

/** JMS selectors are SQL92 conditions, as RocketMQ's filters are. */
const selector = (expression: string): Filter => {
  const foreign = FOREIGN.exec(expression)?.[1]
  if (foreign) throw new Fault('unsupported', `a selector on ${foreign}`, { about: 'filter' })
  const filter: Filter = { kind: 'sql92', expression }
  compileFilter(filter)
  return filter
}
