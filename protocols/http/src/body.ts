import { isUtf8 } from 'node:buffer'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import type { Message } from '@sluice/core'
import type { BodyEncoding } from './shapes.ts'

type Encoding = NonNullable<Message['encoding']>

/** RFC 9110 §8.4.1: content codings that a message may keep as it came. */
export const codings: Readonly<Record<string, Encoding>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'zlib',
  zstd: 'zstd',
}

const inflaters: Partial<Record<Encoding, (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>>> = {
  gzip: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  zlib: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate),
  ...(zlib.zstdDecompress && { zstd: promisify<Buffer, zlib.ZstdOptions, Buffer>(zlib.zstdDecompress) }),
}

/** The body as the application wrote it. */
export interface Plain {
  readonly bytes: Buffer
  /** Still in this encoding: unknown here, damaged, or larger than `max` bytes when inflated. */
  readonly encoding?: Encoding
}

/** Resolves without a turn of the event loop where nothing is to be inflated. */
export const inflated = (message: Message, max: number): Plain | Promise<Plain> => {
  const { body, encoding } = message
  if (encoding === undefined) return { bytes: body }
  const inflate = inflaters[encoding]
  if (!inflate) return { bytes: body, encoding }
  return inflate(body, { maxOutputLength: max }).then(
    (bytes) => ({ bytes }),
    () => ({ bytes: body, encoding }),
  )
}

/** Media types whose content is text: RFC 6838 `text/*`, RFC 6839 `+json` and `+xml`, and the usual ones without. */
const textual =
  /^(text\/[^;]+|application\/(json|xml|javascript|ecmascript|yaml|toml|graphql|sql|x-www-form-urlencoded|x-ndjson|[\w.+-]+\+(json|xml|yaml)))\s*(;|$)/i

/**
 * Text where the type says so, or says nothing, and the bytes are UTF-8; else base64. Both give back the same bytes:
 * text is only chosen where decoding loses nothing.
 */
export const written = (
  bytes: Buffer,
  contentType: string | undefined,
  wanted: 'auto' | 'base64',
): { readonly body: string; readonly encoding: BodyEncoding } =>
  wanted === 'auto' && (contentType === undefined || textual.test(contentType)) && isUtf8(bytes)
    ? { body: bytes.toString('utf8'), encoding: 'utf8' }
    : { body: bytes.toString('base64'), encoding: 'base64' }
