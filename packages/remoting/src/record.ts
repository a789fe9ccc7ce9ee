import { type EpochMs, Fault, type Message, type Offset, type Queue, type StoredMessage } from '@sluice/core'
import { formatHost, type Host } from './host.ts'
import type { Getters } from './packed.ts'
import { PropertyView } from './properties.ts'

/**
 * The stored message record, which is also what pull, pop, view and query answer with:
 *   0 i32 size of all · 4 i32 magic · 8 i32 CRC-32 of the body & 0x7fffffff · 12 i32 queue · 16 i32 flag ·
 *   20 i64 queue offset · 28 i64 place · 36 i32 sysFlag · 40 i64 bornAt · 48 bornHost 8|20 · i64 storedAt ·
 *   storeHost 8|20 · i32 reconsumeTimes · i64 prepared · i32 n + body · u8|u16 n + topic · u16 n + properties
 * Source: apache/rocketmq MessageDecoder.java, MessageVersion.java
 */
export const MAGIC_V1 = 0xdaa320a7
/** The topic's length has two bytes. */
export const MAGIC_V2 = 0xdaa320ab
export const TOPIC_V1_MAX = 127
export const TOPIC_MAX = 32_767

export const recordAt = {
  size: 0,
  magic: 4,
  bodyCrc: 8,
  queue: 12,
  flag: 16,
  offset: 20,
  place: 28,
  sysFlag: 36,
  bornAt: 40,
} as const
export const BORN_HOST = 48
/** Every field of fixed size with IPv4 hosts: up to the body, and the three lengths but the topic's. */
export const FIXED = 88

/** Source: MessageSysFlag.java. Compressed without a type is zlib. */
export const sysFlag = {
  compressed: 0x1,
  multiTags: 0x2,
  prepared: 0x4,
  commit: 0x8,
  rollback: 0xc,
  bornV6: 0x10,
  storeV6: 0x20,
  lz4: 0x100,
  zstd: 0x200,
  zlib: 0x300,
} as const

export const encodingFlag = (encoding: Message['encoding']): number => {
  switch (encoding) {
    case 'zlib':
      return sysFlag.compressed | sysFlag.zlib
    case 'lz4':
      return sysFlag.compressed | sysFlag.lz4
    case 'zstd':
      return sysFlag.compressed | sysFlag.zstd
    default:
      return 0 // gzip is unknown to RocketMQ: the property string says it
  }
}

export const encodingOf = (flags: number): 'zlib' | 'lz4' | 'zstd' | undefined => {
  if ((flags & sysFlag.compressed) === 0) return undefined
  const type = flags & 0x700
  return type === sysFlag.lz4 ? 'lz4' : type === sysFlag.zstd ? 'zstd' : 'zlib'
}

/** i64 of a number that is at most 2^53 − 1, without BigInt. */
export const writeLong = (view: DataView, value: number, at: number): void => {
  view.setInt32(at, Math.floor(value / 0x1_0000_0000))
  view.setUint32(at + 4, value)
}
export const readLong = (source: Buffer, at: number): number =>
  source.readInt32BE(at) * 0x1_0000_0000 + source.readUInt32BE(at + 4)

export const isRecord = (bytes: Buffer): boolean => {
  if (bytes.length < FIXED + 3 || bytes.readInt32BE(0) !== bytes.length) return false
  const magic = bytes.readUInt32BE(recordAt.magic)
  return magic === MAGIC_V1 || magic === MAGIC_V2
}

/**
 * The records of a body that holds them one after the other.
 * @throws Fault 'malformed' when a length does not fit
 */
export const splitRecords = (bytes: Buffer): Buffer[] => {
  const records: Buffer[] = []
  for (let from = 0; from < bytes.length; ) {
    const size = bytes.length - from < 4 ? -1 : bytes.readInt32BE(from)
    if (size < FIXED + 3 || from + size > bytes.length) throw new Fault('malformed', 'record length does not fit')
    records.push(bytes.subarray(from, from + size))
    from += size
  }
  return records
}

/** Upper-case hex of the store's address and the place: 32 digits, with IPv6 56. */
export const offsetMsgId = (store: Buffer, place: Offset): string => {
  const id = Buffer.allocUnsafe(store.length + 8)
  store.copy(id)
  writeLong(new DataView(id.buffer, id.byteOffset), place, store.length)
  return id.toString('hex').toUpperCase()
}

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).toUpperCase().padStart(2, '0'))
const PAGE = 65_536
/** All but the last four digits of the ids of a page of places. */
const lately = { store: undefined as Host | undefined, page: -1, digits: '' }

