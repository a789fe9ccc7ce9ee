import type { IncomingHttpHeaders } from 'node:http'
import { type Credentials, Fault, type Peer } from '@sluice/core'

const CLIENT_MAX = 255

/**
 * Who asks: `Authorization: Basic` (RFC 7617, UTF-8) as mechanism PLAIN, `Bearer` (RFC 6750) as OAUTHBEARER, none as
 * nobody. `x-mq-client-id` is what the client calls itself.
 * @throws Fault 'unauthenticated' for a header that cannot be read or a scheme that is neither
 */
export const credentialsOf = (headers: IncomingHttpHeaders, peer: Peer, client: string): Credentials => {
  const named = headers['x-mq-client-id']
  const base = {
    protocol: 'http',
    client: typeof named === 'string' && named !== '' ? checkedName(named) : client,
    language: '',
    version: 0,
    peer,
  }
  const { authorization } = headers
  if (authorization === undefined) return base
  const [, scheme = '', token = ''] = /^([\w-]+) +([\w\-.~+/]+=*)$/.exec(authorization) ?? []
  switch (scheme.toLowerCase()) {
    case 'basic': {
      const pair = Buffer.from(token, 'base64')
      const colon = pair.indexOf(0x3a)
      if (colon < 0) throw new Fault('unauthenticated', 'Basic credentials have no colon')
      return { ...base, mechanism: 'PLAIN', user: pair.toString('utf8', 0, colon), secret: pair.subarray(colon + 1) }
    }
    case 'bearer':
      return { ...base, mechanism: 'OAUTHBEARER', secret: Buffer.from(token) }
    default:
      throw new Fault('unauthenticated', 'Authorization is neither Basic nor Bearer')
  }
}

const checkedName = (name: string): string => {
  if (name.length > CLIENT_MAX || !/^[\x21-\x7e]+$/.test(name)) {
    throw new Fault('invalid', `x-mq-client-id is not 1 to ${CLIENT_MAX} visible ASCII characters`, {
      about: 'x-mq-client-id',
    })
  }
  return name
}
