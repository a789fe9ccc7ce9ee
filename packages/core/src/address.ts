import { isIP } from 'node:net'

export interface Address {
  readonly host: string
  readonly port: number
}

/** `host:port`, IPv6 in brackets. Undefined: not that. @param least port; 0 where any free one may be meant */
export const parseAddress = (text: string, least: 0 | 1 = 1): Address | undefined => {
  const found = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text)
  if (!found) return undefined
  const [, six, name, digits] = found
  const port = Number(digits)
  if (port < least || port > 65_535 || (six !== undefined && isIP(six) !== 6)) return undefined
  return { host: (six ?? name)!, port }
}

/** Whether only this machine can reach it. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
