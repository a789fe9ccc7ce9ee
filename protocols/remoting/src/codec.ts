import type { Codec, Limits } from '@sluice/core'
import { encodeFrame, type Frame, FrameDecoder } from '@sluice/remoting'

export type { Frame }

export const remotingCodec = (limits: Pick<Limits, 'frameBytes'>): Codec<Frame> => ({
  decoder: () => new FrameDecoder(limits.frameBytes),
  encode: encodeFrame,
})

/** Bytes that always decide. */
const HEAD_BYTES = 9

/**
 * A frame begins with a length of at most 16 MiB, then the type byte and 24 bits of header length, then `{` where the
 * header is JSON.
 */
export const detect = (head: Buffer): boolean | undefined => {
  if (head.length > 0 && (head[0] as number) > 1) return false
  if (head.length > 4 && (head[4] as number) > 1) return false
  if (head[4] === 1) return true
  return head.length < HEAD_BYTES ? undefined : head[8] === 0x7b
}
