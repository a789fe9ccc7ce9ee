import { ENTRY_END } from './properties.ts'
import { MAGIC_V2, recordAt, sysFlag } from './record.ts'

const HOSTS = recordAt.bornAt + 8

/** Whether the name of one of a record's properties begins with this byte. Most names and all values are not looked at. */
export const hasNameFrom = (record: Buffer, first: number): boolean => {
  const flags = record.readInt32BE(recordAt.sysFlag)
  const hosts = (flags & sysFlag.bornV6 ? 20 : 8) + (flags & sysFlag.storeV6 ? 20 : 8)
  const bodyFrom = HOSTS + hosts + 24
  const bodyTo = bodyFrom + record.readInt32BE(bodyFrom - 4)
  const long = record.readUInt32BE(recordAt.magic) === MAGIC_V2
  let at = bodyTo + (long ? 2 + record.readUInt16BE(bodyTo) : 1 + record.readUInt8(bodyTo))
  const end = at + 2 + record.readUInt16BE(at)
  let before: number | undefined = ENTRY_END
  for (at += 2; at < end; at++) {
    const byte = record[at]
    if (before === ENTRY_END && byte === first) return true
    before = byte
  }
  return false
}
