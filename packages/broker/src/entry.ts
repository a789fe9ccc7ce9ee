import { crc32 } from 'node:zlib'
import { MAGIC_V1, MAGIC_V2, type Room, type Summed } from '@sluice/remoting'
import { crcAround, crcOf } from './crc.ts'

/**
 * The log is one run of entries, cut into segment files:
 *   u32 length of the payload, top bit: chained · u32 CRC-32 · payload
 * The CRC is over the place of the payload in the log (8 bytes, top bit: chained) and the payload, so that bytes of
 * another life of the file never pass. A chained entry counts only together with the entry after it: a chain is written
 * as a whole or not at all.
 * A payload is a RocketMQ record or a control event: u32 kind · u32 CONTROL · body. Both have their magic at 4.
 */
export const HEADER = 8
export const CONTROL = 0x534c4331 // "SLC1"
/** Longest payload: a 4 MiB body with its properties, or a control event that lists many. */
export const PAYLOAD_MAX = 64 * 1024 * 1024
export const PAYLOAD_MIN = 8
const CHAINED = 0x8000_0000

/** Writes the header before a payload that stands in its place. `part` of it was looked at already. */
export const sealEntry = (
  room: Room,
  at: number,
  size: number,
  place: number,
  chained: boolean,
  part?: Summed,
): void => {
  const { view } = room
  const header = at - HEADER
  view.setUint32(header, Math.floor(place / 0x1_0000_0000) | (chained ? CHAINED : 0))
  view.setUint32(header + 4, place)
  const to = at + size
  const crc = part ? crcAround(room, header, to, part) : crcOf(room, header, to)
  view.setUint32(header, size | (chained ? CHAINED : 0))
  view.setUint32(header + 4, crc)
}

export interface Entry {
  /** Position of the payload in the log. */
  readonly place: number
  readonly payload: Buffer
  readonly chained: boolean
}

const placeBytes = Buffer.alloc(HEADER)

/** Whether the entry whose header stands at `at` is whole and stands where it belongs. Undefined: not. */
export const openEntry = (buffer: Buffer, at: number, start: number): Entry | undefined => {
  if (buffer.length - at < HEADER) return undefined
  const word = buffer.readUInt32BE(at)
  const size = word & ~CHAINED
  if (size < PAYLOAD_MIN || size > PAYLOAD_MAX || at + HEADER + size > buffer.length) return undefined
  const chained = word >= CHAINED
  const place = start + HEADER
  placeBytes.writeUInt32BE((Math.floor(place / 0x1_0000_0000) | (chained ? CHAINED : 0)) >>> 0, 0)
  placeBytes.writeUInt32BE(place % 0x1_0000_0000, 4)
  const payload = buffer.subarray(at + HEADER, at + HEADER + size)
  return crc32(payload, crc32(placeBytes)) === buffer.readUInt32BE(at + 4) ? { place, payload, chained } : undefined
}

/** Payload bytes that the header at `at` announces; 0 where no entry can stand. */
export const announced = (buffer: Buffer, at: number): number => {
  const size = buffer.readUInt32BE(at) & ~CHAINED
  return size < PAYLOAD_MIN || size > PAYLOAD_MAX ? 0 : size
}

export const isControl = (payload: Buffer): boolean => payload.readUInt32BE(4) === CONTROL

export const isRecordPayload = (payload: Buffer): boolean => {
  const magic = payload.readUInt32BE(4)
  return magic === MAGIC_V1 || magic === MAGIC_V2
}

const magics = [CONTROL, MAGIC_V1, MAGIC_V2].map((magic) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(magic)
  return bytes
})

/** Index of the next whole entry's header at or after `from`; −1: none in these bytes. */
export const findEntry = (buffer: Buffer, from: number, start: number): number => {
  const next = magics.map((magic) => buffer.indexOf(magic, from + HEADER + 4))
  for (;;) {
    let soonest = -1
    next.forEach((at, index) => {
      if (at >= 0 && (soonest < 0 || at < next[soonest]!)) soonest = index
    })
    if (soonest < 0) return -1
    const header = next[soonest]! - HEADER - 4
    if (openEntry(buffer, header, start + header)) return header
    next[soonest] = buffer.indexOf(magics[soonest]!, next[soonest]! + 1)
  }
}
