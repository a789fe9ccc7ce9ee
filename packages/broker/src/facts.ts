import { joinPath, type Message, names } from '@sluice/core'
import { ENTRY_END, NAME_END, PropertyView, system } from '@sluice/remoting'

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

export const factsOf = (message: Message): Facts =>
  message.packed
    ? factsOfPacked(message.packed)
    : {
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

type Found = { -readonly [K in keyof Facts]: Facts[K] }

/** First bytes of the names that are looked for; any other entry is passed over without being decoded. */
const firsts: ReadonlySet<number> = new Set([...'KTUD_mx'].map((char) => char.charCodeAt(0)))

/** One pass over the bytes of a property string. */
export const factsOfPacked = (packed: Buffer): Facts => {
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
  const { length } = packed
  for (let from = 0; from < length; ) {
    let middle = -1
    let to = from
    for (; to < length; to++) {
      const byte = packed[to]!
      if (byte === ENTRY_END) break
      if (byte === NAME_END && middle < 0) middle = to
    }
    if (middle > from && middle + 1 < to && firsts.has(packed[from]!)) {
      if (take(found, packed, packed.toString('latin1', from, middle), middle + 1, to)) more = true
    }
    from = to + 1
  }
  return more ? withMore(packed, found) : found
}

const wholeOf = (text: string): number | undefined => (/^\d{1,10}$/.test(text) ? Number(text) : undefined)

/** @returns whether there is more in our own property */
const take = (found: Found, packed: Buffer, name: string, from: number, to: number): boolean => {
  switch (name) {
    case system.id:
      found.id = packed.toString('utf8', from, to)
      return false
    case system.keys:
      found.keys = packed.toString('utf8', from, to).split(' ')
      return false
    case system.tag:
      found.tag = packed.toString('utf8', from, to)
      return false
    case system.group:
      found.group = packed.toString('utf8', from, to)
      return false
    case names.path: {
      const full = packed.toString('utf8', from, to)
      const slash = full.indexOf('/')
      found.path = slash < 0 ? undefined : full.slice(slash + 1)
      return false
    }
    case system.priority:
      found.priority = wholeOf(packed.toString('latin1', from, to))
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
      found.retain = packed.toString('utf8', from, to) === 'true'
      return false
    case system.half:
      found.half = packed.toString('latin1', from, to) === 'true'
      return false
    default:
      return name === names.more
  }
}

const withMore = (packed: Buffer, found: Found): Facts => {
  const { id, keys, tag, group, path } = new PropertyView(packed)
  return { ...found, id, keys, tag, group, path }
}

export const fullTopic = (topic: string, facts: Facts): string => joinPath(topic, facts.path)
