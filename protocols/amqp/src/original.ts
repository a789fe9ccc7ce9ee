import { Fault } from '@sluice/core'
import { readSectionCode } from './message.ts'
import { Reader } from './types/reader.ts'

/** What an AMQP message is beyond the model may cost so many bytes; beyond it types are lost, content is not. */
export const ORIGINAL_MAX = 16 * 1024
const VERSION = 1
/** Whose originals these are, and the name of the plugin. */
export const PROTOCOL = 'amqp'

/**
 * The message as its producer sent it, with the bytes of its body left out:
 *   original = version u8 · ( length u32 · bytes · skipped u32 )+      skipped: that many bytes of the body go here
 * `cuts`: where the body stands in `message`, begin and end by turns.
 * @returns undefined when it would be larger than `max`
 */
export const packOriginal = (
  message: Buffer,
  from: number,
  cuts: readonly number[],
  max = ORIGINAL_MAX,
): Buffer | undefined => {
  const parts: Buffer[] = [Buffer.from([VERSION])]
  let total = 1
  let at = from
  for (let index = 0; index <= cuts.length; index += 2) {
    const end = cuts[index] ?? message.length
    if (end === at && index === cuts.length && index > 0) break
    const lengths = Buffer.allocUnsafe(8)
    lengths.writeUInt32BE(end - at, 0)
    lengths.writeUInt32BE(index < cuts.length ? cuts[index + 1]! - end : 0, 4)
    parts.push(lengths.subarray(0, 4), message.subarray(at, end), lengths.subarray(4))
    total += 8 + end - at
    if (total > max) return undefined
    at = cuts[index + 1] ?? end
  }
  return Buffer.concat(parts, total)
}

/**
 * The message put together again, as buffers in a row.
 * @returns undefined when these bytes do not fit this body or would not be an AMQP message: anyone can store a property
 */
export const unpackOriginal = (original: Buffer, body: Buffer): Buffer[] | undefined => {
  try {
    return unpack(new Reader(original), body)
  } catch (error) {
    if (Fault.is(error)) return undefined
    throw error
  }
}

const unpack = (reader: Reader, body: Buffer): Buffer[] | undefined => {
  if (reader.u8() !== VERSION) return undefined
  const parts: Buffer[] = []
  let at = 0
  while (!reader.done) {
    const literal = reader.slice(reader.u32())
    const skipped = reader.u32()
    if (!fits(literal, skipped)) return undefined
    parts.push(literal)
    if (skipped > 0) parts.push(body.subarray(at, (at += skipped)))
  }
  // A body that is no slice of the message (a map as JSON) stands in the original as a whole.
  return at === body.length || at === 0 ? parts : undefined
}

/** Whether these are sections from the third on, the last one left open for exactly `skipped` bytes. */
const fits = (literal: Buffer, skipped: number): boolean => {
  const reader = new Reader(literal)
  while (!reader.done) {
    const code = readSectionCode(reader)
    if (code < 0x72 || code > 0x78) return false
    const type = reader.peek()
    if (type !== 0xa0 && type !== 0xa1 && type !== 0xb0 && type !== 0xb1) reader.value()
    else {
      reader.at++
      const length = type < 0xb0 ? reader.u8() : reader.u32()
      if (reader.done) return length === skipped
      reader.take(length)
    }
  }
  return skipped === 0
}
