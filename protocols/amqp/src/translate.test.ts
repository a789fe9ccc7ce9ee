import { type Delivered, Fault, type Message, type StoredMessage } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { messages } from '../test/arbitrary.ts'
import { readMessage } from './message.ts'
import { ORIGINAL_MAX, packOriginal, unpackOriginal } from './original.ts'
import { writeComposite } from './performatives.ts'
import type { CompositeOf } from './shapes.ts'
import { toMessage, toOutcome, toPayload } from './translate.ts'
import { mapOf, symbol, type Value } from './types/values.ts'
import { Writer } from './types/writer.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const NOW = 1_767_225_600_000
const TO = { topic: 'orders' }

const stored = (message: Message, more: Partial<StoredMessage> = {}): StoredMessage => ({
  id: 'minted',
  bornAt: NOW,
  bornHost: '10.0.0.1:5',
  queue: { topic: message.topic, node: 'n', index: 0 },
  offset: 0,
  place: 0,
  storedAt: NOW,
  ...message,
  ...more,
})
const delivered = (message: StoredMessage, attempt = 1): Delivered => ({ message, attempt })
const payload = (message: StoredMessage, attempt = 1) => Buffer.concat(toPayload(delivered(message, attempt), NOW))

const section = (code: number, value: Value): Buffer => {
  const writer = new Writer()
  writer.u8(0)
  writer.u8(0x53)
  writer.u8(code)
  writer.value(value)
  return writer.copy()
}
const properties = (fields: Omit<CompositeOf<'properties'>, 'type'>): Buffer => {
  const writer = new Writer()
  writeComposite(writer, { type: 'properties', ...fields })
  return writer.copy()
}
const header = (fields: Omit<CompositeOf<'header'>, 'type'>): Buffer => {
  const writer = new Writer()
  writeComposite(writer, { type: 'header', ...fields })
  return writer.copy()
}
const application = (entries: readonly (readonly [Value, Value])[]) => section(0x74, mapOf(entries))
const data = (text: string) => section(0x75, Buffer.from(text))
const published = (...sections: Buffer[]) => toMessage(Buffer.concat(sections), TO, NOW).message

