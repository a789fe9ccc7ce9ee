import { isDeepStrictEqual } from 'node:util'
import { crc32 } from 'node:zlib'
import { Fault, type Message, names } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatHost, parseHost } from './host.ts'
import { deliverAtOf, editProperties, PropertyView, propertyText, scanProperties, system } from './properties.ts'
import {
  freshRecord,
  isRecord,
  offsetMsgId,
  offsetMsgIdIn,
  parseOffsetMsgId,
  type StoredRecord,
  splitRecords,
  viewRecord,
} from './record.ts'
import { hasNameFrom } from './recordNames.ts'
import { encodeRecord } from './recordOut.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const store = parseHost('10.1.2.3:10911')!
const place = { queue: 2, offset: 7, place: 4096, storedAt: 1_700_000_000_123 }
const encode = (message: Message, more = {}) => encodeRecord(message, store, { ...place, ...more })
const view = (message: Message, more = {}) => viewRecord(encode(message, more), 'n')
const plain: Message = { topic: 'T', body: Buffer.from('hello'), properties: {} }

const fields = (
  'topic body properties id path tag keys group priority deliverAt expiresAt half encoding contentType correlationId ' +
  'replyTo retain bornAt bornHost traceparent via original queue offset place storedAt'
).split(' ') as (keyof StoredRecord)[]

/** A record of topic T, body `hello`, queue 2, offset 7, place 4096, made by hand from RocketMQ's MessageDecoder. */
const golden = [
  '00000066 daa320a7 3610a686 00000002 00000000 0000000000000007 0000000000001000 00000000',
  '0000018bcfe56800 01020304 00000050 0000018bcfe5687b 0a010203 00002a9f 00000000 0000000000000000',
  '00000005 68656c6c6f 01 54 0006',
].join(' ')

