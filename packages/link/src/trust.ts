import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

const NONCE = 16
export const makeNonce = (): Buffer => randomBytes(NONCE)

/** What both ends have said before either believes the other. */
export interface Talk {
  /** Empty: none is asked for. */
  readonly secret: string
  readonly process: string
  readonly brokerNonce: Buffer
  readonly gatewayNonce: Buffer
}

/** That `who` knows the secret: HMAC-SHA-256 over who it is and both nonces. The secret itself does not travel. */
export const proofOf = (who: 'gateway' | 'broker', talk: Talk): Buffer =>
  createHmac('sha256', talk.secret)
    .update(`sluice link 1 ${who} ${talk.process}\0`)
    .update(talk.brokerNonce)
    .update(talk.gatewayNonce)
    .digest()

export const isProof = (given: unknown, who: 'gateway' | 'broker', talk: Talk): boolean => {
  const right = proofOf(who, talk)
  return Buffer.isBuffer(given) && given.length === right.length && timingSafeEqual(given, right)
}

const keyOf = ({ secret, brokerNonce, gatewayNonce }: Talk): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, Buffer.concat([brokerNonce, gatewayNonce]), 'sluice link 1 key', 32))

const CIPHER = 'aes-256-gcm'
const TAG = 16
/** Each key is used once: both nonces are in it. */
const ONLY_ONCE = Buffer.alloc(12)

/** The cluster's key on its way, for whoever knows the secret. */
export const wrapKey = (key: Buffer, talk: Talk): Buffer => {
  const cipher = createCipheriv(CIPHER, keyOf(talk), ONLY_ONCE)
  return Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()])
}

/** @throws when it was changed, or for another secret */
export const unwrapKey = (wrapped: Buffer, talk: Talk): Buffer => {
  const decipher = createDecipheriv(CIPHER, keyOf(talk), ONLY_ONCE, { authTagLength: TAG })
  decipher.setAuthTag(wrapped.subarray(-TAG))
  return Buffer.concat([decipher.update(wrapped.subarray(0, -TAG)), decipher.final()])
}
