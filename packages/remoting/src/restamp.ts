import { ENTRY_END, PROPERTIES_MAX } from './properties.ts'
import { MAGIC_V2, recordAt, sysFlag } from './record.ts'

/** What of a stored record is said otherwise to one consumer. */
export interface Stamp {
  /** Number of the queue, where the record has another one. */
  readonly queue: number
  readonly reconsumeTimes: number
  /** Entries put behind the others: of two with one name clients take the last. */
  readonly properties: string
}

/** Bodies up to here are copied with the rest of their record. */
const INLINE_BYTES = 4096
const BORN_AT = 48

/**
 * The record with these changes, in one or three parts; a long body is not copied. Properties that would be more than a
 * record can say are left out: see `full`.
 */
export const restamp = (
  record: Buffer,
  stamp: Stamp,
): { readonly parts: readonly Buffer[]; readonly full: boolean } => {
  const flags = record.readInt32BE(recordAt.sysFlag)
  const hosts = (flags & sysFlag.bornV6 ? 20 : 8) + (flags & sysFlag.storeV6 ? 20 : 8)
  const timesAt = BORN_AT + hosts + 8
  const bodyFrom = timesAt + 16
  const bodyTo = bodyFrom + record.readInt32BE(bodyFrom - 4)
  const long = record.readUInt32BE(recordAt.magic) === MAGIC_V2
  const lengthAt = bodyTo + (long ? 2 + record.readUInt16BE(bodyTo) : 1 + record.readUInt8(bodyTo))
  const before = record.readUInt16BE(lengthAt)
  const end = lengthAt + 2 + before
  const glue = before > 0 && record[end - 1] !== ENTRY_END ? '\x02' : ''
  const wanted = Buffer.from(glue + stamp.properties)
  const full = before + wanted.length > PROPERTIES_MAX
  const added = full ? none : wanted
  const inline = bodyTo - bodyFrom <= INLINE_BYTES
  const headTo = inline ? bodyTo : bodyFrom
  const out = Buffer.allocUnsafe(headTo + (end - bodyTo) + added.length)
  record.copy(out, 0, 0, headTo)
  record.copy(out, headTo, bodyTo, end)
  added.copy(out, headTo + end - bodyTo)
  out.writeInt32BE(end + added.length, recordAt.size)
  out.writeInt32BE(stamp.queue, recordAt.queue)
  out.writeInt32BE(stamp.reconsumeTimes, timesAt)
  out.writeUInt16BE(before + added.length, headTo + lengthAt - bodyTo)
  if (inline) return { parts: [out], full }
  return { parts: [out.subarray(0, headTo), record.subarray(bodyFrom, bodyTo), out.subarray(headTo)], full }
}

const none = Buffer.alloc(0)
