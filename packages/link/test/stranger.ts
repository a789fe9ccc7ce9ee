import { Wire } from '@sluice/testkit'
import { makeNonce, proofOf } from '../src/trust.ts'
import { readValue, writeValue } from '../src/values.ts'
import { type Frame, FrameDecoder, frame, LINK_VERSION } from '../src/wire.ts'
import { Writer } from '../src/writer.ts'
import type { Rig } from './support.ts'

export const bytesOf = (type: number, id: number, value?: unknown): Buffer => {
  const writer = new Writer()
  writer.begin(type, id)
  if (value !== undefined) writeValue(writer, value)
  writer.end()
  return Buffer.concat(writer.take())
}
export const framesIn = (bytes: Buffer): Frame[] => {
  const seen: Frame[] = []
  new FrameDecoder(1 << 30).decode(bytes, (one) => seen.push(one))
  return seen
}

/** A stranger's connection, after the broker's challenge. */
export const stranger = async (rig: Rig, secret = '') => {
  const wire = new Wire(rig.dial())
  const length = (await wire.until((unread) => unread.length >= 4 && unread)).readUInt32BE() + 4
  const [challenge] = framesIn(await wire.take(length))
  const { nonce } = readValue(challenge!.content) as { nonce: Buffer }
  const hello = (more: object = {}, known = secret) => {
    const gatewayNonce = makeNonce()
    const proof = proofOf('gateway', { secret: known, process: 'x', brokerNonce: nonce, gatewayNonce })
    return bytesOf(frame.hello, 0, { version: LINK_VERSION, process: 'x', nonce: gatewayNonce, proof, ...more })
  }
  return { wire, hello }
}

/** One that is let in; its welcome has been read. */
export const greeted = async (rig: Rig, secret = ''): Promise<Wire> => {
  const { wire, hello } = await stranger(rig, secret)
  wire.write(hello())
  const length = (await wire.until((unread) => unread.length >= 4 && unread)).readUInt32BE() + 4
  const [first] = framesIn(await wire.take(length))
  if (first?.type !== frame.welcome) throw new Error(`welcomed with a frame ${first?.type}`)
  return wire
}