describe('record', () => {
  it('is byte for byte what RocketMQ stores', () => {
    const record = encode({
      ...plain,
      packed: Buffer.from('TAGS\x01'),
      bornAt: 1_700_000_000_000,
      bornHost: '1.2.3.4:80',
    })
    const expected = Buffer.from(golden.replaceAll(' ', ''), 'hex')
    // the property string of this message is five bytes: the golden text stops before it and its length
    expected.writeInt32BE(record.length, 0)
    expect(record.subarray(0, expected.length - 2).toString('hex')).toBe(expected.subarray(0, -2).toString('hex'))
    expect(crc32('hello') & 0x7fffffff).toBe(0x3610a686)
    expect(isRecord(record)).toBe(true)
  })

  it('is known to have a property whose name begins so', () => {
    const has = (packed: string, topic = 'T') => {
      const message = { ...plain, topic, body: Buffer.from('\x02x-mq-more\x01x'), packed: Buffer.from(packed) }
      return [store, parseHost('[::1]:1')!].map((host) =>
        hasNameFrom(encodeRecord(message, host, place, '[::2]:2'), 0x78),
      )
    }
    for (const yes of ['x\x01y', 'TAGS\x01a\x02x-mq-more\x01b\x02', 'TAGS\x01a\x02x'])
      expect([has(yes), has(yes, 'T'.repeat(200))].flat()).toEqual([true, true, true, true])
    for (const no of ['', 'TAGS\x01x\x02', 'KEYS\x01x x\x02ax\x01x\x02', '\x02'])
      expect([has(no), has(no, 'T'.repeat(200))].flat()).toEqual([false, false, false, false])
  })

  it('keeps a property string as it came', () => {
    const packed = Buffer.from('UNIQ_KEY\x01AB\x02TAGS\x01x\x02KEYS\x01a b\x02odd\x01v')
    const message = view({ ...plain, packed })
    expect(message.packed.equals(packed)).toBe(true)
    expect([message.id, message.tag, message.keys, message.properties]).toEqual(['AB', 'x', ['a', 'b'], { odd: 'v' }])
  })

  it('uses a two-byte topic length above 127 bytes', () => {
    const topic = 'x'.repeat(128)
    const message = view({ ...plain, topic })
    expect(message.record.readUInt32BE(4)).toBe(0xdaa320ab)
    expect([message.topic, message.body.toString()]).toEqual([topic, 'hello'])
  })

  it('keeps IPv6 hosts and host names', () => {
    const six = view({ ...plain, bornHost: '[2001:db8::1]:443' })
    expect([six.bornHost, six.sysFlag, six.storeHost]).toEqual(['[2001:db8::1]:443', 0x10, '10.1.2.3:10911'])
    expect(view({ ...plain, bornHost: 'box.local' }).bornHost).toBe('box.local')
    const stored = viewRecord(encodeRecord(plain, parseHost('[::1]:9')!, place), 'n')
    expect([stored.storeHost, stored.sysFlag, stored.offsetMsgId.length]).toEqual(['[::1]:9', 0x20, 56])
  })

  it('says encodings in the system flag', () => {
    for (const [encoding, flag] of [
      ['zlib', 0x301],
      ['lz4', 0x101],
      ['zstd', 0x201],
      ['gzip', 0],
    ] as const) {
      const message = view({ ...plain, encoding })
      expect([message.encoding, message.sysFlag]).toEqual([encoding, flag])
    }
  })

  it('keeps the user flag of a remoting producer', () => {
    const original = { protocol: 'remoting', bytes: Buffer.from([0, 0, 1, 2]) }
    const message = view({ ...plain, packed: Buffer.alloc(0), original })
    expect([message.record.readInt32BE(16), message.original]).toEqual([0x102, original])
  })

  it('refuses properties over 32,767 bytes', () => {
    expect(() => encode({ ...plain, properties: { long: 'x'.repeat(33_000) } })).toThrow(Fault)
    expect(() => encode({ ...plain, packed: Buffer.alloc(32_768) })).toThrow(/32767/)
    expect(() => encode({ ...plain, packed: Buffer.alloc(32_767, 'x') })).not.toThrow()
  })

  it('does not trust what strangers write into our own property', () => {
    for (const text of [
      'x',
      '%',
      Buffer.from('[1]').toString('base64'),
      Buffer.from('{"user":[["a",1]]}').toString('base64'),
    ])
      expect(new PropertyView(Buffer.from(`${names.more}\x01${text}\x02`)).properties).toEqual({})
  })

  it('splits a body of records and refuses one that does not fit', () => {
    const one = encode(plain)
    const two = encode({ ...plain, body: Buffer.alloc(0) })
    expect(splitRecords(Buffer.concat([one, two])).map((record) => record.length)).toEqual([one.length, two.length])
    expect(() => splitRecords(Buffer.concat([one, two.subarray(0, 50)]))).toThrow(/record length/)
    expect(() => splitRecords(Buffer.alloc(200))).toThrow(/record length/)
  })

  it('gives every message back as it was put', () => {
    const word = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.string({ maxLength: 8, unit: 'binary' }),
      fc.constantFrom('', '\x01', '\\', 'a\x02b', 'TAGS', 'UNIQ_KEY', '__proto__', '\ud800', ' ', 'x-mq-more'),
    )
    const time = fc.integer({ min: 0, max: 2 ** 42 })
    const some = fc.option(word, { nil: undefined })
    const message = fc.record(
      {
        topic: fc.stringMatching(/^[a-z]{1,130}$/),
        body: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
        properties: fc.array(fc.tuple(word, word), { maxLength: 4 }).map((list) => Object.fromEntries(list)),
        id: some,
        path: word,
        tag: some,
        keys: fc.array(word, { minLength: 1, maxLength: 3 }),
        group: some,
        priority: fc.nat(9),
        deliverAt: time,
        expiresAt: time,
        half: fc.constantFrom({}, { checkAfter: 5000 }, { checkAfter: 1500 }),
        encoding: fc.constantFrom('zlib', 'lz4', 'zstd', 'gzip'),
        contentType: some,
        correlationId: some,
        replyTo: some,
        retain: fc.constant(true),
        bornAt: time,
        bornHost: fc.constantFrom('1.2.3.4:5', '[::1]:80', '[fe80::1:0:0:1]:65535', 'name', '9.9.9.9'),
        traceparent: some,
        via: fc.constantFrom('mqtt', 'amqp'),
        original: fc.record({
          protocol: fc.constantFrom('mqtt', 'amqp'),
          bytes: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
        }),
      },
      { requiredKeys: ['topic', 'body', 'properties'] },
    )
    fc.assert(
      fc.property(message, (put) => {
        const got = view(put as Message)
        for (const [field, value] of Object.entries(put)) {
          if (value === undefined || isDeepStrictEqual(got[field as keyof Message], value)) continue
          expect(got[field as keyof Message], field).toEqual(value)
        }
        expect(got.packed.toString()).toBe(propertyText(put as Message) + hostText(put.bornHost))
        // Who reads at once is told what who reads later is told.
        const fresh = freshRecord(got.record, 'n', put as Message)
        for (const field of fields) {
          if (isDeepStrictEqual(fresh[field], got[field])) continue
          expect(fresh[field], field).toEqual(got[field])
        }
      }),
      { numRuns },
    )
  })

  it('looks at any property bytes without throwing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const packed = Buffer.from(bytes)
        const seen = new PropertyView(packed)
        const all: (keyof PropertyView)[] = [
          'properties',
          'id',
          'keys',
          'path',
          'deliverAt',
          'half',
          'original',
          'encoding',
        ]
        for (const name of all) void seen[name]
        const scanned = new Map<string, string>()
        scanProperties(packed, (name, from, to) => scanned.set(name, packed.toString('utf8', from, to)))
        for (const [name, value] of scanned) expect(seen.get(name)).toBe(value)
      }),
      { numRuns: Math.min(numRuns, 10_000) },
    )
  })
})

