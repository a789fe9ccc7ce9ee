import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Credentials, Fault } from '@sluice/core'

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'
const ITERATIONS = 4_096
/** Longest message of a client, in bytes. */
const MESSAGE_MAX = 4_096

/** What is kept of a password. */
export interface ScramKeys {
  readonly salt: Buffer
  readonly iterations: number
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

/** Source: RFC 5802 section 3, RFC 7677 */
export const scramKeys = (
  password: string,
  { salt = randomBytes(16), iterations = ITERATIONS }: { readonly salt?: Buffer; readonly iterations?: number } = {},
): ScramKeys => {
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  return {
    salt,
    iterations,
    storedKey: hash(hmac(salted, 'Client Key')),
    serverKey: hmac(salted, 'Server Key'),
  }
}

const refused = () => new Fault('unauthenticated', 'the proof does not fit')

/** Of this process: users that do not exist are asked as if they did, each time with the same salt. */
const pretence = randomBytes(32)
const pretended = (user: string): ScramKeys => ({
  salt: hmac(pretence, user).subarray(0, 16),
  iterations: ITERATIONS,
  storedKey: randomBytes(32),
  serverKey: randomBytes(32),
})

/**
 * The server's side of SCRAM-SHA-256 over a {@link Credentials.exchange}: `secret` is the client's first message.
 * @returns the user's name
 * @throws Fault 'unauthenticated'
 */
export const verifyScram = async (
  { secret, exchange }: Pick<Credentials, 'secret' | 'exchange'>,
  lookup: (user: string) => ScramKeys | undefined | Promise<ScramKeys | undefined>,
): Promise<string> => {
  if (!exchange || !secret || secret.length > MESSAGE_MAX) throw refused()
  const first = readFirst(secret.toString())
  const keys = (await lookup(first.user)) ?? pretended(first.user)
  const nonce = first.nonce + randomBytes(18).toString('base64')
  const challenge = `r=${nonce},s=${keys.salt.toString('base64')},i=${keys.iterations}`
  const answer = await exchange(Buffer.from(challenge))
  if (answer.length > MESSAGE_MAX) throw refused()
  const last = readLast(answer.toString())
  if (last.nonce !== nonce || last.binding !== Buffer.from(first.header).toString('base64')) throw refused()
  const signed = `${first.bare},${challenge},${last.unproven}`
  const signature = hmac(keys.storedKey, signed)
  if (last.proof.length !== signature.length) throw refused()
  const clientKey = Buffer.from(signature.map((byte, at) => byte ^ last.proof[at]!))
  if (!timingSafeEqual(hash(clientKey), keys.storedKey)) throw refused()
  void exchange(Buffer.from(`v=${hmac(keys.serverKey, signed).toString('base64')}`)) // needs no answer
  return first.user
}

/** `n,,n=user,r=nonce`; header `n,,` or `y,,`, with an optional identity that must be the user's own. */
const readFirst = (text: string) => {
  const found = /^([ny],(?:a=([^,]+))?,)(n=([^,]+),r=([!-+\--~]+))(?:,.*)?$/.exec(text)
  if (!found || (found[2] !== undefined && found[2] !== found[4])) throw refused()
  const [, header, , , name, nonce] = found
  const user = name!.replace(/=2C|=3D/g, (code) => (code === '=2C' ? ',' : '='))
  return { header: header!, bare: text.slice(header!.length), user, nonce: nonce! }
}

/** `c=channel binding,r=nonce,p=proof` */
const readLast = (text: string) => {
  const found = /^(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/.exec(text)
  if (!found) throw refused()
  const [, unproven, binding, nonce, proof] = found
  const bytes = Buffer.from(proof!, 'base64')
  if (bytes.toString('base64') !== proof) throw refused()
  return { unproven: unproven!, binding: binding!, nonce: nonce!, proof: bytes }
}
