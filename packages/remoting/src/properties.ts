import { type EpochMs, Fault, type Message, type Ms, names } from '@sluice/core'

/**
 * The property string of a RocketMQ record: name \x01 value \x02 name \x01 value \x02 …
 * The last \x02 may be missing; an entry with an empty value or without \x01 says nothing.
 * Source: apache/rocketmq MessageDecoder.java, MessageConst.java
 */
export const NAME_END = 1
export const ENTRY_END = 2
/** The record's length field is a signed 16-bit number. */
export const PROPERTIES_MAX = 32_767

/** RocketMQ's own names for fields of the model. */
export const system = {
  id: 'UNIQ_KEY',
  tag: 'TAGS',
  keys: 'KEYS',
  group: '__SHARDINGKEY',
  priority: '_SYS_MSG_PRIORITY_',
  deliverAt: 'TIMER_DELIVER_MS',
  half: 'TRAN_MSG',
  checkAfter: 'CHECK_IMMUNITY_TIME_IN_SECONDS',
  delayLevel: 'DELAY',
  delaySeconds: 'TIMER_DELAY_SEC',
  delayMs: 'TIMER_DELAY_MS',
  producerGroup: 'PGROUP',
  retryTopic: 'RETRY_TOPIC',
  originId: 'ORIGIN_MESSAGE_ID',
  attempts: 'RECONSUME_TIME',
  deadTopic: 'DLQ_ORIGIN_TOPIC',
  deadId: 'DLQ_ORIGIN_MESSAGE_ID',
} as const

/**
 * Names that are RocketMQ's or ours and so never among a message's user properties. DLQ_ORIGIN_* is left out on purpose:
 * the model has no field for where a dead letter came from, and its readers want to know.
 */
const hidden: ReadonlySet<string> = new Set([
  ...Object.values(system).filter((name) => name !== system.deadTopic && name !== system.deadId),
  ...Object.entries(names).flatMap(([key, name]) => (key === 'property' ? [] : [name])),
  ...(
    'WAIT TIMER_OUT_MS TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS TIMER_ROLL_TIMES TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL ' +
    '__transactionId__ TRANSACTION_CHECK_TIMES TRAN_PREPARED_QUEUE_OFFSET REAL_TOPIC REAL_QID RECONSUME_TIME ' +
    'MAX_RECONSUME_TIMES POP_CK POP_CK_OFFSET 1ST_POP_TIME MIN_OFFSET MAX_OFFSET CONSUME_START_TIME MSG_REGION ' +
    'TRACE_ON MSG_TYPE CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER INSTANCE_ID ' +
    'TRACE_CONTEXT BUYER_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG EXTEND_UNIQ_INFO INNER_NUM INNER_BASE ' +
    'INNER_MULTI_DISPATCH INNER_MULTI_QUEUE_OFFSET __BORNHOST BORN_TIMESTAMP __CRC32# DUP_INFO'
  ).split(' '),
])

/** Whether a property is RocketMQ's or ours, not a user's. */
export const isSystemProperty = (name: string): boolean => hidden.has(name)

/** Delay of DELAY levels 1…18; a level above the last is the last. Source: MessageStoreConfig.messageDelayLevel */
export const delayLevels: readonly Ms[] = [
  1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
].map((seconds) => seconds * 1000)

/** Calls `visit` for each entry in order; names and values are given as byte ranges so that most are never decoded. */
export const scanProperties = (
  packed: Buffer,
  visit: (name: string, valueFrom: number, valueTo: number) => void,
): void => {
  let from = 0
  while (from < packed.length) {
    let to = packed.indexOf(ENTRY_END, from)
    if (to < 0) to = packed.length
    const middle = packed.indexOf(NAME_END, from)
    if (middle > from && middle + 1 < to) visit(packed.toString('utf8', from, middle), middle + 1, to)
    from = to + 1
  }
}

const parse = (packed: Buffer): Map<string, string> => {
  const found = new Map<string, string>()
  if (packed.length === 0) return found
  const text = packed.toString('utf8')
  let from = 0
  while (from < text.length) {
    let to = text.indexOf('\x02', from)
    if (to < 0) to = text.length
    const middle = text.indexOf('\x01', from)
    if (middle > from && middle + 1 < to) found.set(text.slice(from, middle), text.slice(middle + 1, to))
    from = to + 1
  }
  return found
}

interface More {
  /**
   * User properties: pairs and not an object, since JSON.parse of Node 24.21 takes an escaped name for `\\` once it has
   * seen that one in the same place.
   */
  readonly user?: readonly (readonly [string, string])[]
  /** Fields of the model by their property names; keys as a list. */
  readonly own?: Readonly<Record<string, string | readonly string[]>>
}

const empty: Readonly<Record<string, string>> = Object.freeze({})
const number = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

/** Fields of the model that live in the property string, parsed when first looked at. */
export class PropertyView {
  readonly #packed: Buffer
  #found: Map<string, string> | undefined
  #more: More | undefined
  #user: Readonly<Record<string, string>> | undefined

  constructor(packed: Buffer) {
    this.#packed = packed
  }

  get packed(): Buffer {
    return this.#packed
  }

