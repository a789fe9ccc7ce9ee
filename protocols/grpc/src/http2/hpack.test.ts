import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Fields, HeaderDecoder, LIST_BYTES, literal, type Unfit } from './hpack.ts'

const runs = { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) }
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const decoded = (...blocks: string[]): (Fields | Unfit)[] => {
  const decoder = new HeaderDecoder()
  return blocks.map((block) => decoder.decode(hex(block)))
}

describe('header blocks', () => {
  it('are those of RFC 7541, appendix C', () => {
    const first = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com']
    const three = [
      first,
      [...first, 'cache-control', 'no-cache'],
      [':method', 'GET', ':scheme', 'https', ':path', '/index.html', ...first.slice(6), 'custom-key', 'custom-value'],
    ]
    const plain = [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ]
    const huffed = [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ]
    expect(decoded(...plain)).toEqual(three)
    expect(decoded(...huffed)).toEqual(three)
  })

  it('forget the oldest entry when the table is full, and all of it on request', () => {
    const long = 'x'.repeat(1_000)
    const enter = (name: string) =>
      Buffer.concat([Buffer.from([0x40]), literal(name, long).subarray(1)]).toString('hex')
    const five = ['a', 'b', 'c', 'd', 'e'].map(enter)
    expect(decoded(...five, 'c0')[5]).toEqual(['c', long])
    expect(() => decoded(...five, 'c1')).toThrow('no entry')
    expect(decoded(five[0]!, '20', '3fe11f82')[2]).toEqual([':method', 'GET'])
    expect(() => decoded(five[0]!, '20', 'be')).toThrow('no entry')
  })

  it('are refused where they are none', () => {
    for (const bad of [
      '80',
      'ff',
      'ffffffffffff',
      'be',
      '3fe21f',
      '8220',
      '00',
      '000161',
      '00816181',
      '0081ff',
      '0084ffffffff',
    ]) {
      expect(() => decoded(bad), bad).toThrow(
        expect.objectContaining({ code: 'malformed', about: 'COMPRESSION_ERROR' }),
      )
    }
  })

  it('are dropped when their list is too long, and the next one is decoded', () => {
    const enter = Buffer.concat([Buffer.from([0x40]), literal('a', 'y'.repeat(1_000)).subarray(1)])
    const decoder = new HeaderDecoder()
    const bomb = Buffer.concat([enter, Buffer.alloc(LIST_BYTES, 0xbe)])
    expect(decoder.decode(bomb)).toBe('ENHANCE_YOUR_CALM')
    expect(decoder.decode(Buffer.from([0xbe]))?.[0]).toBe('a')
  })

  it('with a field that is none of HTTP are no request, nor are those that name it again [RFC 9113 §8.2.1]', () => {
    const entered = (name: string, value: string) =>
      Buffer.concat([Buffer.from([0x40]), literal(name, value).subarray(1)])
    for (const [name, value] of [
      ['X-Said', 'a'],
      ['x said', 'a'],
      ['', 'a'],
      [':', 'a'],
      ['x:y', 'a'],
      ['x-said', 'a\nb'],
      ['x-said', 'a\rb'],
      ['x-said', 'a\0b'],
    ] as const) {
      const decoder = new HeaderDecoder()
      expect(decoder.decode(literal(name, value)), name).toBe('PROTOCOL_ERROR')
      expect(decoder.decode(Buffer.from([0x83]))).toEqual([':method', 'POST'])
      expect(decoder.decode(entered(name, value))).toBe('PROTOCOL_ERROR')
      expect(decoder.decode(Buffer.from([0x83]))).toEqual([':method', 'POST'])
      expect(decoder.decode(Buffer.from([0x83, 0xbe]))).toBe('PROTOCOL_ERROR')
    }
    expect(new HeaderDecoder().decode(literal('x-said', '  '))).toEqual(['x-said', '  '])
  })

  it('of garbage give fields or a Fault', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }), (blocks) => {
        const decoder = new HeaderDecoder()
        try {
          for (const block of blocks) decoder.decode(Buffer.from(block))
        } catch (error) {
          expect(error).toMatchObject({ about: 'COMPRESSION_ERROR' })
        }
      }),
      runs,
    )
  })

  it('of literals come back', () => {
    const text = fc.string({
      unit: fc.integer({ min: 14, max: 255 }).map((code) => String.fromCharCode(code)),
      maxLength: 300,
    })
    const letters = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
    const name = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(name, text, (name, value) => {
        expect(new HeaderDecoder().decode(literal(name, value))).toEqual([name, value])
      }),
      { numRuns: 1_000 },
    )
  })

  it('of another implementation are understood, with every character there is', async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`)
    client.on('error', () => undefined)
    const [socket] = (await once(server, 'connection')) as [net.Socket]
    const decoder = new HeaderDecoder()
    const seen: Fields[] = []
    let unread = Buffer.alloc(0)
    let skip = 24
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      if (unread.length < skip) return
      unread = unread.subarray(skip)
      skip = 0
      while (unread.length >= 9 && unread.length >= 9 + unread.readUIntBE(0, 3)) {
        const end = 9 + unread.readUIntBE(0, 3)
        // Node says a priority where it is asked for none.
        const from = 9 + (unread[4]! & 0x20 ? 5 : 0)
        if (unread[3] === 1) seen.push(decoder.decode(unread.subarray(from, end)) as Fields)
        unread = unread.subarray(end)
      }
    })
    const every = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter((one) =>
      /[\t\x20-\x7e\x80-\xff]/.test(one),
    )
    const values = [...every.map((one) => `a${one}a`), every.slice(1).join(''), '0'.repeat(500)]
    for (const [at, value] of values.entries()) {
      client
        .request({ ':method': 'POST', ':path': `/${at}`, 'x-value': value.trim(), 'x-other': String(at % 7) })
        .on('error', () => undefined)
    }
    while (seen.length < Math.min(values.length, 100)) await new Promise((resolve) => setTimeout(resolve, 5))
    client.destroy()
    socket.destroy()
    server.close()
    for (const fields of seen) {
      const at = Number(fields[fields.indexOf(':path') + 1]!.slice(1))
      expect(fields[fields.indexOf('x-value') + 1]).toBe(values[at]!.trim())
      expect(fields[fields.indexOf('x-other') + 1]).toBe(String(at % 7))
    }
  })
})
