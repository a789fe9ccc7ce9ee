import zlib from 'node:zlib'
import { type Delivered, Fault, type Message, names, type Slot, type StoredMessage } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toData, toText } from './correlation.ts'
import { readExtras } from './extras.ts'
import type { MessageProperties, Publish, QoS, UserProperty } from './packets.ts'
import { readNote, toBinding, writeNote } from './subscriptions.ts'
import { type Outgoing, toMessage, toPublish } from './translate.ts'

const NOW = 1_700_000_000_000
const where = { now: NOW, host: '10.0.0.1:99', bodyBytes: 1_000 }
const published = (topic: string, properties?: MessageProperties, qos: QoS = 1, retain = false): Message =>
  toMessage({ payload: Buffer.from('body'), qos, retain, ...(properties && { properties }) }, topic, where)

const slot: Slot = { of: 'inbox', node: 'n', inbox: 'mqtt/one', epoch: 1, way: 'out', slot: 7 }
const stored = (message: Message): StoredMessage => ({
  id: 'id-1',
  bornAt: NOW,
  bornHost: 'host:1',
  ...message,
  queue: { topic: message.topic, node: 'n', index: 0 },
  offset: 0,
  place: 0,
  storedAt: NOW,
})
const delivered = (message: Message, more: Partial<Delivered> = {}): Delivered => ({
  message: stored(message),
  attempt: 1,
  receipt: slot,
  notes: ['2'],
  ...more,
})
const sent = (outgoing: Outgoing): Publish => {
  if ('skipped' in outgoing) throw new Error(outgoing.skipped)
  return outgoing.publish
}
const foreign = (more: Partial<Message> = {}): Message => ({
  topic: 'orders',
  body: Buffer.from('b'),
  properties: { color: 'red' },
  ...more,
})

describe('a publish', () => {
  it('becomes a message of the topic of its first level', () => {
    expect(published('orders/eu/1')).toEqual({
      topic: 'orders',
      path: 'eu/1',
      body: Buffer.from('body'),
      properties: {},
      bornAt: NOW,
      bornHost: '10.0.0.1:99',
      via: 'mqtt',
    })
    expect(published('orders/').path).toBe('')
    expect(published('/a')).toMatchObject({ topic: 'MQTT%', path: 'a' })
    expect(published('orders', undefined, 1, true).retain).toBe(true)
  })

  it('says what the model has fields for', () => {
    const message = published('orders', {
      messageExpiryInterval: 60,
      contentType: 'text/plain',
      correlationData: Buffer.from('c1'),
      responseTopic: '$r/1',
      userProperties: [
        [names.tag, 'blue'],
        [names.keys, 'k1 k2'],
        [names.priority, '4'],
        [names.traceparent, '00-1-2-01'],
        [names.path, 'orders/elsewhere'],
        [names.retain, 'true'],
        ['color', 'red'],
      ],
    })
    expect(message).toMatchObject({
      expiresAt: NOW + 60_000,
      contentType: 'text/plain',
      correlationId: 'c1',
      replyTo: 'MQTT%%24r/1',
      tag: 'blue',
      keys: ['k1', 'k2'],
      priority: 4,
      traceparent: '00-1-2-01',
      properties: { color: 'red' },
    })
    expect(message).not.toHaveProperty('path')
    expect(message).not.toHaveProperty('retain')
  })

  it('is refused where no packet is wrong but the message is', () => {
    const refused = (call: () => unknown) => {
      try {
        call()
      } catch (error) {
        return Fault.is(error) && `${error.code} ${error.about}`
      }
      return undefined
    }
    const text = { payloadFormatIndicator: true }
    expect(refused(() => toMessage({ payload: Buffer.alloc(1_001), qos: 1, retain: false }, 'a', where))).toBe(
      'tooLarge body',
    )
    expect(refused(() => published('a/'.repeat(200)))).toBe('invalid topic')
    expect(
      refused(() => toMessage({ payload: Buffer.from([0xc3]), qos: 1, retain: false, properties: text }, 'a', where)),
    ).toBe('invalid payload')
  })
})