const hostText = (host: string | undefined) =>
  host === 'name' || host === '9.9.9.9' ? `${names.bornHost}\x01${host}\x02` : ''

describe('properties', () => {
  it('reads delays in RocketMQ’s order', () => {
    const at = (text: string) => deliverAtOf(new PropertyView(Buffer.from(text)), 1000)
    expect(at('TIMER_DELIVER_MS\x015\x02')).toBe(5)
    expect(at('TIMER_DELIVER_MS\x015\x02TIMER_DELAY_MS\x0110\x02')).toBe(1010)
    expect(at('TIMER_DELAY_SEC\x012\x02TIMER_DELAY_MS\x0110\x02')).toBe(3000)
    expect(at('TIMER_DELAY_SEC\x012\x02DELAY\x013\x02')).toBe(11_000)
    expect(at('DELAY\x0199\x02')).toBe(7_201_000)
    expect(at('DELAY\x010\x02')).toBeUndefined()
    expect(at('TIMER_DELIVER_MS\x01soon\x02')).toBeUndefined()
  })

  it('edits a string without touching the rest', () => {
    const packed = Buffer.from('A\x011\x02DELAY\x013\x02B\x012\x02')
    const edited = editProperties(packed, new Set([system.delayLevel]), { B: '3', C: '4' })
    expect(edited.toString()).toBe('A\x011\x02B\x013\x02C\x014\x02')
  })
})

describe('host', () => {
  it('writes and reads addresses', () => {
    for (const text of [
      '0.0.0.0:0',
      '255.1.2.3:65535',
      '[::]:1',
      '[::1]:80',
      '[1::]:80',
      '[2001:db8::ff00:42:8329]:1',
    ]) {
      const host = parseHost(text)!
      expect(formatHost(host.bytes, 0, host.v6)).toBe(text)
    }
    expect(formatHost(parseHost('[::ffff:1.2.3.4]:5')!.bytes, 0, true)).toBe('[::ffff:102:304]:5')
    for (const text of ['box', 'box:80', '1.2.3:4', '1.2.3.4:99999', '']) expect(parseHost(text)).toBeUndefined()
  })

  it('makes ids of one store as of any', () => {
    const place = fc.oneof(fc.nat(200_000), fc.nat(2 ** 31), fc.integer({ min: 2 ** 40, max: 2 ** 52 }))
    const stores = [store, parseHost('[2001:db8::1]:9')!, parseHost('10.1.2.4:1')!]
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...stores), place), { maxLength: 6 }), (list) => {
        for (const [host, at] of list) expect(offsetMsgIdIn(host, at)).toBe(offsetMsgId(host.bytes, at))
      }),
      { numRuns: 2_000 },
    )
  })

  it('makes ids that lead back', () => {
    const id = offsetMsgId(store.bytes, 2 ** 45 + 5)
    expect(id).toBe('0A01020300002A9F0000200000000005')
    expect(parseOffsetMsgId(id)).toEqual({ host: '10.1.2.3:10911', place: 2 ** 45 + 5 })
    expect(parseOffsetMsgId('xyz')).toBeUndefined()
    expect(parseOffsetMsgId('F'.repeat(32))).toBeUndefined()
  })
})
