import { type Credentials, Fault, type Peer } from '@sluice/core'

/** Of a request's metadata: the first value of this name, undefined when absent. */
export type Header = (name: string) => string | undefined

/** Longest client id that is taken. */
const CLIENT_ID_MAX = 255

/**
 * Who sends a request, by its metadata.
 *   authorization = algorithm " " "Credential=" key *( "/" scope ) ", SignedHeaders=" names ", Signature=" hex
 * The signature covers the value of `x-mq-date-time` and nothing else; clients write local time with a `Z`, so its age
 * says nothing. Python signs with an empty key when it has none: no credentials.
 * @throws Fault 'malformed' about 'client', 'unauthenticated' for a header that is none
 */
export const credentialsOf = (header: Header, peer: Peer): Credentials => {
  const client = header('x-mq-client-id')?.trim() ?? ''
  if (client === '' || client.length > CLIENT_ID_MAX) {
    throw new Fault('malformed', `x-mq-client-id has 1 to ${CLIENT_ID_MAX} characters`, { about: 'client' })
  }
  const base = {
    protocol: 'grpc',
    client,
    language: header('x-mq-language') ?? '',
    version: versionOf(header('x-mq-client-version')),
    peer,
  }
  const authorization = header('authorization')
  const parts = authorization === undefined ? undefined : partsOf(authorization)
  const user = parts?.get('Credential')?.split('/')[0]
  if (!parts || !user) return base
  const signature = parts.get('Signature') ?? ''
  const date = header('x-mq-date-time')
  if (date === undefined || !/^([0-9a-fA-F]{2})+$/.test(signature)) {
    throw new Fault('unauthenticated', 'authorization without a signature over x-mq-date-time')
  }
  return {
    ...base,
    user,
    signed: { algorithm: 'hmac-sha1', content: Buffer.from(date), digest: Buffer.from(signature, 'hex') },
  }
}

/** The name of the algorithm is not looked at, as in the proxy. */
const partsOf = (authorization: string): ReadonlyMap<string, string> => {
  const parts = new Map<string, string>()
  for (const part of authorization.slice(authorization.indexOf(' ') + 1).split(',')) {
    const equals = part.indexOf('=')
    if (equals > 0) parts.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim())
  }
  return parts
}

/** `5.2.1-rc` → 50201; 0 when it is none. */
const versionOf = (text: string | undefined): number => {
  const parts = /^(\d{1,3})\.(\d{1,2})\.(\d{1,2})/.exec(text ?? '')
  return parts ? Number(parts[1]) * 10_000 + Number(parts[2]) * 100 + Number(parts[3]) : 0
}
