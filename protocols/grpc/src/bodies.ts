import zlib from 'node:zlib'
import type { StoredMessage } from '@sluice/core'

/** Most that a compressed body may become: far above what a producer may send, far below what hurts. */
const INFLATED_MAX = 32 * 1024 * 1024

/**
 * The body as this wire can say it: as it is, or gzip; other encodings are undone. One that cannot be undone here (LZ4,
 * or bytes that are not what they claim) travels as it is.
 */
export const plainBody = (message: StoredMessage): { readonly body: Buffer; readonly gzip: boolean } => {
  const { body, encoding } = message
  if (encoding === undefined || encoding === 'lz4') return { body, gzip: false }
  if (encoding === 'gzip') return { body, gzip: true }
  try {
    const undo = encoding === 'zlib' ? zlib.inflateSync : zlib.zstdDecompressSync
    return { body: undo(body, { maxOutputLength: INFLATED_MAX }), gzip: false }
  } catch {
    return { body, gzip: false }
  }
}
