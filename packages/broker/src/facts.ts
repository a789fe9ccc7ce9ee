import { joinPath, type Message, names } from '@sluice/core'
import { ENTRY_END, NAME_END, PropertyView, saidOf, system } from '@sluice/remoting'

/** What the broker must know of a message to place it and to index it. The same from a message and from its record. */
export interface Facts {
  readonly id: string | undefined
  readonly keys: readonly string[] | undefined
  readonly tag: string | undefined
  readonly group: string | undefined
  readonly path: string | undefined
  readonly priority: number | undefined
  /** It may ask for a later delivery. */
  readonly timed: boolean
  readonly expires: boolean
  readonly retain: boolean
  /** Of a transaction that waits for its decision. */
  readonly half: boolean
}

export const factsOf = (message: Message): Facts => {
  const said = saidOf(message)
  if (said !== undefined) return factsOfSaid(typeof said === 'string' ? said : said.toString('utf8'))
  return {
    id: message.id,
    keys: message.keys,
    tag: message.tag,
    group: message.group,
    path: message.path,
    priority: message.priority,
    timed: message.deliverAt !== undefined,
    expires: message.expiresAt !== undefined,
    retain: message.retain === true,
    half: message.half !== undefined,
  }
}

type Found = { -readonly [K in keyof Facts]: Facts[K] }

/** First characters of the names that are looked for; any other entry is passed over. */
const firsts = new Uint8Array(128)
for (const char of 'KTUD_mx') firsts[char.charCodeAt(0)] = 1

const END = String.fromCharCode(ENTRY_END)
const MIDDLE = String.fromCharCode(NAME_END)

/** One pass over a property string. */
const factsOfSaid = (said: string): Facts => {
  const found: Found = {
    id: undefined,
    keys: undefined,
    tag: undefined,
    group: undefined,
    path: undefined,
    priority: undefined,
    timed: false,
    expires: false,
    retain: false,
    half: false,
  }
  let more = false
  const { length } = said
  /** Of the next name that ends. */
  let middle = -1
  for (let from = 0; from < length; ) {
    let to = said.indexOf(END, from)
    if (to < 0) to = length
    if (firsts[said.charCodeAt(from)] === 1) {
      if (middle < from) middle = said.indexOf(MIDDLE, from)
      if (middle < 0) break
      if (middle > from && middle + 1 < to && take(found, said.slice(from, middle), said.slice(middle + 1, to)))
        more = true
    }
    from = to + 1
  }
  return more ? withMore(said, found) : found
}

const wholeOf = (text: string): number | undefined => (/^\d{1,10}$/.test(text) ? Number(text) : undefined)

/** @returns whether there is more in our own property */
const take = (found: Found, name: string, value: string): boolean => {
  switch (name) {
    case system.id:
      found.id = value
      return false
    case system.keys:
      found.keys = value.split(' ')
      return false
    case system.tag:
      found.tag = value
      return false
    case system.group:
      found.group = value
      return false
    case names.path: {
      const slash = value.indexOf('/')
      found.path = slash < 0 ? undefined : value.slice(slash + 1)
      return false
    }
    case system.priority:
      found.priority = wholeOf(value)
      return false
    case system.delayLevel:
    case system.delaySeconds:
    case system.delayMs:
    case system.deliverAt:
      found.timed = true
      return false
    case names.expiresAt:
      found.expires = true
      return false
    case names.retain:
      found.retain = value === 'true'
      return false
    case system.half:
      found.half = value === 'true'
      return false
    default:
      return name === names.more
  }
}

const withMore = (said: string, found: Found): Facts => {
  const { id, keys, tag, group, path } = new PropertyView(Buffer.from(said))
  return { ...found, id, keys, tag, group, path }
}

export const fullTopic = (topic: string, facts: Facts): string => joinPath(topic, facts.path)
