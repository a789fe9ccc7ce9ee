import type { Message } from '@sluice/core'
import { isRecord, PackedMessage, viewRecord } from '@sluice/remoting'
import { malformed, type Reader } from './reader.ts'
import type { ReadSpecial, WriteSpecial } from './values.ts'
import type { Writer } from './writer.ts'

/** Bits of the fields that are there, in the order in which they travel. */
const has = {
  packed: 1,
  encoding: 2,
  bornAt: 4,
  bornHost: 8,
  id: 16,
  properties: 32,
  path: 64,
  tag: 128,
  keys: 256,
  group: 512,
  priority: 1024,
  deliverAt: 2048,
  expiresAt: 4096,
  half: 8192,
  checkAfter: 16_384,
  contentType: 32_768,
  correlationId: 65_536,
  replyTo: 131_072,
  retain: 262_144,
  traceparent: 524_288,
  via: 1_048_576,
  original: 2_097_152,
  /** The packed string says it. */
  originalWithin: 4_194_304,
  /** `retain: false`, said and not only absent. */
  unretained: 8_388_608,
} as const

const encodings = ['zlib', 'lz4', 'zstd', 'gzip'] as const

/**
 * A published message: topic · body · bits of what follows · the fields. Where its property string is there that is all
 * but what the string does not say: nothing is split, joined or named again.
 */
export const writeMessage = (writer: Writer, message: Message): void => {
  const { packed } = message
  writer.text(message.topic).bytes(message.body)
  const bits = packed ? packedBits(message) : plainBits(message)
  writer.number(bits)
  if (packed) writer.bytes(packed)
  if (bits & has.encoding) writer.byte(encodings.indexOf(message.encoding!))
  if (bits & has.bornAt) writer.double(message.bornAt!)
  if (bits & has.bornHost) writer.text(message.bornHost!)
  if (bits & has.deliverAt) writer.double(message.deliverAt!)
  if (bits & has.checkAfter) writer.double(message.half!.checkAfter!)
  if (bits & has.original) writer.text(message.original!.protocol).bytes(message.original!.bytes)
  if (!packed) writeFields(writer, message, bits)
}

const commonBits = ({ encoding, bornAt, bornHost, half, deliverAt }: Message): number =>
  (encoding === undefined ? 0 : has.encoding) |
  (bornAt === undefined ? 0 : has.bornAt) |
  (bornHost === undefined ? 0 : has.bornHost) |
  (half === undefined ? 0 : half.checkAfter === undefined ? has.half : has.half | has.checkAfter) |
  (deliverAt === undefined ? 0 : has.deliverAt)

const packedBits = (message: Message): number => {
  const { original } = message
  const within = original && original.protocol !== 'remoting'
  return has.packed | commonBits(message) | (original === undefined ? 0 : within ? has.originalWithin : has.original)
}

const plainBits = (message: Message): number => {
  let bits = commonBits(message)
  if (message.id !== undefined) bits |= has.id
  for (const _ in message.properties) {
    bits |= has.properties
    break
  }
  if (message.path !== undefined) bits |= has.path
  if (message.tag !== undefined) bits |= has.tag
  if (message.keys !== undefined) bits |= has.keys
  if (message.group !== undefined) bits |= has.group
  if (message.priority !== undefined) bits |= has.priority
  if (message.expiresAt !== undefined) bits |= has.expiresAt
  if (message.contentType !== undefined) bits |= has.contentType
  if (message.correlationId !== undefined) bits |= has.correlationId
  if (message.replyTo !== undefined) bits |= has.replyTo
  if (message.retain !== undefined) bits |= message.retain ? has.retain : has.unretained
  if (message.traceparent !== undefined) bits |= has.traceparent
  if (message.via !== undefined) bits |= has.via
  if (message.original !== undefined) bits |= has.original
  return bits
}