describe('a message of an AMQP producer', () => {
  it('reaches an AMQP consumer byte for byte, or says the same by the model alone', () => {
    fc.assert(
      fc.property(messages, ({ hop, kept }) => {
        const bytes = Buffer.concat([hop, kept])
        const { message, lost } = toMessage(bytes, TO, NOW)
        expect(lost).toBe(false)
        const again = payload(stored(message))
        const sections = readMessage(again)
        if (message.original) {
          expect(again.subarray(sections.from).toString('hex')).toBe(kept.toString('hex'))
          return
        }
        const before = readMessage(bytes)
        const {
          messageId = 'minted',
          creationTime = NOW,
          absoluteExpiryTime = message.expiresAt,
          ...rest
        } = before.properties ?? {}
        expect(sections.properties).toEqual({
          type: 'properties',
          ...absent,
          ...rest,
          messageId,
          creationTime,
          absoluteExpiryTime,
        })
        expect(sorted(sections.application)).toEqual(sorted(before.application))
        expect(bodyBytes(again)).toEqual(bodyBytes(bytes))
      }),
      { numRuns },
    )
  })

  it('of any bytes is read or refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 48 }),
        fc.constantFrom('', '005375', '005377', '005373', '005374'),
        (tail, head) => {
          try {
            toMessage(Buffer.concat([Buffer.from(head, 'hex'), tail]), TO, NOW)
          } catch (error) {
            if (!Fault.is(error)) throw error
          }
        },
      ),
      { numRuns },
    )
  })

  it('gives every field of the model its place', () => {
    const message = published(
      header({ durable: true, priority: 7, ttl: 1000 }),
      section(0x72, mapOf([[symbol('x-opt-delivery-time'), { type: 'timestamp', value: NOW + 5000 }]])),
      properties({
        messageId: 'id-1',
        subject: 'red',
        replyTo: '/topics/replies',
        correlationId: 'c-1',
        contentType: 'text/plain',
        contentEncoding: 'gzip',
        absoluteExpiryTime: NOW + 9000,
        creationTime: NOW - 1,
        groupId: 'g-1',
      }),
      application([
        ['a', 'b'],
        ['x-mq-key', 'k1 k2'],
        ['traceparent', '00-x-y-01'],
        ['x-mq-retain', 'true'],
      ]),
      data('hello'),
    )
    const { original, ...model } = message
    expect(model).toEqual({
      topic: 'orders',
      body: Buffer.from('hello'),
      properties: { a: 'b' },
      id: 'id-1',
      tag: 'red',
      replyTo: 'replies',
      correlationId: 'c-1',
      contentType: 'text/plain',
      encoding: 'gzip',
      expiresAt: NOW + 9000,
      bornAt: NOW - 1,
      group: 'g-1',
      keys: ['k1', 'k2'],
      traceparent: '00-x-y-01',
      retain: true,
      priority: 7,
      deliverAt: NOW + 5000,
      via: 'amqp',
    })
    expect(original?.protocol).toBe('amqp') // reply-to is written otherwise
  })

  it.each<[string, Buffer[], Partial<Message>]>([
    ['ttl', [header({ ttl: 1000 }), data('')], { expiresAt: NOW + 1000 }],
    [
      'a delay',
      [section(0x72, mapOf([[symbol('x-opt-delivery-delay'), { type: 'int', value: 500 }]])), data('')],
      { deliverAt: NOW + 500 },
    ],
    [
      'a numeric id',
      [properties({ messageId: { type: 'ulong', value: 2n ** 64n - 1n } }), data('')],
      { id: '18446744073709551615' },
    ],
    [
      'a uuid id',
      [properties({ messageId: { type: 'uuid', value: Buffer.alloc(16, 1) } }), data('')],
      { id: '01010101-0101-0101-0101-010101010101' },
    ],
    [
      'typed properties',
      [
        application([
          ['n', { type: 'int', value: -3 }],
          ['t', true],
          ['z', null],
        ]),
        data(''),
      ],
      { properties: { n: '-3', t: 'true', z: '' } },
    ],
    ['two data sections', [data('ab'), data('cd')], { body: Buffer.from('abcd') }],
    ['text as a value', [section(0x77, 'héllo')], { body: Buffer.from('héllo') }],
    ['a map as a value', [section(0x77, mapOf([['a', { type: 'int', value: 1 }]]))], { body: Buffer.from('{"a":1}') }],
    ['null as a value', [section(0x77, null)], { body: Buffer.alloc(0) }],
    ['a sequence', [section(0x76, [{ type: 'int', value: 1 }, 'b'])], { body: Buffer.from('[1,"b"]') }],
    ['no body', [properties({ subject: 's' })], { body: Buffer.alloc(0), tag: 's' }],
    ['__proto__ as a property', [application([['__proto__', 'x']]), data('')], {}],
  ])('is understood with %s', (_, sections, fields) => {
    const message = published(...sections)
    expect(message).toMatchObject(fields)
    if (_ === '__proto__ as a property') expect(Object.entries(message.properties)).toEqual([['__proto__', 'x']])
  })

  it('with the usual priority has none', () => {
    expect(published(header({ priority: 4 }), data('')).priority).toBeUndefined()
  })

  it.each([
    ['plain data', [properties({ messageId: 'a', subject: 's' }), application([['a', 'b']]), data('x')], false],
    ['a typed property', [application([['n', { type: 'int', value: 1 }]]), data('x')], true],
    ['a typed id', [properties({ messageId: { type: 'ulong', value: 1 } }), data('x')], true],
    ['a value for a body', [section(0x77, 'x')], true],
    ['a user id', [properties({ userId: Buffer.from('u') }), data('x')], true],
    ['other annotations', [section(0x72, mapOf([[symbol('x-opt-a'), 'b']])), data('x')], true],
    ['a footer', [data('x'), section(0x78, mapOf([]))], true],
    ['a field of the model as a property', [application([['x-mq-tag', 'b']]), data('x')], true],
  ])('keeps its original only where it must: %s', (_, sections, kept) => {
    expect(published(...sections).original !== undefined).toBe(kept)
  })

  it('whose key says nothing keeps it all the same', () => {
    const bytes = Buffer.concat([application([['x-mq-key', '']]), data('')])
    expect(payload(stored(toMessage(bytes, TO, NOW).message)).subarray(-bytes.length)).toEqual(bytes)
  })

  it('loses its types, not its content, when they would take too much', () => {
    const large = application(
      Array.from({ length: 600 }, (_, n) => [`name-${n}-${'x'.repeat(20)}`, { type: 'int', value: n }]),
    )
    const { message, lost } = toMessage(Buffer.concat([large, data('x')]), TO, NOW)
    expect(lost).toBe(true)
    expect(message.original).toBeUndefined()
    expect(message.properties['name-7-xxxxxxxxxxxxxxxxxxxx']).toBe('7')
    expect(large.length).toBeGreaterThan(ORIGINAL_MAX)
  })

  it('leaves room for its own properties beside the original', () => {
    const text = application(Array.from({ length: 100 }, (_, n) => [`name-${n}`, 'x'.repeat(230)]))
    const value = section(0x77, ['y'.repeat(8_000)])
    expect(toMessage(Buffer.concat([value]), TO, NOW).lost).toBe(false)
    expect(toMessage(Buffer.concat([text, value]), TO, NOW).lost).toBe(true)
  })

  it('without an address of its link says where it goes', () => {
    const bytes = Buffer.concat([properties({ to: '/topics/orders/red' }), data('x')])
    expect(toMessage(bytes, undefined, NOW).message).toMatchObject({ topic: 'orders', tag: 'red' })
    expect(() => toMessage(data('x'), undefined, NOW)).toThrow('an empty address')
  })

  it.each([
    ['no section at all', '40'],
    ['an unknown section', '005379 40'],
    ['sections out of order', '005375a000 00537045'],
    ['two application-properties', '005374c10100 005374c10100'],
    ['data and a value', '005375a000 00537740'],
    ['a data section of text', '005375a10161'],
    ['a value of broken text', '005377a102c328'],
    ['properties that are a map', '005373c10100'],
    ['ten million nulls', '005377 f0 00000005 00989680 40'],
  ])('is refused with %s', (_, hex) => {
    expect(() => toMessage(Buffer.from(hex.replace(/\s/g, ''), 'hex'), TO, NOW)).toThrow(Fault)
  })
})