/** {@link offsetMsgId} of a store that stays: ids of places near each other have all but four digits in common. */
export const offsetMsgIdIn = (store: Host, place: Offset): string => {
  const page = Math.floor(place / PAGE)
  if (lately.store !== store || lately.page !== page)
    Object.assign(lately, { store, page, digits: offsetMsgId(store.bytes, page * PAGE).slice(0, -4) })
  const low = place - page * PAGE
  return lately.digits + hex[low >> 8]! + hex[low & 0xff]!
}

/** Undefined: not an id of this kind. */
export const parseOffsetMsgId = (id: string): { readonly host: string; readonly place: Offset } | undefined => {
  if (!/^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{56})$/.test(id)) return undefined
  const bytes = Buffer.from(id, 'hex')
  const place = readLong(bytes, bytes.length - 8)
  if (place < 0 || place > Number.MAX_SAFE_INTEGER) return undefined
  return { host: formatHost(bytes, 0, bytes.length === 28), place }
}

/** A stored message with what only RocketMQ's own edges ask for. */
export interface StoredRecord extends StoredMessage {
  readonly record: Buffer
  readonly packed: Buffer
  readonly storeHost: string
  readonly reconsumeTimes: number
  readonly prepared: Offset
  readonly sysFlag: number
  /** As RocketMQ's consumers see it. */
  readonly offsetMsgId: string
  /** Any property by its name on the wire. */
  property(name: string): string | undefined
}

/**
 * A view over one record; nothing is decoded before it is asked for.
 * The record is trusted to be whole: check {@link isRecord} on bytes from elsewhere.
 * @param node whose record it is
 */
export const viewRecord = (record: Buffer, node: string): StoredRecord => new View(record, node) as StoredRecord

/**
 * A view over the record that was written of this message just now: what the model has is asked of the message, so that
 * readers who come at once parse nothing. The record says the same, which record.test.ts holds both to.
 */
export const freshRecord = (record: Buffer, node: string, message: Message): StoredRecord =>
  new Fresh(record, node, message) as StoredRecord

class View implements Getters<StoredRecord> {
  readonly record: Buffer
  readonly #node: string
  readonly #flags: number
  readonly #storedAt: number
  readonly #bodyAt: number
  #topicAt = 0
  #topic: string | undefined
  #properties: PropertyView | undefined
  #queue: Queue | undefined

  constructor(record: Buffer, node: string) {
    this.record = record
    this.#node = node
    this.#flags = record.readInt32BE(recordAt.sysFlag)
    this.#storedAt = BORN_HOST + (this.#flags & sysFlag.bornV6 ? 20 : 8)
    this.#bodyAt = this.#storedAt + 8 + (this.#flags & sysFlag.storeV6 ? 20 : 8) + 12
  }

