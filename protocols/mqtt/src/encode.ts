import mqtt from 'mqtt-packet'
import type { Acks, Encoded, Inbound, Outbound, Publish, UserProperty, Version } from './packets.ts'
import { writeAcks, writePlain } from './plain.ts'

// Buffers of all 65,536 packet ids are not worth their 10 MB.
;(mqtt.writeToStream as { cacheNumbers?: boolean }).cacheNumbers = false

/** Above it a payload leaves as it is instead of being copied behind its header. */
const COPY_MAX = 4_096

/** Takes what mqtt-packet writes, in order. */
class Collector {
  readonly parts: Buffer[] = []
  write(part: Buffer | string): boolean {
    this.parts.push(typeof part === 'string' ? Buffer.from(part) : part)
    return true
  }
  /** mqtt-packet's way to say that a packet cannot be written: a mistake of ours. */
  destroy(error: Error): void {
    throw error
  }
}

/** mqtt-packet writes a list of records one after the other, which keeps the order and the repeats. */
const inOrder = (pairs: readonly UserProperty[]): readonly object[] => pairs.map(([name, value]) => ({ [name]: value }))

/**
 * A packet's bytes in this version's format; none where the version has no such word for a client.
 * @throws Error when a packet of ours is none
 */
export const encode = (packet: Outbound, version: Version): readonly Buffer[] => {
  if (packet.cmd === 'encoded') return packet.bytes
  if (packet.cmd === 'acks')
    return writeAcks(packet.acks, version) ?? packet.acks.flatMap((ack) => encode(ack, version))
  if (version === 4 && packet.cmd === 'disconnect') return []
  if (packet.cmd === 'connack' && (version === 5 ? packet.reasonCode : packet.returnCode) === undefined) return []
  return writePlain(packet, version, COPY_MAX) ?? encodePacket(packet, version)
}

/** Of a server or of a client. */
export const encodePacket = (
  packet: Exclude<Inbound | Outbound, Encoded | Acks>,
  version: Version,
): readonly Buffer[] => {
  const collector = new Collector()
  const stream = collector as unknown as NodeJS.WritableStream
  mqtt.writeToStream(toPacket(packet), stream, { protocolVersion: version })
  const { parts } = collector
  const payload = packet.cmd === 'publish' && packet.payload.length > COPY_MAX ? parts.pop() : undefined
  const head = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  return payload ? [head, payload] : [head]
}

/** Bytes on the wire. */
export const sizeOf = (bytes: readonly Buffer[]): number => {
  let size = 0
  for (const part of bytes) size += part.length
  return size
}

const toPacket = (frame: Exclude<Inbound | Outbound, Encoded | Acks>): mqtt.Packet => {
  const { properties } = frame as Publish
  const pairs = properties?.userProperties
  const packet = {
    reasonCode: 0,
    ...frame,
    ...(pairs && { properties: { ...properties, userProperties: inOrder(pairs) } }),
  }
  return packet as unknown as mqtt.Packet
}