const absent = {
  userId: undefined,
  to: undefined,
  subject: undefined,
  replyTo: undefined,
  correlationId: undefined,
  contentType: undefined,
  contentEncoding: undefined,
  groupId: undefined,
  groupSequence: undefined,
  replyToGroupId: undefined,
}
const sorted = (map: { readonly value: readonly (readonly [Value, Value])[] } | undefined) =>
  [...(map?.value ?? [])].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
const bodyBytes = (bytes: Buffer) => {
  const { body } = readMessage(bytes)
  return body.kind === 'data' ? bytes.toString('hex', body.cuts[0], body.cuts[1]) : body.kind
}

describe('a message of another protocol', () => {
  const base: Message = { topic: 'orders', body: Buffer.from('hello'), properties: { a: 'b' } }

  it('has a data section and says all it has', () => {
    const sections = readMessage(
      payload(
        stored({
          ...base,
          path: 'a/b',
          tag: 'red',
          keys: ['k1', 'k2'],
          group: 'g',
          priority: 2,
          deliverAt: NOW + 1,
          expiresAt: NOW + 60_000,
          encoding: 'zstd',
          contentType: 'text/plain',
          correlationId: 'c',
          replyTo: 'replies/x',
          retain: true,
          traceparent: 't',
          via: 'mqtt',
        }),
        3,
      ),
    )
    expect(sections.header).toMatchObject({
      durable: true,
      priority: 2,
      ttl: 60_000,
      firstAcquirer: false,
      deliveryCount: 2,
    })
    expect(sections.annotations?.value).toEqual([
      [symbol('x-opt-delivery-time'), { type: 'timestamp', value: NOW + 1 }],
    ])
    expect(sections.properties).toMatchObject({
      messageId: 'minted',
      subject: 'red',
      replyTo: 'replies/x',
      correlationId: 'c',
      contentType: 'text/plain',
      contentEncoding: 'zstd',
      absoluteExpiryTime: NOW + 60_000,
      creationTime: NOW,
      groupId: 'g',
    })
    expect(Object.fromEntries(sections.application!.value)).toEqual({
      a: 'b',
      'mqtt.topic': 'orders/a/b',
      'x-mq-key': 'k1 k2',
      'x-mq-retain': 'true',
      'x-mq-born-host': '10.0.0.1:5',
      traceparent: 't',
    })
    expect(sections.body.kind).toBe('data')
  })

  it('comes back with the same fields', () => {
    const message = stored({ ...base, path: 'a', tag: 't', keys: ['k'], group: 'g', retain: true, via: 'mqtt' })
    const { via: _, original: __, ...back } = toMessage(payload(message), TO, NOW).message
    expect(back).toMatchObject({
      ...base,
      path: 'a',
      tag: 't',
      keys: ['k'],
      group: 'g',
      retain: true,
      id: 'minted',
      bornHost: '10.0.0.1:5',
    })
  })

  it('with a content type that is no symbol still is a message', () => {
    expect(readMessage(payload(stored({ ...base, contentType: 'text/plän' }))).properties?.contentType).toBe(
      'text/pl?n',
    )
  })
})

