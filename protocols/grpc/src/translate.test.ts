import zlib from 'node:zlib'
import { type Delivered, defaultLimits, names, type StoredMessage } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { service } from '../test/harness.ts'
import { refusal } from '../test/refusal.ts'
import { fromDelivered, toPop, toPublish } from './translate.ts'
import {
  exact,
  fromMs,
  type ReceiveMessageRequest,
  type SendMessageRequest,
  type SystemProperties,
  toMs,
} from './wire.ts'

const now = 1_767_225_600_000
const at = { limits: defaultLimits, now, address: '10.0.0.9' }
const runs = { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) }

const request = (
  system: Partial<SystemProperties> = {},
  properties: Record<string, string> = {},
  body = 'hello',
  topic = 'orders',
): SendMessageRequest => ({
  messages: [
    {
      topic: { name: topic },
      user_properties: properties,
      system_properties: { keys: [], message_id: 'ID', ...system },
      body: Buffer.from(body),
    },
  ],
})

const refused = (...of: Parameters<typeof request>): number => refusal(() => toPublish(request(...of), at))

describe('SendMessage', () => {
  it('becomes a publish with every field', () => {
    const { messages } = toPublish(
      request(
        {
          tag: 'a',
          keys: ['k1', 'k2'],
          message_group: 'g',
          priority: 3,
          delivery_timestamp: fromMs(now + 60_000),
          born_timestamp: fromMs(now - 5),
          born_host: 'h',
          trace_context: '00-1-2-01',
          body_encoding: 'GZIP',
        },
        { colour: 'red', [names.path]: 'orders/eu/1', [names.contentType]: 'text/plain' },
      ),
      at,
    )
    expect(messages).toEqual([
      {
        topic: 'orders',
        body: Buffer.from('hello'),
        properties: { colour: 'red' },
        path: 'eu/1',
        contentType: 'text/plain',
        id: 'ID',
        tag: 'a',
        keys: ['k1', 'k2'],
        group: 'g',
        priority: 3,
        deliverAt: now + 60_000,
        bornAt: now - 5,
        bornHost: 'h',
        traceparent: '00-1-2-01',
        encoding: 'gzip',
        via: 'grpc',
      },
    ])
  })

  it('takes the address of the peer where the client names no host', () => {
    expect(toPublish(request(), at).messages[0]?.bornHost).toBe('10.0.0.9')
  })

  it('refuses with the code of the rule that is broken', () => {
    expect(refusal(() => toPublish({ messages: [] }, at))).toBe(40016)
    const two = { messages: [...request().messages, ...request({}, {}, 'x', 'other').messages] }
    expect(refusal(() => toPublish(two, at))).toBe(40016)
    expect(refused({}, {}, 'x', 'no blanks')).toBe(40002)
    expect(refused({}, {}, 'x', 'a'.repeat(128))).toBe(40002)
    expect(refused({}, {}, 'x', 'TBW102')).toBe(40002)
    expect(refused({}, {}, '')).toBe(41302)
    expect(refused({}, {}, 'x'.repeat(defaultLimits.bodyBytes + 1))).toBe(41301)
    expect(refused({}, Object.fromEntries(Array.from({ length: 129 }, (_, n) => [`p${n}`, 'v'])))).toBe(43101)
    expect(refused({}, { big: 'x'.repeat(16 * 1024) })).toBe(43101)
    expect(refused({}, { UNIQ_KEY: 'mine' })).toBe(40007)
    expect(refused({}, { fine: 'not\u0001fine' })).toBe(40007)
    expect(refused({ tag: ' ' })).toBe(40004)
    expect(refused({ tag: 'a|b' })).toBe(40004)
    expect(refused({ keys: ['ok', ''] })).toBe(40005)
    expect(refused({ message_id: ' ' })).toBe(40009)
    expect(refused({ orphaned_transaction_recovery_duration: fromMs(3_600_001) })).toBe(40000)
    expect(refused({ delivery_timestamp: fromMs(now + 24 * 3_600_000 + 1) })).toBe(40012)
    expect(refused({ message_group: '' })).toBe(40006)
    expect(refused({ message_group: 'x'.repeat(64) })).toBe(40006)
    expect(refused({ priority: -1 })).toBe(40000)
  })

  it('looks at the size of the body before anything of its properties', () => {
    expect(refused({ tag: ' ', message_id: '' }, { UNIQ_KEY: '' }, '')).toBe(41302)
    expect(refused({ tag: ' ', message_id: '' }, { UNIQ_KEY: '' })).toBe(40007)
    expect(refused({ tag: ' ', message_id: '' })).toBe(40004)
  })

  it('has a transaction by its type alone, and asks about it by its topic', () => {
    const publish = (system: Partial<SystemProperties>) => toPublish(request(system), at)
    const half = publish({ message_type: 'TRANSACTION', orphaned_transaction_recovery_duration: { seconds: '7' } })
    expect([half.group, half.messages[0]?.half]).toEqual(['orders', { checkAfter: 7_000 }])
    expect(publish({ message_type: 'TRANSACTION' }).messages[0]?.half).toEqual({})
    expect(publish({ lite_topic: 'l' }).messages[0]?.path).toBe('l')
    for (const other of [{ message_group: 'g' }, { priority: 1 }, { lite_topic: 'l' }, { delivery_timestamp: {} }]) {
      expect(refused({ message_type: 'TRANSACTION', ...other })).toBe(40014)
    }
    for (const lite_topic of ['', ' ', 'a b', 'x'.repeat(65)]) expect(refused({ lite_topic })).toBe(40020)
  })

  it('takes a time that has passed, and the largest group', () => {
    expect(refused({ delivery_timestamp: fromMs(now - 1), message_group: 'x'.repeat(63) })).toBe(0)
  })

  it('gives a command or a Fault whatever bytes the loader accepts', () => {
    const { requestDeserialize, requestSerialize } = service.SendMessage!
    const [whole] = [requestSerialize(request({ tag: 'a', keys: ['b'], priority: 1 }, { c: 'd' }))]
    const mangled = fc
      .array(fc.tuple(fc.nat(whole!.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((changes) => {
        const bytes = Buffer.from(whole!)
        for (const [where, byte] of changes) bytes[where] = byte
        return bytes
      })
    const look = (bytes: Buffer) => {
      let decoded: SendMessageRequest
      try {
        decoded = requestDeserialize(bytes) as SendMessageRequest
      } catch {
        return // answered by gRPC as INTERNAL
      }
      refusal(() => toPublish(decoded, at))
    }
    fc.assert(fc.property(mangled, look), runs)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }).map(Buffer.from), look), runs)
  })
})