const writeFields = (writer: Writer, message: Message, bits: number): void => {
  if (bits & has.id) writer.text(message.id!)
  if (bits & has.properties) {
    const entries = Object.entries(message.properties)
    writer.number(entries.length)
    for (const [name, value] of entries) writer.text(name).text(value)
  }
  if (bits & has.path) writer.text(message.path!)
  if (bits & has.tag) writer.text(message.tag!)
  if (bits & has.keys) {
    writer.number(message.keys!.length)
    for (const key of message.keys!) writer.text(key)
  }
  if (bits & has.group) writer.text(message.group!)
  if (bits & has.priority) writer.double(message.priority!)
  if (bits & has.expiresAt) writer.double(message.expiresAt!)
  if (bits & has.contentType) writer.text(message.contentType!)
  if (bits & has.correlationId) writer.text(message.correlationId!)
  if (bits & has.replyTo) writer.text(message.replyTo!)
  if (bits & has.traceparent) writer.text(message.traceparent!)
  if (bits & has.via) writer.text(message.via!)
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }
const noProperties: Readonly<Record<string, string>> = Object.freeze({})

/** @throws Fault 'malformed' */
export const readMessage = (reader: Reader): Message => {
  const topic = reader.text()
  const body = reader.bytes()
  const bits = reader.number()
  const made = (
    bits & has.packed ? new PackedMessage(topic, body, reader.bytes()) : { topic, body, properties: noProperties }
  ) as Writable<Message>
  if (bits & has.encoding) made.encoding = encodingAt(reader.byte())
  if (bits & has.bornAt) made.bornAt = reader.double()
  if (bits & has.bornHost) made.bornHost = reader.text()
  if (bits & has.deliverAt) made.deliverAt = reader.double()
  if (bits & has.half) made.half = bits & has.checkAfter ? { checkAfter: reader.double() } : {}
  if (bits & has.original) made.original = { protocol: reader.text(), bytes: reader.bytes() }
  if (made instanceof PackedMessage) {
    if (bits & has.originalWithin) made.sayOurs()
  } else readFields(reader, made, bits)
  return made
}

const encodingAt = (index: number): (typeof encodings)[number] => {
  const encoding = encodings[index]
  if (!encoding) throw malformed('no such encoding')
  return encoding
}

const readFields = (reader: Reader, made: Writable<Message>, bits: number): void => {
  if (bits & has.id) made.id = reader.text()
  if (bits & has.properties) made.properties = readProperties(reader)
  if (bits & has.path) made.path = reader.text()
  if (bits & has.tag) made.tag = reader.text()
  if (bits & has.keys) {
    const keys: string[] = []
    for (let left = reader.count(); left > 0; left--) keys.push(reader.text())
    made.keys = keys
  }
  if (bits & has.group) made.group = reader.text()
  if (bits & has.priority) made.priority = reader.double()
  if (bits & has.expiresAt) made.expiresAt = reader.double()
  if (bits & has.contentType) made.contentType = reader.text()
  if (bits & has.correlationId) made.correlationId = reader.text()
  if (bits & has.replyTo) made.replyTo = reader.text()
  if (bits & (has.retain | has.unretained)) made.retain = (bits & has.retain) !== 0
  if (bits & has.traceparent) made.traceparent = reader.text()
  if (bits & has.via) made.via = reader.text()
}

const readProperties = (reader: Reader): Record<string, string> => {
  const entries: [string, string][] = []
  for (let left = reader.count(); left > 0; left--) entries.push([reader.text(), reader.text()])
  // fromEntries and not assignment: a property may be called __proto__
  return Object.fromEntries(entries)
}

/** Messages among plain data: a stored one as its record, a published one by its property string. */
export const writeSpecial: WriteSpecial = (writer, value) => {
  const { record, packed } = value as { readonly record?: unknown; readonly packed?: unknown }
  if (Buffer.isBuffer(record)) writer.byte(1).bytes(record)
  else if (Buffer.isBuffer(packed)) writeMessage(writer.byte(0), value as Message)
  else return false
  return true
}

/** @param node whose records they are */
export const readsSpecial =
  (node: string): ReadSpecial =>
  (reader) => {
    if (reader.byte() === 0) return readMessage(reader)
    const record = reader.bytes()
    if (!isRecord(record)) throw malformed('no record')
    return viewRecord(record, node)
  }
