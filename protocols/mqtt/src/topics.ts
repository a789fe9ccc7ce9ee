import { createHash } from 'node:crypto'
import { checkPattern, Fault, joinPath, LEVELS_MAX, splitPath } from '@sluice/core'

/**
 * The first level of an MQTT topic is a topic of the broker; the rest is its path. Broker topics have 1 to 127 letters,
 * digits, `%`, `|`, `-` and `_`, and those that begin with `%` are the broker's own (retries, dead letters). A first level
 * that is any other such name stands for itself. All that are not begin with a mark:
 *   MQTT% + its UTF-8 bytes, those of [|a-zA-Z0-9_-] as they are, the others as %XX in upper-case hex
 *   MQTT%%- + SHA-256 in hex, where that would be too long: such a level travels in the message's `original`
 * A level that happens to begin with the mark is escaped too, so that no two levels share a broker topic.
 */
const OWN = /^[|a-zA-Z0-9_-][%|a-zA-Z0-9_-]{0,126}$/
const MARK = 'MQTT%'
const HASHED = 'MQTT%%-'
const LENGTH_MAX = 127

/** The broker's topic for a first level. */
export const encodeLevel = (level: string): string => {
  if (OWN.test(level) && !level.startsWith(MARK)) return level
  // An escape is at least as long as what it stands for: no need to write one that cannot fit.
  const escaped = level.length > LENGTH_MAX ? undefined : MARK + level.replace(/[^|a-zA-Z0-9_-]/gu, inHex)
  if (escaped !== undefined && escaped.length <= LENGTH_MAX) return escaped
  return HASHED + createHash('sha256').update(level).digest('hex')
}

const inHex = (character: string): string =>
  Buffer.from(character).reduce((text, byte) => `${text}%${byte.toString(16).toUpperCase().padStart(2, '0')}`, '')

/** The first level that a broker topic stands for. A topic with the mark that no level is written as stands for itself. */
export const decodeLevel = (topic: string): string => {
  if (!topic.startsWith(MARK) || topic.startsWith(HASHED)) return topic
  const escaped = topic.slice(MARK.length)
  const bytes = Buffer.from(
    escaped.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
  const level = bytes.toString()
  return encodeLevel(level) === topic ? level : topic
}

export interface Place {
  readonly topic: string
  readonly path?: string
  /** The first level, where the topic is only its hash. */
  readonly level?: string
}

/** Tables of fixed size of what was looked at of late: a device publishes to few topics. A power of two. */
const LATELY = 256
const LENGTH_MAX_LATELY = 128

/** A number below {@link LATELY}. */
const placeIn = (text: string, hash: number): number => {
  const { length } = text
  for (let at = Math.max(0, length - 8); at < length; at++) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0
  return (hash ^ (hash >>> 16)) & (LATELY - 1)
}

/** Where names of late lead. */
const lately: { readonly name: string; readonly place: Place }[] = []

/** @throws Fault 'invalid' about 'topic': more levels than patterns may have */
export const toPlace = (name: string): Place => {
  const { length } = name
  if (length > LENGTH_MAX_LATELY || length === 0) return placeOf(name)
  const slot = placeIn(name, length)
  const known = lately[slot]
  if (known?.name === name) return known.place
  const place = placeOf(name)
  lately[slot] = { name, place }
  return place
}

const placeOf = (name: string): Place => {
  const { topic: level, path } = splitPath(name)
  if (path !== undefined && levelsOf(path) >= LEVELS_MAX) {
    throw new Fault('invalid', `topic has over ${LEVELS_MAX} levels`, { about: 'topic' })
  }
  const topic = encodeLevel(level)
  return { topic, ...(path !== undefined && { path }), ...(topic.startsWith(HASHED) && { level }) }
}

const levelsOf = (path: string): number => {
  let levels = 1
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) levels++
  return levels
}

export const fromPlace = ({ topic, path, level }: Place): string => joinPath(level ?? decodeLevel(topic), path)

/** Longest MQTT text, in bytes. */
export const TEXT_MAX = 65_535

export const isText = (text: string): boolean =>
  Buffer.byteLength(text) <= TEXT_MAX && !text.includes('\0') && text.isWellFormed()

/** [MQTT-3.3.2-2, MQTT-4.7.3-1] */
export const isName = (name: string): boolean => name !== '' && !/[+#]/.test(name) && isText(name)

const names: { readonly topic: string; readonly path: string | undefined; readonly name: string | undefined }[] = []

/** The topic name of a place; undefined: no PUBLISH can say it. */
export const nameOf = (topic: string, path: string | undefined, level: string | undefined): string | undefined => {
  const { length = 0 } = path ?? ''
  if (level !== undefined || topic.length + length > LENGTH_MAX_LATELY) return readName(topic, path, level)
  const slot = placeIn(path ?? '', placeIn(topic, length))
  const known = names[slot]
  if (known && known.topic === topic && known.path === path) return known.name
  const name = readName(topic, path, level)
  names[slot] = { topic, path, name }
  return name
}

const readName = (topic: string, path: string | undefined, level: string | undefined): string | undefined => {
  const name = fromPlace({ topic, ...(path !== undefined && { path }), ...(level !== undefined && { level }) })
  return isName(name) ? name : undefined
}

/**
 * A filter as the broker matches it: over `topic/path`, its first level written as topics are.
 * @throws Fault 'invalid' about 'pattern'
 */
export const toPattern = (filter: string): string => {
  checkPattern(filter)
  const { topic: level, path } = splitPath(filter)
  return joinPath(level === '+' || level === '#' ? level : encodeLevel(level), path)
}

export interface Shared {
  readonly share?: string
  readonly filter: string
}

/**
 * $share/NAME/FILTER: a name without wildcards and a filter [MQTT-4.8.2-1, -2]
 * @throws Fault 'invalid' about 'pattern'
 */
export const readShare = (filter: string): Shared => {
  if (filter !== '$share' && !filter.startsWith('$share/')) return { filter }
  const found = /^\$share\/([^/+#]+)\/(.+)$/s.exec(filter)
  if (!found) throw new Fault('invalid', 'not $share/NAME/FILTER', { about: 'pattern' })
  return { share: found[1]!, filter: found[2]! }
}

const INBOX = '%INBOX%'

/** A reply address that is no topic: it was told as a response topic, and what is published to it goes to that inbox alone. */
export const readInbox = (topic: string): string | undefined =>
  topic.startsWith(INBOX) && topic.length > INBOX.length ? topic.slice(INBOX.length) : undefined

/** [MQTT-4.7.2-1] topics that begin with $ are not for filters that begin with a wildcard. */
export const isSystem = (name: string): boolean => name.startsWith('$')
export const isOpen = (pattern: string): boolean => pattern.startsWith('+') || pattern.startsWith('#')