describe('a delivery', () => {
  it('is what was published', () => {
    const properties: MessageProperties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      contentType: 'text/plain',
      correlationData: Buffer.from([0, 255]),
      responseTopic: '$r/1',
      userProperties: [
        ['b', '1'],
        ['a', ''],
        ['b', '2'],
      ],
    }
    const publish = sent(toPublish(delivered(published('/x/y', properties)), 5, NOW + 10_500))
    expect(publish).toEqual({
      cmd: 'publish',
      topic: '/x/y',
      payload: Buffer.from('body'),
      qos: 1,
      dup: false,
      retain: false,
      messageId: 7,
      properties: { ...properties, messageExpiryInterval: 50 },
    })
  })

  it('keeps the order of user properties whatever they are called', () => {
    const name = fc.constantFrom('a', 'b', '7', '10', 'TAGS', '__proto__', 'x\x01')
    const pairs = fc.array(fc.tuple(name, fc.constantFrom('', '1', 'a\x02b', 'ü')), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(pairs, (userProperties) => {
        const message = published('t', { userProperties: userProperties as UserProperty[] })
        expect(sent(toPublish(delivered(message), 5, NOW)).properties?.userProperties).toEqual(userProperties)
      }),
      { numRuns: 2_000 },
    )
  })

  it('has the smaller QoS of publisher and subscriber; of several filters the greatest', () => {
    const qos = (at: QoS, notes: readonly string[] | undefined) =>
      sent(toPublish(delivered(published('t', undefined, at), notes ? { notes } : { notes: [] }), 4, NOW)).qos
    expect([qos(0, ['2']), qos(1, ['2']), qos(2, ['2']), qos(2, ['1']), qos(2, ['0', '1'])]).toEqual([0, 1, 2, 1, 1])
    expect(qos(2, undefined)).toBe(2)
    expect(sent(toPublish(delivered(foreign(), { notes: ['2'] }), 4, NOW)).qos).toBe(2)
    const { receipt: _, ...settled } = delivered(foreign())
    expect(sent(toPublish(settled, 4, NOW))).toMatchObject({ qos: 0, dup: false })
  })

  it('is a repeat from the second attempt, and only with a packet id', () => {
    const again = (at: QoS) => sent(toPublish(delivered(published('t', undefined, at), { attempt: 2 }), 4, NOW))
    expect(again(1)).toMatchObject({ dup: true, messageId: 7 })
    expect(again(0)).toMatchObject({ dup: false })
    expect(again(0)).not.toHaveProperty('messageId')
  })

  it('is retained when it comes from the store, or live to those who asked', () => {
    const retain = (more: Partial<Delivered>) =>
      sent(toPublish(delivered(published('t', undefined, 1, true), more), 5, NOW)).retain
    expect([retain({}), retain({ notes: ['1r'] }), retain({ retained: true })]).toEqual([false, true, true])
  })

  it('has every subscription id', () => {
    const { properties } = sent(toPublish(delivered(foreign(), { notes: ['1:5', '2', '0r:268435455'] }), 5, NOW))
    expect(properties?.subscriptionIdentifier).toEqual([5, 268_435_455])
  })

  it('of another protocol says its fields as user properties', () => {
    const message = foreign({ tag: 'blue', keys: ['a', 'b'], group: 'g', priority: 3, traceparent: 'tp', via: 'amqp' })
    const outgoing = toPublish(delivered(message), 5, NOW)
    expect(Object.fromEntries(sent(outgoing).properties!.userProperties!)).toEqual({
      color: 'red',
      [names.id]: 'id-1',
      [names.bornAt]: String(NOW),
      [names.bornHost]: 'host:1',
      [names.tag]: 'blue',
      [names.keys]: 'a b',
      [names.group]: 'g',
      [names.priority]: '3',
      [names.traceparent]: 'tp',
    })
    expect(outgoing).toMatchObject({ lost: [] })
  })

  it('to 3.1.1 counts what it loses', () => {
    expect(toPublish(delivered(foreign({ tag: 'x' })), 4, NOW)).toMatchObject({
      lost: ['id', 'tag', 'properties', 'bornAt', 'bornHost'],
    })
    expect(toPublish(delivered(published('t', undefined, 0)), 4, NOW)).toMatchObject({ lost: [] })
  })

  it('drops what no packet can say', () => {
    const long = 'x'.repeat(70_000)
    const outgoing = toPublish(delivered(foreign({ properties: { a: 'b\0', c: long, ok: '1' } })), 5, NOW)
    expect(sent(outgoing).properties?.userProperties?.map(([name]) => name)).not.toContain('c')
    expect(outgoing).toMatchObject({ lost: ['properties'] })
    for (const path of ['a+', '#', 'a\0', long]) {
      expect(toPublish(delivered(foreign({ path })), 5, NOW)).toEqual({ skipped: 'unsayable' })
    }
  })

  it('is not made once it has expired, unless it has begun', () => {
    const message = published('t', { messageExpiryInterval: 1 })
    expect(toPublish(delivered(message), 5, NOW + 1_000)).toEqual({ skipped: 'expired' })
    expect(sent(toPublish(delivered(message, { attempt: 2 }), 5, NOW + 1_000)).properties?.messageExpiryInterval).toBe(
      0,
    )
  })

  it('of a $ topic is not for filters that begin with a wildcard', () => {
    const message = published('$SYS/x')
    expect(toPublish(delivered(message, { notes: ['1w'] }), 5, NOW)).toEqual({ skipped: 'system' })
    expect(sent(toPublish(delivered(message, { notes: ['1w', '1'] }), 5, NOW)).topic).toBe('$SYS/x')
  })

  it('unpacks bodies', () => {
    const body = Buffer.from('plain'.repeat(10))
    const packed = { zlib: zlib.deflateSync(body), gzip: zlib.gzipSync(body), zstd: zlib.zstdCompressSync(body) }
    for (const [encoding, bytes] of Object.entries(packed)) {
      const message = foreign({ body: bytes, encoding: encoding as 'zlib' })
      expect(sent(toPublish(delivered(message), 5, NOW)).payload).toEqual(body)
    }
    const damaged = foreign({ body: Buffer.from('xx'), encoding: 'zlib' })
    expect(sent(toPublish(delivered(damaged), 5, NOW)).payload).toEqual(Buffer.from('xx'))
  })

  it('restores a first level of any length', () => {
    const topic = `${'ü'.repeat(200)}/x`
    expect(sent(toPublish(delivered(published(topic)), 4, NOW)).topic).toBe(topic)
  })

  it('believes no stranger about what MQTT keeps', () => {
    for (const text of ['', 'x', '1{', '2{"u":[[1]]}', '0{"u":5,"l":7}', '1{"u":[["a"]]}', '1null']) {
      const message = foreign({ original: { protocol: 'mqtt', bytes: Buffer.from(text) } })
      expect(readExtras(message)).not.toHaveProperty('user')
      expect(sent(toPublish(delivered(message), 5, NOW)).topic).toBe('orders')
    }
  })
})

