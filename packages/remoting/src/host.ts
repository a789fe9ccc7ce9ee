import { isIPv4, isIPv6 } from 'node:net'

/** An address as a record has it: 4 or 16 bytes of IP, then the port as 4 bytes. */
export interface Host {
  readonly bytes: Buffer
  readonly v6: boolean
}

const pack = (ip: Buffer, port: number): Host => {
  const bytes = Buffer.alloc(ip.length + 4)
  ip.copy(bytes)
  bytes.writeUInt32BE(port, ip.length)
  return { bytes, v6: ip.length === 16 }
}

/** 0.0.0.0:0 where nothing is known. */
export const noHost: Host = pack(Buffer.alloc(4), 0)

const v4 = (text: string): Buffer => Buffer.from(text.split('.').map(Number))

const v6 = (text: string): Buffer => {
  const zone = text.indexOf('%')
  let plain = zone < 0 ? text : text.slice(0, zone)
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(plain)
  if (dotted) {
    const four = v4(dotted[2]!)
    plain = `${dotted[1]}${four.readUInt16BE(0).toString(16)}:${four.readUInt16BE(2).toString(16)}`
  }
  const [left = '', right] = plain.split('::')
  const groups = (part: string | undefined) => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [])
  const head = groups(left)
  const tail = groups(right)
  const ip = Buffer.alloc(16)
  head.forEach((group, at) => {
    ip.writeUInt16BE(group, at * 2)
  })
  tail.forEach((group, at) => {
    ip.writeUInt16BE(group, (8 - tail.length + at) * 2)
  })
  return ip
}

/** `1.2.3.4:80`, `[::1]:80`, or either without a port. Undefined: a name, not an address. */
export const parseHost = (text: string): Host | undefined => {
  const bracket = /^\[(.*)\](?::(\d{1,5}))?$/.exec(text)
  const plain = bracket ? undefined : /^([^:]*)(?::(\d{1,5}))?$/.exec(text)
  const ip = bracket?.[1] ?? plain?.[1] ?? text
  const port = Number(bracket?.[2] ?? plain?.[2] ?? 0)
  if (port > 65_535) return undefined
  if (isIPv4(ip)) return pack(v4(ip), port)
  return isIPv6(ip) ? pack(v6(ip), port) : undefined
}

/** IPv6 in full groups without leading zeros, in brackets. */
export const formatHost = (bytes: Buffer, at: number, isV6: boolean): string => {
  if (!isV6) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}:${bytes.readUInt32BE(at + 4)}`
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(at + index * 2).toString(16))
  return `[${shorten(groups)}]:${bytes.readUInt32BE(at + 16)}`
}

/** RFC 5952: the longest run of two or more zero groups becomes `::`. */
const shorten = (groups: readonly string[]): string => {
  let best = { from: 0, length: 1 }
  for (let from = 0; from < 8; from++) {
    let to = from
    while (to < 8 && groups[to] === '0') to++
    if (to - from > best.length) best = { from, length: to - from }
  }
  if (best.length < 2) return groups.join(':')
  return `${groups.slice(0, best.from).join(':')}::${groups.slice(best.from + best.length).join(':')}`
}

const CACHED_MAX = 1024
const cached = new Map<string, { readonly host: Host; readonly exact: boolean } | undefined>()

/** Producers send from the same address again and again. `exact`: its text comes back from the record as it was. */
export const knownHost = (text: string): { readonly host: Host; readonly exact: boolean } | undefined => {
  const found = cached.get(text)
  if (found || cached.has(text)) return found
  if (cached.size >= CACHED_MAX) cached.clear()
  const host = parseHost(text)
  const known = host && { host, exact: formatHost(host.bytes, 0, host.v6) === text }
  cached.set(text, known)
  return known
}
