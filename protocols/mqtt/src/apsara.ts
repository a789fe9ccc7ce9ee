import { type Credentials, Fault, splitPath } from '@sluice/core'

/** The conventions of ApsaraMQ for MQTT, where they are more than MQTT. */

/** Longest client id, in characters. */
const CLIENT_ID_MAX = 64

/** `GID_group@@@device`. @throws Fault 'invalid' about 'client' */
export const checkDevice = (clientId: string): void => {
  if (clientId.length > CLIENT_ID_MAX || !/^GID[_-][\w-]+@@@.+$/s.test(clientId)) {
    throw new Fault('invalid', `a client id is GID_group@@@device, ${CLIENT_ID_MAX} characters at most`, {
      about: 'client',
    })
  }
}

const SIGNED = /^(?:Signature|DeviceCredential)\|([^|]+)\|[^|]*$/

/**
 * User `Signature|access key|instance`, password Base64(HMAC-SHA1(client id, secret key)); a device's own key likewise.
 * @returns undefined for a user of another form (a token, a plain name): user and password as they are
 */
export const readSignature = (
  clientId: string,
  user: string | undefined,
  password: Buffer | undefined,
): Pick<Credentials, 'user' | 'signed'> | undefined => {
  const key = user === undefined ? undefined : SIGNED.exec(user)?.[1]
  if (key === undefined || !password) return undefined
  const digest = Buffer.from(password.toString('latin1'), 'base64')
  return { user: key, signed: { algorithm: 'hmac-sha1', content: Buffer.from(clientId), digest } }
}

/** `{parent}/p2p/{client id}`: for that client alone, whatever it has subscribed to. */
export const readRecipient = (topic: string): string | undefined => {
  const { path } = splitPath(topic)
  if (!path?.startsWith('p2p/')) return undefined
  const clientId = path.slice('p2p/'.length).replace(/\/$/, '')
  return clientId === '' ? undefined : clientId
}
