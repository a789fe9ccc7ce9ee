import zlib from 'node:zlib'
import type { StoredMessage } from '@sluice/core'

/** Most that a compressed body may become. */
const INFLATED_MAX = 32 * 1024 * 1024

/** MQTT cannot say how a body is packed, so it is unpacked; what cannot be (LZ4, damaged bytes) travels as it is. */
export const plainBody = ({ body, encoding }: StoredMessage): Buffer => {
  if (encoding === undefined || encoding === 'lz4') return body
  const undo = { zlib: zlib.inflateSync, gzip: zlib.gunzipSync, zstd: zlib.zstdDecompressSync }[encoding]
  try {
    return undo(body, { maxOutputLength: INFLATED_MAX })
  } catch {
    return body
  }
}
