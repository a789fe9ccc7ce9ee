import { isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Fault } from '../model.ts'
import { type ProxyHeader, readProxyHeader } from './proxyProtocol.ts'

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const v2 = (versionCommand: number, family: number, payload: Buffer) => {
  const fixed = Buffer.from([versionCommand, family, payload.length >> 8, payload.length & 255])
  return Buffer.concat([signature, fixed, payload])
}
const ports = (source: number, destination: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt16BE(source, 0)
  bytes.writeUInt16BE(destination, 2)
  return bytes
}
const port = fc.nat(65_535)
const ipv4 = fc.ipV4()
const six = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => bytes[0] !== 0)

const header: fc.Arbitrary<{ bytes: Buffer; source?: { address: string; port: number } | undefined }> = fc.oneof(
  fc.tuple(ipv4, ipv4, port, port).map(([from, to, fromPort, toPort]) => ({
    bytes: Buffer.from(`PROXY TCP4 ${from} ${to} ${fromPort} ${toPort}\r\n`),
    source: { address: from, port: fromPort },
  })),
  fc
    .tuple(fc.ipV6(), fc.ipV6(), port, port)
    .filter(([from, to]) => isIPv6(from) && isIPv6(to))
    .map(([from, to, fromPort, toPort]) => ({
      bytes: Buffer.from(`PROXY TCP6 ${from} ${to} ${fromPort} ${toPort}\r\n`),
      source: { address: from, port: fromPort },
    }))
    .filter(({ bytes }) => bytes.length <= 107),
  fc.string({ unit: fc.constantFrom(...'abc 1:.'), maxLength: 80 }).map((noise) => ({
    bytes: Buffer.from(`PROXY UNKNOWN${noise === '' ? '' : ` ${noise}`}\r\n`),
  })),
  fc.tuple(ipv4, ipv4, port, port, fc.uint8Array({ maxLength: 100 })).map(([from, to, fromPort, toPort, tlvs]) => ({
    bytes: v2(
      0x21,
      0x11,
      Buffer.concat([Buffer.from([...from.split('.'), ...to.split('.')].map(Number)), ports(fromPort, toPort), tlvs]),
    ),
    source: { address: from, port: fromPort },
  })),
  fc.tuple(six, six, port, port, fc.uint8Array({ maxLength: 100 })).map(([from, to, fromPort, toPort, tlvs]) => ({
    bytes: v2(0x21, 0x21, Buffer.concat([from, to, ports(fromPort, toPort), tlvs])),
    source: {
      address: new URL(`http://[${Buffer.from(from).toString('hex').match(/.{4}/g)!.join(':')}]`).hostname.slice(1, -1),
      port: fromPort,
    },
  })),
  fc.tuple(fc.constantFrom(0x00, 0x11, 0x21, 0x31), fc.uint8Array({ maxLength: 60 })).map(([family, payload]) => ({
    bytes: v2(0x20, family, Buffer.from(payload)),
  })),
  fc
    .tuple(fc.constantFrom(0x00, 0x12, 0x22, 0x31, 0x32), fc.uint8Array({ maxLength: 250 }))
    .map(([family, payload]) => ({
      bytes: v2(0x21, family, Buffer.from(payload)),
    })),
)

const read = (bytes: Buffer): ProxyHeader | undefined | false | string => {
  try {
    return readProxyHeader(bytes)
  } catch (error) {
    if (!Fault.is(error) || error.code !== 'malformed') throw error
    return error.message
  }
}

describe('PROXY header', () => {
  it('of either version is read off the front, with its addresses', () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 20 }), ({ bytes, source }, after) => {
        const got = read(Buffer.concat([bytes, after]))
        expect(got).toMatchObject({ length: bytes.length })
        expect((got as ProxyHeader).source).toEqual(source)
        expect((got as ProxyHeader).destination === undefined).toBe(source === undefined)
      }),
      { numRuns: 3_000 },
    )
  })

  it('that is not complete wants more, at every byte', () => {
    fc.assert(
      fc.property(header, ({ bytes }) => {
        for (let length = 0; length < bytes.length; length++) expect(read(bytes.subarray(0, length))).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  it('of anything at all is a header, none, too few bytes or a fault, and never longer than it may be', () => {
    const begun = fc
      .tuple(
        fc.constantFrom(signature, Buffer.from('PROXY '), Buffer.from('PROXY TCP4 ')),
        fc.uint8Array({ maxLength: 200 }),
      )
      .map((parts) => Buffer.concat(parts))
    fc.assert(
      fc.property(
        fc.oneof(
          begun,
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          const got = read(bytes)
          if (typeof got === 'object') expect(got.length).toBeLessThanOrEqual(bytes.length)
        },
      ),
      { numRuns: 10_000 },
    )
  })

  it('of nobody begins with other bytes', () => {
    for (const other of ['GET / HTTP/1.1', 'PROXZ', '\x16\x03', 'proxy TCP4', 'PRI * HTTP/2.0'])
      expect(read(Buffer.from(other))).toBe(false)
    expect(read(Buffer.from('PR'))).toBeUndefined()
    expect(read(Buffer.from('PRI'))).toBe(false)
  })

  it('version 1 is refused for what is wrong with it', () => {
    const bad: Record<string, string> = {
      'PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n': 'port out of range',
      'PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n': 'port out of range',
      'PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n': 'port out of range',
      'PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n': 'fields',
      'PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n': 'fields',
      'PROXY \r\n': 'fields',
      'PROXY TCP4 999.2.3.4 5.6.7.8 1 2\r\n': 'address',
      'PROXY TCP4 ... 5.6.7.8 1 2\r\n': 'address',
      'PROXY TCP4 ::1 5.6.7.8 1 2\r\n': 'address',
      'PROXY TCP6 1.2.3.4 ::1 1 2\r\n': 'address',
      'PROXY TCP6 ::1::2 ::1 1 2\r\n': 'address',
    }
    for (const [line, reason] of Object.entries(bad)) expect(read(Buffer.from(line))).toBe(`PROXY header: ${reason}`)
    expect(read(Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}`))).toBe('PROXY header: line over 107 bytes')
    expect(read(Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}\r\n`))).toBe('PROXY header: line over 107 bytes')
  })

  it('version 2 is refused for what is wrong with it', () => {
    expect(read(v2(0x11, 0x11, Buffer.alloc(12)))).toBe('PROXY header: version')
    expect(read(v2(0x22, 0x11, Buffer.alloc(12)))).toBe('PROXY header: command')
    expect(read(v2(0x21, 0x11, Buffer.alloc(11)))).toBe('PROXY header: too short for its addresses')
    expect(read(v2(0x21, 0x21, Buffer.alloc(35)))).toBe('PROXY header: too short for its addresses')
    // Announced, and refused before it comes.
    expect(read(v2(0x21, 0x11, Buffer.alloc(5_000)).subarray(0, 16))).toBe('PROXY header: over 4096 bytes')
  })

  it('gives an IPv4 address in IPv6 clothes as IPv4', () => {
    const mapped = Buffer.from('00000000000000000000ffffc0000207', 'hex')
    expect(read(v2(0x21, 0x21, Buffer.concat([mapped, mapped, ports(1, 2)])))).toMatchObject({
      source: { address: '192.0.2.7', port: 1 },
    })
  })
})
