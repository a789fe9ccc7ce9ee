import { isUtf8 } from 'node:buffer'
import type { Ack, Inbound, Outbound, Publish, QoS, Version } from './packets.ts'
import { hasWildcard } from './properties.ts'

/**
 * What nearly all traffic is, without a general parser: PUBLISH without properties, and acknowledgements that say yes.
 * Everything else is left to mqtt-packet, which gives and takes the same.
 */

const acks: Readonly<Record<number, Ack['cmd']>> = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' }
const firsts: Readonly<Record<Ack['cmd'], number>> = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 }
const PUBLISH = 3

/**
 * `from`, `to`: the body in `bytes`. undefined: it is of another kind, or not right; then the general way says what is
 * wrong with it.
 */
export const readPlain = (
  first: number,
  bytes: Buffer,
  from: number,
  to: number,
  version: Version,
): Inbound | undefined => {
  const type = first >> 4
  if (type === PUBLISH) return readPublish(first, bytes, from, to, version)
  const cmd = acks[type]
  if (cmd === undefined || to - from !== 2) return undefined
  const messageId = (bytes[from]! << 8) | bytes[from + 1]!
  if (messageId === 0) return undefined
  return version === 5 ? { cmd, messageId, reasonCode: 0 } : { cmd, messageId }
}

/** topic text · packet id u16 (QoS 1, 2) · 0 (5) · payload */
const readPublish = (first: number, bytes: Buffer, from: number, to: number, version: Version): Publish | undefined => {
  const qos = ((first >> 1) & 3) as QoS
  const topicEnd = from + 2 + ((bytes[from]! << 8) | bytes[from + 1]!)
  let at = qos > 0 ? topicEnd + 2 : topicEnd
  if (version === 5 && (at >= to || bytes[at++] !== 0)) return undefined
  if (at > to) return undefined
  const topic = readTopic(bytes, from + 2, topicEnd)
  if (topic === undefined) return undefined
  const cmd = 'publish'
  const payload = bytes.subarray(at, to)
  const dup = (first & 8) !== 0
  const retain = (first & 1) !== 0
  const length = to - from
  if (qos === 0) return { cmd, topic, payload, qos, dup, retain, length } as Publish
  const messageId = (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
  if (messageId === 0) return undefined
  return { cmd, topic, payload, qos, dup, retain, length, messageId } as Publish
}

/** Topics of late, each under the hash of its bytes: a device publishes to few. */
const lately: { readonly bytes: Buffer; readonly topic: string }[] = []
const LATELY = 256
const LATELY_BYTES_MAX = 128

/** undefined: it is no topic name, and checks.ts knows why */
const readTopic = (bytes: Buffer, from: number, to: number): string | undefined => {
  const length = to - from
  if (length > LATELY_BYTES_MAX) return isTopic(bytes.subarray(from, to)) ? bytes.toString('utf8', from, to) : undefined
  let hash = length
  for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + bytes[at]!) | 0
  const place = (hash ^ (hash >>> 16)) & (LATELY - 1)
  const known = lately[place]
  if (known !== undefined && isSame(known.bytes, bytes, from, length)) return known.topic
  const own = Buffer.from(bytes.subarray(from, to))
  if (!isTopic(own)) return undefined
  const topic = own.toString()
  lately[place] = { bytes: own, topic }
  return topic
}

const isSame = (known: Buffer, bytes: Buffer, from: number, length: number): boolean => {
  if (known.length !== length) return false
  for (let at = 0; at < length; at++) if (known[at] !== bytes[from + at]) return false
  return true
}

const isTopic = (bytes: Buffer): boolean =>
  bytes.length > 0 && isUtf8(bytes) && !bytes.includes(0) && !hasWildcard(bytes)

/** `copyMax`: bytes of a payload that are worth copying behind their header. undefined: it is of another kind. */
export const writePlain = (
  packet: Outbound | Inbound,
  version: Version,
  copyMax: number,
): readonly Buffer[] | undefined => {
  switch (packet.cmd) {
    case 'publish':
      return version === 4 || isEmpty(packet.properties) ? writePublish(packet, version, copyMax) : undefined
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return writeAcks([packet], version)
    default:
      return undefined
  }
}

/** undefined: one of them says more than yes */
export const writeAcks = (list: readonly Ack[], version: Version): readonly Buffer[] | undefined => {
  const bytes = Buffer.allocUnsafe(4 * list.length)
  let at = 0
  for (const { cmd, messageId, reasonCode, properties } of list) {
    if (version === 5 && (reasonCode || properties)) return undefined
    bytes[at++] = firsts[cmd]
    bytes[at++] = 2
    bytes[at++] = messageId >> 8
    bytes[at++] = messageId & 0xff
  }
  return [bytes]
}

const isEmpty = (properties: object | undefined): boolean => {
  for (const _ in properties) return false
  return true
}

/** Above it a call out is worth what it costs. */
const LOOP_BYTES_MAX = 48

/** @returns behind them */
const put = (some: Buffer, bytes: Buffer, at: number): number => {
  if (some.length > LOOP_BYTES_MAX) return at + some.copy(bytes, at)
  for (let from = 0; from < some.length; from++) bytes[at++] = some[from]!
  return at
}

/** Messages of one topic leave one behind the other. */
let written = { topic: '', bytes: Buffer.alloc(2) }

/** u16 length · text */
const bytesOf = (topic: string): Buffer => {
  if (topic === written.topic) return written.bytes
  const length = Buffer.byteLength(topic)
  const bytes = Buffer.allocUnsafeSlow(2 + length)
  bytes.write(topic, bytes.writeUInt16BE(length))
  written = { topic, bytes }
  return bytes
}

const writePublish = (
  { topic, payload, qos, dup, retain, messageId = 0 }: Publish,
  version: Version,
  copyMax: number,
): readonly Buffer[] => {
  const name = bytesOf(topic)
  const rest = name.length + (qos > 0 ? 2 : 0) + (version === 5 ? 1 : 0)
  const remaining = rest + payload.length
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
  const copied = payload.length <= copyMax
  const bytes = Buffer.allocUnsafe(1 + lengthBytes + (copied ? remaining : rest))
  bytes[0] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  let at = 1
  for (let left = remaining; at <= lengthBytes; left >>= 7) bytes[at++] = left > 127 ? (left & 0x7f) | 0x80 : left
  at = put(name, bytes, at)
  if (qos > 0) {
    bytes[at++] = messageId >> 8
    bytes[at++] = messageId & 0xff
  }
  if (version === 5) bytes[at++] = 0
  if (!copied) return [bytes, payload]
  payload.copy(bytes, at)
  return [bytes]
}
