import zlib from 'node:zlib'
import type { Message } from './model.ts'

/** Most that a compressed body may become: far above what a producer may send, far below what hurts. */
const INFLATED_MAX = 32 * 1024 * 1024

const undo = { zlib: zlib.inflateSync, gzip: zlib.gunzipSync, zstd: zlib.zstdDecompressSync } as const

/**
 * The body as its application wrote it, for a wire or a client that does not undo the encoding itself. What cannot be
 * undone here travels as it is: LZ4, damaged bytes, and what would grow beyond 32 MiB.
 */
export const inflate = ({ body, encoding }: Pick<Message, 'body' | 'encoding'>): Plain => {
  if (encoding === undefined) return { body }
  if (encoding === 'lz4') return { body, encoding }
  try {
    return { body: undo[encoding](body, { maxOutputLength: INFLATED_MAX }) }
  } catch {
    return { body, encoding }
  }
}

export interface Plain {
  readonly body: Buffer
  /** Absent: the body is as its application wrote it. */
  readonly encoding?: NonNullable<Message['encoding']>
}
