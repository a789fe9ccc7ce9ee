import { Fault, splitPath } from '@sluice/core'

/** Where a producer's message goes. */
export interface Destination {
  readonly topic: string
  readonly path?: string
  readonly tag?: string
}

/** What a consumer draws from; without a group its link says which. */
export interface Origin {
  readonly topic: string
  readonly group?: string
}

const invalid = (address: string, why: string): Fault =>
  new Fault('invalid', `address ${address.slice(0, 200)}: ${why}`, { about: 'address' })

/** Longest address that is looked at. */
const ADDRESS_MAX = 1024

/**
 * send = "/topics/" topic [ "/" tag ] | "/queues/" queue | topic [ "/" path ]
 * Segments of the first two are percent-encoded; a bare name is taken as it stands (RocketMQ's own topics begin with `%`).
 * @throws Fault 'invalid' about 'address', 'unsupported' for an inbox
 */
export const sendAddress = (address: string): Destination => {
  check(address)
  if (!address.startsWith('/')) {
    if (address.startsWith('%INBOX%')) throw new Fault('unsupported', 'sending to an inbox', { about: 'address' })
    const { topic, path } = splitPath(address)
    return path === undefined ? { topic } : { topic, path }
  }
  const [kind, topic, tag, ...more] = segments(address)
  if (!topic || more.length > 0) throw invalid(address, 'is not /topics/TOPIC[/TAG] or /queues/QUEUE')
  if (kind === 'topics') return tag ? { topic, tag } : { topic }
  if (kind === 'queues' && tag === undefined) return { topic }
  throw invalid(address, 'is not /topics/TOPIC[/TAG] or /queues/QUEUE')
}

/**
 * receive = "/topics/" topic [ "/groups/" group ] | "/queues/" queue (topic and group of one name)
 *         | topic "::" group | topic
 * @throws Fault 'invalid' about 'address', 'unsupported' for a path: groups take whole topics
 */
export const receiveAddress = (address: string): Origin => {
  check(address)
  if (!address.startsWith('/')) {
    const [topic, group, more] = address.split('::')
    if (!topic || group === '' || more !== undefined) throw invalid(address, 'is not TOPIC or TOPIC::GROUP')
    if (topic.includes('/'))
      throw new Fault('unsupported', `receiving from a path: ${topic.slice(0, 200)}`, { about: 'address' })
    return group === undefined ? { topic } : { topic, group }
  }
  const [kind, topic, groups, group, ...more] = segments(address)
  if (topic && more.length === 0) {
    if (kind === 'queues' && groups === undefined) return { topic, group: topic }
    if (kind === 'topics' && groups === undefined) return { topic }
    if (kind === 'topics' && groups === 'groups' && group) return { topic, group }
  }
  throw invalid(address, 'is not /topics/TOPIC[/groups/GROUP] or /queues/QUEUE')
}

/** A reply address as other protocols know it, `topic/path`; what names no topic of ours stays as it is. */
export const replyAddress = (address: string): string => {
  if (!address.startsWith('/')) return address
  try {
    const { topic, tag } = sendAddress(address)
    return tag === undefined ? topic : address
  } catch (error) {
    if (Fault.is(error)) return address
    throw error
  }
}

const check = (address: string): void => {
  if (address === '') throw new Fault('invalid', 'an empty address', { about: 'address' })
  if (address.length > ADDRESS_MAX) throw invalid(address, 'too long')
}

const segments = (address: string): string[] => {
  try {
    return address.slice(1).split('/').map(decodeURIComponent)
  } catch {
    throw invalid(address, 'percent-encoding is wrong')
  }
}