describe('correlation data', () => {
  it('come back through any protocol as the bytes they were', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 20 }),
          fc.constantFrom('base64:AA==', 'base64:', 'id', 'ü').map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          const data = Buffer.from(bytes)
          expect(toData(toText(data))).toEqual(data)
        },
      ),
      { numRuns: 2_000 },
    )
    expect(toText(Buffer.from('order-7'))).toBe('order-7')
    expect(toText(Buffer.from([0, 255]))).toBe('base64:AP8=')
    expect(toData('base64:not really')).toEqual(Buffer.from('base64:not really'))
  })
})

describe('a subscription', () => {
  it('is a binding with a note', () => {
    expect(toBinding({ topic: '+/x', qos: 1, nl: true, rap: true, rh: 1 }, 9, false)).toEqual({
      pattern: '+/x',
      noLocal: true,
      retained: 'ifNew',
      note: '1rw:9',
    })
    expect(toBinding({ topic: 'a', qos: 0 }, undefined, false)).toEqual({ pattern: 'a', retained: 'send', note: '0' })
    expect(toBinding({ topic: '$share/g/a', qos: 2 }, undefined, true)).toMatchObject({ share: 'g', retained: 'skip' })
    expect(() => toBinding({ topic: '$share/g/a', qos: 2 }, undefined, false)).toThrow(/shared/)
  })

  it('reads its notes, and takes others for QoS 2', () => {
    const note = fc.record({
      qos: fc.constantFrom<QoS>(0, 1, 2),
      rap: fc.boolean(),
      open: fc.boolean(),
      id: fc.integer({ min: 1, max: 268_435_455 }),
    })
    fc.assert(fc.property(note, (one) => void expect(readNote(writeNote(one))).toEqual(one)))
    expect(readNote('amqp')).toEqual({ qos: 2, rap: false, open: false })
  })
})
