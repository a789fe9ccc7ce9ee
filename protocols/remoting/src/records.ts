import { gunzipSync } from 'node:zlib'
import { type Batch, type Delivered, type Gateway, losses, names } from '@sluice/core'
import { encodeRecord, FRAME_BYTES_MAX, hasNameFrom } from '@sluice/remoting'

/** What must stand in a record's bytes for it to be looked at. */
const original = Buffer.from(`${names.original}\x01`)
const more = Buffer.from(`${names.more}\x01`)

/** Room for everything in a frame but one inflated body. */
const SPARE_BYTES = 1024 * 1024

/**
 * The records of an answer as they are stored, made only where a backend has none. A body in gzip, which this wire
 * cannot say, is inflated; what else it cannot say is counted. Other messages are not looked at.
 * @param store address of a record that is made here, 8 bytes or 20
 */
export const recordsOf = (batch: Batch, store: Buffer, gateway: Gateway): readonly Buffer[] => {
  const { bytes } = batch
  if (bytes && !bytes.some(saysMore)) return bytes
  return Array.from(batch, (delivered) => {
    const { message } = delivered
    for (const field of losses(message, 'remoting')) gateway.lost(message.via ?? 'remoting', 'remoting', field)
    if (message.encoding === 'gzip') return inflated(delivered, store, gateway)
    return message.record ?? recordWith(delivered, message.body, store)
  })
}

/** Names of ours begin with an x; other names seldom do. */
const saysMore = (record: Buffer): boolean =>
  hasNameFrom(record, 0x78) && (record.includes(original) || record.includes(more))

const inflated = (delivered: Delivered, store: Buffer, gateway: Gateway): Buffer => {
  const { message } = delivered
  try {
    const body = gunzipSync(message.body, { maxOutputLength: FRAME_BYTES_MAX - SPARE_BYTES })
    return recordWith(delivered, body, store)
  } catch {
    gateway.lost(message.via ?? 'remoting', 'remoting', 'encoding')
    return message.record ?? recordWith(delivered, message.body, store)
  }
}

export const recordWith = ({ message, attempt }: Delivered, body: Buffer, store: Buffer): Buffer => {
  const { topic, properties, packed, bornAt, bornHost, encoding, queue, offset, place, storedAt } = message
  const kept = packed ? { topic, properties, packed, bornAt, bornHost } : message
  const host = { bytes: store, v6: store.length === 20 }
  const placement = { queue: queue.index, offset, place, storedAt, reconsumeTimes: attempt - 1 }
  const coded = encoding && encoding !== 'gzip' ? { encoding } : {}
  return encodeRecord({ ...kept, body, ...coded }, host, placement)
}
