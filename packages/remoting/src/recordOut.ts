import { crc32 } from 'node:zlib'
import { type EpochMs, Fault, type Message, names, type Offset } from '@sluice/core'
import { type Host, knownHost, noHost } from './host.ts'
import { saidOf } from './packed.ts'
import { checkPropertyBytes, isSayable, propertyText } from './properties.ts'
import {
  BORN_HOST,
  encodingFlag,
  FIXED,
  MAGIC_V1,
  MAGIC_V2,
  recordAt,
  sysFlag,
  TOPIC_MAX,
  TOPIC_V1_MAX,
  writeLong,
} from './record.ts'

/** Memory to be written to: numbers go through a view of it, which costs a tenth of a Buffer's way. */
export interface Room {
  readonly bytes: Buffer
  readonly view: DataView
}
export const roomOf = (bytes: Buffer): Room => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
})

/** A message measured for its record. */
export interface Draft {
  readonly message: Message
  /** Bytes of the whole record. */
  readonly size: number
  readonly topicBytes: number
  readonly properties: Buffer | string
  readonly propertyBytes: number
  readonly born: Host
  readonly store: Host
}

/** Where and when the record stands. */
export interface Placement {
  readonly queue: number
  readonly offset: Offset
  readonly place: Offset
  readonly storedAt: EpochMs
  readonly reconsumeTimes?: number | undefined
  /** Bits beside those of encoding and address family. */
  readonly sysFlag?: number | undefined
  /** Place of the half message that a commit comes from. */
  readonly prepared?: Offset | undefined
}

/**
 * @param bornHost of a message that does not say
 * @throws Fault 'tooLarge' about 'properties', 'invalid' about 'topic'
 */
export const draftRecord = (message: Message, store: Host, bornHost?: string): Draft => {
  const topicBytes = nameBytes(message.topic)
  if (topicBytes === 0 || topicBytes > TOPIC_MAX)
    throw new Fault('invalid', `topic of ${topicBytes} bytes`, { about: 'topic' })
  const hostText = message.bornHost ?? bornHost
  const known = hostText === undefined ? undefined : knownHost(hostText)
  const born = known?.host ?? noHost
  let properties: Buffer | string
  const said = saidOf(message)
  if (said !== undefined) properties = said
  else {
    properties = propertyText(message)
    if (hostText && !known?.exact && isSayable(hostText)) properties += `${names.bornHost}\x01${hostText}\x02`
  }
  const propertyBytes = checkPropertyBytes(
    typeof properties === 'string' ? Buffer.byteLength(properties) : properties.length,
  )
  const size =
    FIXED +
    (born.v6 ? 12 : 0) +
    (store.v6 ? 12 : 0) +
    message.body.length +
    (topicBytes > TOPIC_V1_MAX ? 2 : 1) +
    topicBytes +
    2 +
    propertyBytes
  return { message, size, topicBytes, properties, propertyBytes, born, store }
}

/** Bytes that somebody has made the CRC-32 of. */
export interface Summed {
  readonly from: number
  readonly to: number
  readonly crc: number
}

/** Writes `draft.size` bytes at `start`. The body is copied once, into its place. @returns where it is, and its CRC */
export const writeRecord = ({ bytes, view }: Room, start: number, draft: Draft, placement: Placement): Summed => {
  const { message, born, store, topicBytes, properties } = draft
  const { body } = message
  const long = topicBytes > TOPIC_V1_MAX
  const flags =
    encodingFlag(message.encoding) |
    (placement.sysFlag ?? 0) |
    (born.v6 ? sysFlag.bornV6 : 0) |
    (store.v6 ? sysFlag.storeV6 : 0)
  view.setInt32(start, draft.size)
  view.setUint32(start + recordAt.magic, long ? MAGIC_V2 : MAGIC_V1)
  const crc = crc32(body)
  view.setUint32(start + recordAt.bodyCrc, crc & 0x7fffffff)
  view.setInt32(start + recordAt.queue, placement.queue)
  view.setInt32(start + recordAt.flag, userFlag(message))
  writeLong(view, placement.offset, start + recordAt.offset)
  writeLong(view, placement.place, start + recordAt.place)
  view.setInt32(start + recordAt.sysFlag, flags)
  writeLong(view, message.bornAt ?? placement.storedAt, start + recordAt.bornAt)
  const storedAt = writeHost(bytes, born, start + BORN_HOST)
  writeLong(view, placement.storedAt, storedAt)
  const times = writeHost(bytes, store, storedAt + 8)
  view.setInt32(times, placement.reconsumeTimes ?? 0)
  writeLong(view, placement.prepared ?? 0, times + 4)
  view.setInt32(times + 12, body.length)
  const from = times + 16
  const bodyTo = from + body.length
  bytes.set(body, from)
  let to = bodyTo
  if (long) view.setUint8(to++, topicBytes >> 8)
  view.setUint8(to++, topicBytes)
  to = writeName(bytes, message.topic, to)
  view.setUint16(to, draft.propertyBytes)
  if (typeof properties === 'string') bytes.write(properties, to + 2)
  else bytes.set(properties, to + 2)
  return { from, to: bodyTo, crc }
}

/** @returns the index behind it */
const writeHost = (target: Buffer, { bytes }: Host, at: number): number => {
  for (let index = 0; index < bytes.length; index++) target[at + index] = bytes[index]!
  return at + bytes.length
}

/** Names up to here are written without a call that leaves JavaScript, if they are ASCII. */
const SHORT = 64

/** @returns the index behind it */
const writeName = (target: Buffer, name: string, at: number): number => {
  if (name.length > SHORT) return at + target.write(name, at)
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index)
    if (code > 127) return at + target.write(name, at)
    target[at + index] = code
  }
  return at + name.length
}

/** Bytes of a name in UTF-8. */
const nameBytes = (name: string): number => {
  if (name.length > SHORT) return Buffer.byteLength(name)
  for (let index = 0; index < name.length; index++) if (name.charCodeAt(index) > 127) return Buffer.byteLength(name)
  return name.length
}

/** RocketMQ's user flag has no field in the model: it travels as what only its own protocol understands. */
const userFlag = ({ original }: Message): number =>
  original?.protocol === 'remoting' && original.bytes.length === 4 ? original.bytes.readInt32BE(0) : 0

/** One record in a buffer of its own. */
export const encodeRecord = (message: Message, store: Host, placement: Placement, bornHost?: string): Buffer => {
  const draft = draftRecord(message, store, bornHost)
  const record = Buffer.allocUnsafe(draft.size)
  writeRecord(roomOf(record), 0, draft, placement)
  return record
}