describe('ReceiveMessage', () => {
  const polling: ReceiveMessageRequest = {
    group: { name: 'g' },
    message_queue: { topic: { name: 'orders' }, accept_message_types: [], id: 3, broker: { name: 'elsewhere' } },
    batch_size: 16,
    invisible_duration: fromMs(30_000),
    long_polling_timeout: fromMs(10_000),
  }
  const pop = (more: Partial<ReceiveMessageRequest>, left = 13_000, requestTimeout = 3_000) =>
    toPop({ ...polling, ...more }, { left, requestTimeout, fifo: false, limits: defaultLimits })

  it('becomes a pop of the topic, whichever queue it names', () => {
    expect(pop({ filter_expression: { type: 'TAG', expression: 'a' }, attempt_id: 'try-1' })).toEqual({
      kind: 'pop',
      source: { kind: 'group', topic: 'orders', group: 'g', filter: { kind: 'tag', expression: 'a' } },
      max: 16,
      invisible: 30_000,
      wait: 10_000,
      fifo: false,
      attemptId: 'try-1',
    })
  })

  it('waits as long as asked, at most 20 s, and ends before the deadline of the client', () => {
    expect(pop({ long_polling_timeout: fromMs(1_000) }).wait).toBe(1_000)
    expect(pop({ long_polling_timeout: fromMs(40_000) }, 40_000).wait).toBe(20_000)
    expect(pop({ long_polling_timeout: fromMs(10_000) }, 3_000).wait).toBe(2_500)
    expect(pop({ long_polling_timeout: fromMs(10_000) }, 200).wait).toBe(0)
  })

  it('takes the wait from the deadline where none is named, as Go does', () => {
    const { long_polling_timeout: _, ...silent } = polling
    const wait = (left: number) =>
      toPop(silent, { left, requestTimeout: 3_000, fifo: false, limits: defaultLimits }).wait
    expect(wait(8_000)).toBe(6_500)
    expect(wait(Number.POSITIVE_INFINITY)).toBe(20_000)
  })

  it('does not answer a push consumer at once', () => {
    expect(pop({ auto_renew: true, long_polling_timeout: fromMs(0) }).wait).toBe(5_000)
    expect(pop({ auto_renew: true, long_polling_timeout: fromMs(0) }, 3_000).wait).toBe(2_500)
  })

  it('leases for 15 minutes where renewal is expected', () => {
    const { invisible_duration: _, ...silent } = polling
    const push = { ...silent, auto_renew: true }
    expect(toPop(push, { left: 1, requestTimeout: 1, fifo: true, limits: defaultLimits })).toMatchObject({
      invisible: 900_000,
      fifo: true,
    })
  })

  it('refuses what is out of range, and cuts a batch to 32', () => {
    expect(refusal(() => pop({ invisible_duration: fromMs(9_999) }))).toBe(40011)
    expect(refusal(() => pop({ invisible_duration: fromMs(12 * 3_600_000 + 1) }))).toBe(40011)
    expect(refusal(() => pop({ group: {} }))).toBe(40003)
    expect(pop({ batch_size: 1000 }).max).toBe(32)
    expect(pop({ batch_size: -1 }).max).toBe(1)
  })

  it('takes star and nothing as everything, SQL as SQL', () => {
    const filter = (type: string | undefined, expression: string) => {
      const { source } = pop({ filter_expression: { ...(type && { type }), expression } })
      return source.kind === 'group' && source.filter
    }
    expect(filter('TAG', '*')).toBeUndefined()
    expect(filter(undefined, '')).toBeUndefined()
    expect(filter(undefined, 'a')).toEqual({ kind: 'tag', expression: 'a' })
    expect(filter('SQL', 'a > 1')).toEqual({ kind: 'sql92', expression: 'a > 1' })
  })
})

