import { type Backend, Fault } from '@sluice/core'
import type { Channel } from './channel.ts'
import { malformed } from './reader.ts'
import { isProof, proofOf, type Talk, unwrapKey } from './trust.ts'
import { readFault, readValue, writeValue } from './values.ts'
import { type Frame, frame, LINK_VERSION } from './wire.ts'

/** What the broker says of itself. */
export interface Welcome {
  /** It knows this process, and has its sessions still. */
  readonly kept: boolean
  readonly nodes: readonly string[]
  readonly can: Backend['can']
  /** Most bytes of a frame that it takes. */
  readonly frameBytes: number
  /** The cluster's. */
  readonly key: Buffer
}

export interface Greeter {
  readonly process: string
  readonly secret?: string
}

/** Answers the broker's challenge. @throws Fault when it is no broker of ours */
export const answerChallenge = (
  channel: Channel,
  { type, content }: Frame,
  { process, secret = '' }: Greeter,
  gatewayNonce: Buffer,
): Talk => {
  if (type !== frame.challenge) throw malformed('no challenge')
  const { version, nonce } = readValue(content) as { readonly version?: unknown; readonly nonce?: unknown }
  if (version !== LINK_VERSION)
    throw new Fault('unsupported', `link version ${String(version)}, this gateway speaks ${LINK_VERSION}`)
  if (!Buffer.isBuffer(nonce) || nonce.length !== gatewayNonce.length) throw malformed('no challenge')
  const talk: Talk = { secret, process, brokerNonce: Buffer.from(nonce), gatewayNonce }
  const hello = { version: LINK_VERSION, process, nonce: gatewayNonce, proof: proofOf('gateway', talk) }
  writeValue(channel.frame(frame.hello, 0), hello)
  channel.sent()
  return talk
}

/** @throws Fault as the broker refuses, or when it does not know the secret itself */
export const readWelcome = ({ type, content }: Frame, talk: Talk): Welcome => {
  if (type === frame.refused) throw readFault(content)
  if (type !== frame.welcome) throw malformed('no welcome')
  const welcome = readValue(content) as Welcome & { readonly proof: unknown }
  if (!isProof(welcome.proof, 'broker', talk))
    throw new Fault('unauthenticated', 'link: the broker does not know the secret')
  return { ...welcome, key: unwrapKey(welcome.key, talk) }
}