describe('an original', () => {
  const original = (message: Message) => message.original!.bytes

  it('that does not fit the body, or is no AMQP, is passed over', () => {
    const message = published(section(0x77, 'hello'))
    const body = Buffer.from('hello')
    expect(unpackOriginal(original(message), body)).toBeDefined()
    expect(unpackOriginal(original(message), Buffer.from('hell'))).toBeUndefined()
    expect(unpackOriginal(Buffer.alloc(0), body)).toBeUndefined()
    expect(unpackOriginal(Buffer.from('0200000000', 'hex'), body)).toBeUndefined()
    const forged = packOriginal(Buffer.from('ffffff'), 0, [])!
    expect(unpackOriginal(forged, body)).toBeUndefined()
    const sections = readMessage(payload(stored({ ...message, original: { protocol: 'amqp', bytes: forged } })))
    expect(sections.body.kind).toBe('data')
  })

  it('of any bytes gives a message or nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 16 }), (bytes, body) => {
        const parts = unpackOriginal(Buffer.concat([Buffer.from([1]), bytes]), Buffer.from(body))
        if (parts && parts.length > 0) expect(parts.every(Buffer.isBuffer)).toBe(true)
      }),
      { numRuns },
    )
  })
})

describe('a word of a consumer', () => {
  it.each([
    [{ type: 'accepted' }, { kind: 'accept' }],
    [{ type: 'released' }, { kind: 'retry', after: 0, counts: false }],
    [
      { type: 'modified', deliveryFailed: true },
      { kind: 'retry', counts: true },
    ],
    [{ type: 'modified' }, { kind: 'retry', after: 0, counts: false }],
    [
      { type: 'modified', deliveryFailed: true, undeliverableHere: true },
      { kind: 'dead', reason: 'undeliverable here' },
    ],
    [{ type: 'rejected' }, { kind: 'dead' }],
    [
      { type: 'rejected', error: { type: 'error', condition: 'my:error', description: 'bad' } },
      { kind: 'dead', reason: 'my:error: bad' },
    ],
    [{ type: 'received', sectionNumber: 0, sectionOffset: 0 }, undefined],
  ] as const)('%o', (state, outcome) => {
    expect(toOutcome(state)).toEqual(outcome)
  })

  it('in a transaction is not supported', () => {
    expect(() => toOutcome({ type: 'transactionalState', txnId: Buffer.alloc(1) })).toThrow('transactions')
  })
})