  /** Any property by its name on the wire; undefined when absent. */
  get(name: string): string | undefined {
    return (this.#found ??= parse(this.#packed)).get(name)
  }

  get properties(): Readonly<Record<string, string>> {
    return (this.#user ??= this.#users())
  }
  get id(): string | undefined {
    return this.#own(system.id)
  }
  get tag(): string | undefined {
    return this.#own(system.tag)
  }
  get keys(): readonly string[] | undefined {
    const listed = this.#rest.own?.[system.keys]
    if (Array.isArray(listed)) return listed
    const joined = this.get(system.keys)
    const keys = joined?.split(' ').filter((key) => key !== '')
    return keys && keys.length > 0 ? keys : undefined
  }
  get group(): string | undefined {
    return this.#own(system.group)
  }
  get priority(): number | undefined {
    return number(this.get(system.priority))
  }
  get path(): string | undefined {
    const full = this.#own(names.path)
    const slash = full === undefined ? -1 : full.indexOf('/')
    return slash < 0 ? undefined : full!.slice(slash + 1)
  }
  /** Absolute delivery times only; see {@link deliverAtOf} for delays. */
  get deliverAt(): EpochMs | undefined {
    return number(this.get(system.deliverAt))
  }
  get expiresAt(): EpochMs | undefined {
    return number(this.get(names.expiresAt))
  }
  get half(): { readonly checkAfter?: Ms } | undefined {
    if (this.get(system.half) !== 'true') return undefined
    const seconds = Number(this.get(system.checkAfter))
    return seconds >= 0 ? { checkAfter: Math.round(seconds * 1000) } : {}
  }
  get encoding(): 'gzip' | undefined {
    return this.#rest.own?.encoding === 'gzip' ? 'gzip' : undefined
  }
  get contentType(): string | undefined {
    return this.#own(names.contentType)
  }
  get correlationId(): string | undefined {
    return this.#own(names.correlationId) ?? this.get('CORRELATION_ID')
  }
  /** A RocketMQ client's request wants its reply in that client's inbox. */
  get replyTo(): string | undefined {
    const own = this.#own(names.replyTo)
    const client = own === undefined ? this.get('REPLY_TO_CLIENT') : undefined
    return client === undefined || this.get('MSG_TYPE') === 'reply' ? own : `%INBOX%remoting/${client}`
  }
  get retain(): boolean | undefined {
    return this.get(names.retain) === 'true' ? true : undefined
  }
  /** Of a producer whose host is not an address. */
  get bornHost(): string | undefined {
    return this.#own(names.bornHost)
  }
  get traceparent(): string | undefined {
    return this.#own(names.traceparent)
  }
  get via(): string | undefined {
    return this.#own(names.via)
  }
  get original(): { readonly protocol: string; readonly bytes: Buffer } | undefined {
    const text = this.get(names.original)
    const colon = text === undefined ? -1 : text.indexOf(':')
    if (colon < 0) return undefined
    return { protocol: text!.slice(0, colon), bytes: Buffer.from(text!.slice(colon + 1), 'base64') }
  }

  get #rest(): More {
    return (this.#more ??= readMore(this.get(names.more)))
  }

  #own(name: string): string | undefined {
    const plain = this.get(name)
    if (plain !== undefined) return plain
    const more = this.#rest.own?.[name]
    return typeof more === 'string' ? more : undefined
  }

  #users(): Readonly<Record<string, string>> {
    const found = (this.#found ??= parse(this.#packed))
    const users: [string, string][] = []
    for (const entry of found) if (!hidden.has(entry[0])) users.push(entry)
    const more = this.#rest.user
    for (const [name, value] of more ?? []) users.push([name, value])
    // fromEntries and not assignment: a property may be called __proto__
    return users.length === 0 ? empty : Object.fromEntries(users)
  }
}

const none: More = {}

/** What a stranger wrote there is not trusted: anything but an object of texts counts as absent. */
const readMore = (text: string | undefined): More => {
  if (text === undefined) return none
  try {
    const { user, own } = JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as Record<string, unknown>
    return { ...(isPairs(user) && { user }), ...(isOwn(own) && { own }) }
  } catch {
    return none
  }
}
const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isPairs = (value: unknown): value is [string, string][] =>
  Array.isArray(value) &&
  value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string'))
const isOwn = (value: unknown): value is Record<string, string | string[]> =>
  isObject(value) &&
  Object.values(value).every((one) =>
    Array.isArray(one) ? one.every((text) => typeof text === 'string') : typeof one === 'string',
  )

/**
 * When a message is to be delivered: DELAY level, else TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS.
 * @param now what delays count from
 */
export const deliverAtOf = (view: PropertyView, now: EpochMs): EpochMs | undefined => {
  const level = number(view.get(system.delayLevel))
  if (level !== undefined && level > 0) return now + delayLevels[Math.min(level, delayLevels.length) - 1]!
  const seconds = number(view.get(system.delaySeconds))
  if (seconds !== undefined) return now + seconds * 1000
  const ms = number(view.get(system.delayMs))
  if (ms !== undefined) return now + ms
  return view.deliverAt
}

/** Whether the property string can hold this as a name or value. */
export const isSayable = (value: string): boolean =>
  value !== '' && !value.includes('\x01') && !value.includes('\x02') && value.isWellFormed()

/** It says nothing but where it goes and whence it comes: of one topic all such have the same string. */
const isBare = (message: Message): boolean => {
  if (message.id !== undefined || message.tag !== undefined || message.keys !== undefined) return false
  if (message.group !== undefined || message.priority !== undefined || message.deliverAt !== undefined) return false
  if (message.half !== undefined || message.contentType !== undefined || message.correlationId !== undefined)
    return false
  if (message.replyTo !== undefined || message.expiresAt !== undefined || message.retain) return false
  if (message.traceparent !== undefined || message.encoding === 'gzip') return false
  for (const _ in message.properties) return false
  return true
}

interface Bare {
  readonly topic: string
  readonly path: string | undefined
  readonly via: string | undefined
  readonly original: Message['original']
  readonly text: string
}

/** Strings of late of bare messages: a power of two. */
const lately: (Bare | undefined)[] = new Array(64).fill(undefined)
/** Longer ones are not remembered: they would hold what they were cut out of. */
const LATELY_BYTES_MAX = 8
const LATELY_LENGTH_MAX = 512

/**
 * The property string of a message that did not come as one. What the string cannot say (empty texts, \x01 and \x02,
 * lone surrogates, user properties with a system name, keys with blanks) goes into one property as base64 of JSON.
 */
export const propertyText = (message: Message): string => {
  if (!isBare(message)) return writeText(message)
  const { topic, path, via, original } = message
  const last = path === undefined || path === '' ? topic.length : path.charCodeAt(path.length - 1) + path.length * 7
  const place = last & (lately.length - 1)
  const known = lately[place]
  if (known && known.topic === topic && known.path === path && known.via === via && known.original === original)
    return known.text
  const text = writeText(message)
  if ((original?.bytes.length ?? 0) <= LATELY_BYTES_MAX && text.length <= LATELY_LENGTH_MAX)
    lately[place] = { topic, path, via, original, text }
  return text
}

const writeText = (message: Message): string => {
  let text = ''
  let user: [string, string][] | undefined
  let own: Record<string, string | readonly string[]> | undefined
  const say = (name: string, value: string | undefined): void => {
    if (value === undefined) return
    if (isSayable(value)) text += `${name}\x01${value}\x02`
    else (own ??= {})[name] = value
  }
  say(system.id, message.id)
  say(system.tag, message.tag)
  const { keys } = message
  if (keys && keys.length > 0) {
    if (keys.every((key) => isSayable(key) && !key.includes(' '))) say(system.keys, keys.join(' '))
    else (own ??= {})[system.keys] = keys
  }
  say(system.group, message.group)
  if (message.priority !== undefined) say(system.priority, String(message.priority))
  if (message.deliverAt !== undefined) say(system.deliverAt, String(message.deliverAt))
  if (message.half) {
    say(system.half, 'true')
    const { checkAfter } = message.half
    if (checkAfter !== undefined) say(system.checkAfter, String(checkAfter / 1000))
  }
  if (message.path !== undefined) say(names.path, `${message.topic}/${message.path}`)
  say(names.contentType, message.contentType)
  say(names.correlationId, message.correlationId)
  say(names.replyTo, message.replyTo)
  if (message.expiresAt !== undefined) say(names.expiresAt, String(message.expiresAt))
  if (message.retain) say(names.retain, 'true')
  say(names.traceparent, message.traceparent)
  say(names.via, message.via)
  if (message.encoding === 'gzip') (own ??= {}).encoding = 'gzip'
  const { original } = message
  if (original) say(names.original, `${original.protocol}:${original.bytes.toString('base64')}`)
  const { properties } = message
  for (const name in properties) {
    const value = properties[name]!
    if (isSayable(name) && isSayable(value) && !hidden.has(name)) text += `${name}\x01${value}\x02`
    else (user ??= []).push([name, value])
  }
  if (user || own) {
    const more: More = { ...(user && { user }), ...(own && { own }) }
    text += `${names.more}\x01${Buffer.from(JSON.stringify(more)).toString('base64')}\x02`
  }
  return text
}

/** The string without the named entries and with others at its end. */
export const editProperties = (
  packed: Buffer,
  remove: ReadonlySet<string>,
  add: Readonly<Record<string, string>>,
): Buffer => {
  const kept: string[] = []
  for (const [name, value] of parse(packed)) {
    if (!remove.has(name) && !(name in add)) kept.push(`${name}\x01${value}\x02`)
  }
  for (const [name, value] of Object.entries(add)) if (isSayable(value)) kept.push(`${name}\x01${value}\x02`)
  return Buffer.from(kept.join(''))
}

/** @throws Fault 'tooLarge' about 'properties' */
export const checkPropertyBytes = (bytes: number): number => {
  if (bytes <= PROPERTIES_MAX) return bytes
  throw new Fault('tooLarge', `properties of ${bytes} bytes are over ${PROPERTIES_MAX}`, { about: 'properties' })
}
