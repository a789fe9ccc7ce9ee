import { isIPv4, isIPv6 } from 'node:net'
import { Fault } from '../model.ts'

/**
 * PROXY protocol, both versions, as HAProxy's specification gives them.
 *   v1 = "PROXY " ( "TCP4" | "TCP6" ) " " source " " destination " " port " " port CRLF | "PROXY UNKNOWN" … CRLF   ≤ 107 bytes
 *   v2 = 0D0A0D0A 000D0A51 5549540A · version/command u8 · family u8 · length u16 · addresses · TLVs
 */
export interface ProxyHeader {
  /** Bytes that the header took. */
  readonly length: number
  /** Undefined for LOCAL and UNKNOWN: a health check, or a sender that cannot say. */
  readonly source?: { readonly address: string; readonly port: number }
  readonly destination?: { readonly address: string; readonly port: number }
}

const V2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V1 = Buffer.from('PROXY ')
const V1_MAX = 107
/** Addresses and TLVs; the largest that senders make is far below. */
const V2_MAX = 4096

const begins = (head: Buffer, prefix: Buffer): boolean | undefined => {
  const common = Math.min(head.length, prefix.length)
  if (head.compare(prefix, 0, common, 0, common) !== 0) return false
  return head.length >= prefix.length ? true : undefined
}

/**
 * Reads a header off the first bytes of a connection.
 * @returns the header; `undefined`: too few bytes to say; `false`: these bytes begin no header
 * @throws Fault 'malformed' for a header that is broken
 */
export const readProxyHeader = (head: Buffer): ProxyHeader | undefined | false => {
  const v2 = begins(head, V2)
  if (v2 !== false) return v2 && readV2(head)
  const v1 = begins(head, V1)
  return v1 && readV1(head)
}

const broken = (why: string) => new Fault('malformed', `PROXY header: ${why}`)

const port = (text: string): number => {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(value <= 65535)) throw broken('port out of range')
  return value
}

const readV1 = (head: Buffer): ProxyHeader | undefined => {
  const end = head.indexOf('\r\n')
  if (end > V1_MAX - 2 || (end < 0 && head.length >= V1_MAX)) throw broken('line over 107 bytes')
  if (end < 0) return undefined
  const [, family, source, destination, sourcePort, destinationPort, ...more] = head
    .toString('latin1', 0, end)
    .split(' ')
  if (family === 'UNKNOWN') return { length: end + 2 }
  if ((family !== 'TCP4' && family !== 'TCP6') || !source || !destination || more.length > 0) throw broken('fields')
  const isAddress = family === 'TCP4' ? isIPv4 : isIPv6
  if (!isAddress(source) || !isAddress(destination)) throw broken('address')
  return {
    length: end + 2,
    source: { address: source, port: port(sourcePort ?? '') },
    destination: { address: destination, port: port(destinationPort ?? '') },
  }
}

const readV2 = (head: Buffer): ProxyHeader | undefined => {
  if (head.length < 16) return undefined
  const version = head.readUInt8(12) >> 4
  const command = head.readUInt8(12) & 15
  const family = head.readUInt8(13)
  const size = head.readUInt16BE(14)
  if (version !== 2) throw broken('version')
  if (size > V2_MAX) throw broken(`over ${V2_MAX} bytes`)
  const length = 16 + size
  if (head.length < length) return undefined
  if (command === 0) return { length } // LOCAL
  if (command !== 1) throw broken('command')
  const bytes = family === 0x11 ? 4 : family === 0x21 ? 16 : 0
  if (bytes === 0) return { length } // a family without IP addresses
  if (size < 2 * bytes + 4) throw broken('too short for its addresses')
  const address = (at: number) => (bytes === 4 ? head.subarray(at, at + 4).join('.') : ipv6(head.subarray(at, at + 16)))
  return {
    length,
    source: { address: address(16), port: head.readUInt16BE(16 + 2 * bytes) },
    destination: { address: address(16 + bytes), port: head.readUInt16BE(18 + 2 * bytes) },
  }
}

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

/** An IPv4 address in IPv6 clothes comes out as IPv4: access rules know it so. */
const ipv6 = (bytes: Buffer): string => {
  if (MAPPED.equals(bytes.subarray(0, 12))) return bytes.subarray(12).join('.')
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16))
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1)
}
