import type { Ack, Inbound, Outbound, Publish, QoS, Version } from './packets.ts'

/**
 * What nearly all traffic is, without a general parser: PUBLISH without properties, and acknowledgements that say yes.
 * Everything else is left to mqtt-packet, which gives and takes the same.
 */

const acks: Readonly<Record<number, Ack['cmd']>> = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' }
const firsts: Readonly<Record<Ack['cmd'], number>> = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 }
const PUBLISH = 3

/** `first`, `body`: of a packet that checks.ts has let through. undefined: it is of another kind. */
export const readPlain = (first: number, body: Buffer, version: Version): Inbound | undefined => {
  const type = first >> 4
  if (type === PUBLISH) return readPublish(first, body, version)
  const cmd = acks[type]
  if (cmd === undefined || body.length !== 2) return undefined
  const messageId = body.readUInt16BE(0)
  return version === 5 ? { cmd, messageId, reasonCode: 0 } : { cmd, messageId }
}

/** topic text · packet id u16 (QoS 1, 2) · 0 (5) · payload */
const readPublish = (first: number, body: Buffer, version: Version): Publish | undefined => {
  const qos = ((first >> 1) & 3) as QoS
  const topicEnd = 2 + body.readUInt16BE(0)
  let at = qos > 0 ? topicEnd + 2 : topicEnd
  if (version === 5 && body[at++] !== 0) return undefined
  const publish = {
    cmd: 'publish' as const,
    topic: body.toString('utf8', 2, topicEnd),
    payload: body.subarray(at),
    qos,
    dup: (first & 8) !== 0,
    retain: (first & 1) !== 0,
    length: body.length,
  }
  return qos > 0 ? { ...publish, messageId: body.readUInt16BE(topicEnd) } : publish
}

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
      if (version === 5 && (packet.reasonCode || packet.properties)) return undefined
      return [Buffer.of(firsts[packet.cmd], 2, packet.messageId >> 8, packet.messageId & 0xff)]
    default:
      return undefined
  }
}

const isEmpty = (properties: object | undefined): boolean => {
  for (const _ in properties) return false
  return true
}

const writePublish = (
  { topic, payload, qos, dup, retain, messageId = 0 }: Publish,
  version: Version,
  copyMax: number,
): readonly Buffer[] => {
  const topicBytes = Buffer.byteLength(topic)
  const rest = 2 + topicBytes + (qos > 0 ? 2 : 0) + (version === 5 ? 1 : 0)
  const remaining = rest + payload.length
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
  const copied = payload.length <= copyMax
  const bytes = Buffer.allocUnsafe(1 + lengthBytes + (copied ? remaining : rest))
  bytes[0] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  let at = 1
  for (let left = remaining; at <= lengthBytes; left >>= 7) bytes[at++] = left > 127 ? (left & 0x7f) | 0x80 : left
  at = bytes.writeUInt16BE(topicBytes, at)
  at += bytes.write(topic, at)
  if (qos > 0) at = bytes.writeUInt16BE(messageId, at)
  if (version === 5) bytes[at++] = 0
  if (!copied) return [bytes, payload]
  payload.copy(bytes, at)
  return [bytes]
}
