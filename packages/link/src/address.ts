import { type Address, Fault, isLoopback, parseAddress } from '@sluice/core'

export type LinkAddress = { readonly path: string } | Address

/**
 * `unix:PATH`, a path with a slash in it, or `host:port` with IPv6 in brackets. Port 0, to listen: any free one.
 * @throws Fault 'invalid' about 'address'
 */
export const parseLinkAddress = (text: string): LinkAddress => {
  if (text.startsWith('unix:') && text.length > 5) return { path: text.slice(5) }
  if (text.includes('/')) return { path: text }
  const address = parseAddress(text, 0)
  if (!address) throw new Fault('invalid', `${text} is neither unix:PATH nor host:port`, { about: 'address' })
  return address
}

export const formatLinkAddress = (address: LinkAddress): string =>
  'path' in address
    ? `unix:${address.path}`
    : `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`

const SECRET_MIN = 16

/**
 * Who reaches a broker may do everything there: beyond this machine it wants to see a secret.
 * @throws Fault 'invalid' about 'secret'
 */
export const checkSecret = (address: LinkAddress, secret: string | undefined): void => {
  const refuse = (why: string) => new Fault('invalid', `${formatLinkAddress(address)}: ${why}`, { about: 'secret' })
  if (secret !== undefined && secret.length < SECRET_MIN) throw refuse(`a secret has ${SECRET_MIN} characters at least`)
  if (secret === undefined && 'host' in address && !isLoopback(address.host))
    throw refuse('reachable from other machines, so a secret is needed that both ends know')
}
