import type { Codec, Limits } from '@sluice/core'
import { encodeFrame, type Frame, FrameDecoder } from '@sluice/remoting'

export type { Frame }

/**
 * Has a Java client close its connection itself: a frame of four bytes whose header would be eight. Its decoder closes at
 * what it cannot read, and only where the client closes does it give up at once what it still waits for, and ask
 * elsewhere; at a FIN of ours releases before 5.0 let requests wait for their timeout.
 * Source: apache/rocketmq NettyDecoder.java, NettyRemotingClient.NettyConnectManageHandler.close.
 */
export const closeYourself: Frame = {
  code: 0,
  language: 'JAVA',
  version: 0,
  opaque: 0,
  flag: 0,
  ext: {},
  binary: false,
}
const UNREADABLE = Buffer.from('0000000400000008', 'hex')

export const remotingCodec = (limits: Pick<Limits, 'frameBytes'>): Codec<Frame> => ({
  decoder: () => new FrameDecoder(limits.frameBytes),
  encode: (frame) => (frame === closeYourself ? UNREADABLE : encodeFrame(frame)),
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