  get topic(): string {
    return (this.#topic ??= this.#readTopic())
  }
  get body(): Buffer {
    const from = this.#bodyAt + 4
    return this.record.subarray(from, from + this.record.readInt32BE(this.#bodyAt))
  }
  get queue(): Queue {
    return (this.#queue ??= { topic: this.topic, node: this.#node, index: this.record.readInt32BE(recordAt.queue) })
  }
  get offset(): Offset {
    return readLong(this.record, recordAt.offset)
  }
  get place(): Offset {
    return readLong(this.record, recordAt.place)
  }
  get storedAt(): EpochMs {
    return readLong(this.record, this.#storedAt)
  }
  get bornAt(): EpochMs {
    return readLong(this.record, recordAt.bornAt)
  }
  get bornHost(): string {
    const named = this.#view.bornHost
    return named ?? formatHost(this.record, BORN_HOST, (this.#flags & sysFlag.bornV6) !== 0)
  }
  get storeHost(): string {
    return formatHost(this.record, this.#storedAt + 8, (this.#flags & sysFlag.storeV6) !== 0)
  }
  get reconsumeTimes(): number {
    return this.record.readInt32BE(this.#bodyAt - 12)
  }
  get prepared(): Offset {
    return readLong(this.record, this.#bodyAt - 8)
  }
  get sysFlag(): number {
    return this.#flags
  }
  get offsetMsgId(): string {
    return offsetMsgId(this.record.subarray(this.#storedAt + 8, this.#bodyAt - 12), this.place)
  }
  /** UNIQ_KEY; of a producer that gave none, the offsetMsgId. */
  get id(): string {
    return this.#view.id ?? this.offsetMsgId
  }
  get packed(): Buffer {
    return this.#view.packed
  }
  get encoding(): 'zlib' | 'lz4' | 'zstd' | 'gzip' | undefined {
    return encodingOf(this.#flags) ?? this.#view.encoding
  }
  get original(): { readonly protocol: string; readonly bytes: Buffer } | undefined {
    const said = this.#view.original
    if (said || this.record.readInt32BE(recordAt.flag) === 0) return said
    return { protocol: 'remoting', bytes: this.record.subarray(recordAt.flag, recordAt.flag + 4) }
  }
  get properties(): Readonly<Record<string, string>> {
    return this.#view.properties
  }
  get path(): string | undefined {
    return this.#view.path
  }
  get tag(): string | undefined {
    return this.#view.tag
  }
  get keys(): readonly string[] | undefined {
    return this.#view.keys
  }
  get group(): string | undefined {
    return this.#view.group
  }
  get priority(): number | undefined {
    return this.#view.priority
  }
  get deliverAt(): EpochMs | undefined {
    return this.#view.deliverAt
  }
  get expiresAt(): EpochMs | undefined {
    return this.#view.expiresAt
  }
  get half(): { readonly checkAfter?: number } | undefined {
    return this.#view.half
  }
  get contentType(): string | undefined {
    return this.#view.contentType
  }
  get correlationId(): string | undefined {
    return this.#view.correlationId
  }
  get replyTo(): string | undefined {
    return this.#view.replyTo
  }
  get retain(): boolean | undefined {
    return this.#view.retain
  }
  get traceparent(): string | undefined {
    return this.#view.traceparent
  }
  get via(): string | undefined {
    return this.#view.via
  }
  property(name: string): string | undefined {
    return this.#view.get(name)
  }

  get #view(): PropertyView {
    return (this.#properties ??= new PropertyView(this.#readProperties()))
  }

  #readTopic(): string {
    const { from, length } = this.#topicRange()
    return this.record.toString('utf8', from, from + length)
  }

  #topicRange(): { from: number; length: number } {
    this.#topicAt ||= this.#bodyAt + 4 + this.record.readInt32BE(this.#bodyAt)
    const long = this.record.readUInt32BE(recordAt.magic) === MAGIC_V2
    const length = long ? this.record.readUInt16BE(this.#topicAt) : this.record.readUInt8(this.#topicAt)
    return { from: this.#topicAt + (long ? 2 : 1), length }
  }

  #readProperties(): Buffer {
    const { from, length } = this.#topicRange()
    const to = from + length
    return this.record.subarray(to + 2, to + 2 + this.record.readUInt16BE(to))
  }
}

class Fresh extends View {
  readonly #message: Message

  constructor(record: Buffer, node: string, message: Message) {
    super(record, node)
    this.#message = message
  }

  override get topic(): string {
    return this.#message.topic
  }
  override get body(): Buffer {
    return this.#message.body
  }
  override get id(): string {
    return this.#message.id ?? this.offsetMsgId
  }
  override get encoding(): 'zlib' | 'lz4' | 'zstd' | 'gzip' | undefined {
    return this.#message.encoding
  }
  override get original(): { readonly protocol: string; readonly bytes: Buffer } | undefined {
    return this.#message.original
  }
  override get properties(): Readonly<Record<string, string>> {
    return this.#message.properties
  }
  override get path(): string | undefined {
    return this.#message.path
  }
  override get tag(): string | undefined {
    return this.#message.tag
  }
  override get keys(): readonly string[] | undefined {
    return this.#message.keys?.length ? this.#message.keys : undefined
  }
  override get group(): string | undefined {
    return this.#message.group
  }
  override get priority(): number | undefined {
    return this.#message.priority
  }
  override get deliverAt(): EpochMs | undefined {
    return this.#message.deliverAt
  }
  override get expiresAt(): EpochMs | undefined {
    return this.#message.expiresAt
  }
  override get half(): { readonly checkAfter?: number } | undefined {
    return this.#message.half
  }
  override get contentType(): string | undefined {
    return this.#message.contentType
  }
  override get correlationId(): string | undefined {
    return this.#message.correlationId
  }
  override get replyTo(): string | undefined {
    return this.#message.replyTo
  }
  override get retain(): boolean | undefined {
    return this.#message.retain || undefined
  }
  override get traceparent(): string | undefined {
    return this.#message.traceparent
  }
  override get via(): string | undefined {
    return this.#message.via
  }
}