describe('a delivery', () => {
  const stored: StoredMessage = {
    topic: 'orders',
    body: Buffer.from('abc'),
    properties: { colour: 'red' },
    id: 'ID',
    queue: { topic: 'orders', node: 'one', index: 2 },
    offset: 2 ** 53 - 1,
    place: 9,
    storedAt: now + 1,
    bornAt: now,
    bornHost: 'h',
  }
  const sent = (more: Partial<StoredMessage>, attempt = 1) =>
    fromDelivered({ message: { ...stored, ...more }, attempt } as Delivered, { name: 'orders' }, { handle: 'HANDLE' })

  it('has everything without which some client fails', () => {
    expect(sent({})).toEqual({
      topic: { name: 'orders' },
      user_properties: { colour: 'red' },
      body: Buffer.from('abc'),
      system_properties: {
        keys: [],
        message_id: 'ID',
        body_digest: { type: 'MD5', checksum: '900150983CD24FB0D6963F7D28E17F72' },
        body_encoding: 'IDENTITY',
        message_type: 'NORMAL',
        born_timestamp: fromMs(now),
        born_host: 'h',
        store_timestamp: fromMs(now + 1),
        store_host: 'one',
        receipt_handle: 'HANDLE',
        queue_id: 2,
        queue_offset: 2 ** 53 - 1,
        delivery_attempt: 1,
      },
    })
  })

  it('puts what this wire has no field for among the properties', () => {
    const { user_properties } = sent({
      path: 'eu/1',
      contentType: 'text/plain',
      expiresAt: 5,
      retain: true,
      replyTo: 'r',
      correlationId: 'c',
    })
    expect(user_properties).toEqual({
      colour: 'red',
      [names.path]: 'orders/eu/1',
      [names.contentType]: 'text/plain',
      [names.expiresAt]: '5',
      [names.retain]: 'true',
      [names.replyTo]: 'r',
      [names.correlationId]: 'c',
    })
  })

  it('undoes encodings that it cannot say, and digests what travels', () => {
    const zipped = zlib.gzipSync('abc')
    expect(sent({ body: zipped, encoding: 'gzip' })).toMatchObject({
      body: zipped,
      system_properties: { body_encoding: 'GZIP' },
    })
    for (const [encoding, body] of [
      ['zlib', zlib.deflateSync('abc')],
      ['zstd', zlib.zstdCompressSync('abc')],
    ] as const) {
      expect(sent({ body, encoding })).toMatchObject({
        body: Buffer.from('abc'),
        system_properties: { body_encoding: 'IDENTITY', body_digest: { checksum: '900150983CD24FB0D6963F7D28E17F72' } },
      })
    }
    expect(sent({ body: Buffer.from('no zlib'), encoding: 'zlib' }).body).toEqual(Buffer.from('no zlib'))
  })

  it('names its type by what it has', () => {
    const type = (more: Partial<StoredMessage>) => sent(more).system_properties?.message_type
    expect(type({ group: 'g' })).toBe('FIFO')
    expect(type({ deliverAt: now, group: 'g' })).toBe('DELAY')
    expect(type({ priority: 0 })).toBe('PRIORITY')
  })

  it('survives the wire and becomes the same message again', () => {
    const { responseSerialize } = service.ReceiveMessage!
    const { requestSerialize, requestDeserialize } = service.SendMessage!
    const word = fc.string({ minLength: 1, maxLength: 8 }).filter((text) => !text.includes('|') && text.trim() !== '')
    const some = fc.record(
      {
        body: fc.uint8Array({ minLength: 1, maxLength: 20 }).map(Buffer.from),
        tag: word,
        keys: fc.array(word, { minLength: 1, maxLength: 3 }),
        group: word,
        priority: fc.nat(9),
        deliverAt: fc.integer({ min: 0, max: now }),
        path: word,
        correlationId: word,
      },
      { requiredKeys: ['body'] },
    )
    fc.assert(
      fc.property(some, (fields) => {
        const message = sent(fields)
        responseSerialize({ message })
        const back = toPublish(requestDeserialize(requestSerialize({ messages: [message] })) as SendMessageRequest, at)
        expect(back.messages[0]).toMatchObject(fields)
      }),
      { numRuns: Math.ceil(runs.numRuns / 5) },
    )
  })
})

describe('numbers', () => {
  it('are exact or refused', () => {
    expect(exact('9007199254740991', 'n')).toBe(2 ** 53 - 1)
    expect(refusal(() => exact('9007199254740992', 'deliverAt'))).toBe(40012)
    expect(refusal(() => toMs({ seconds: '9223372036854775807' }, 'invisible'))).toBe(40011)
    expect(toMs({ seconds: '1', nanos: 500_999_999 }, 'n')).toBe(1_500)
    expect(toMs(fromMs(now + 123), 'n')).toBe(now + 123)
  })
})
