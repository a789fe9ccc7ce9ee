import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Column,
  conversions,
  type Field,
  joinPath,
  losses,
  names,
  reserved,
  splitPath,
  takeReserved,
  tellsBirth,
} from './conversions.ts'
import type { Message } from './model.ts'

const columns: readonly Column[] = ['remoting', 'grpc', 'http', 'mqtt5', 'mqtt3', 'amqp']
const bare: Message = { topic: 't', body: Buffer.alloc(0), properties: {} }
const full: Message = {
  topic: 't',
  path: 'a/b',
  body: Buffer.from('x'),
  id: '1',
  tag: 'A',
  keys: ['k'],
  properties: { colour: 'red' },
  contentType: 'text/plain',
  correlationId: 'c',
  replyTo: 'r',
  group: 'g',
  priority: 0,
  deliverAt: 1,
  expiresAt: 2,
  encoding: 'gzip',
  retain: true,
  bornAt: 3,
  bornHost: 'h',
  traceparent: '00-…',
  original: { protocol: 'amqp', bytes: Buffer.alloc(2) },
  via: 'amqp',
}

describe('losses', () => {
  it('of a plain message are none anywhere, without an array of their own', () => {
    const seen = new Set(
      columns.map((column) => losses({ ...bare, via: 'mqtt' }, column)).filter((one) => one.length === 0),
    )
    expect(seen.size).toBeLessThanOrEqual(2)
    for (const column of columns) expect(losses(bare, column)).toEqual([])
  })

  it('are exactly what the table says never travels', () => {
    for (const column of columns) {
      const said = (Object.keys(conversions) as Field[]).filter((field) => conversions[field][column].lost)
      const home = column === 'amqp' ? ['original'] : []
      const elsewhere = column === 'mqtt5' ? ['original'] : [] // only what MQTT itself left there
      expect([...losses(full, column), ...home].sort()).toEqual([...said, ...home, ...elsewhere].sort())
    }
  })

  it('do not count what only its own protocol understands when it goes home', () => {
    const from = (via: string): Message => ({ ...bare, via, original: { protocol: via, bytes: Buffer.alloc(2) } })
    expect(losses(from('mqtt'), 'mqtt5')).toEqual([])
    expect(losses(from('amqp'), 'amqp')).toEqual([])
    expect(losses(from('mqtt'), 'amqp')).toEqual(['original'])
    expect(losses(from('amqp'), 'grpc')).toEqual(['original'])
  })

  it('do not count an original that is a mere hint: the QoS of an MQTT publisher', () => {
    const hint: Message = { ...bare, via: 'mqtt', original: { protocol: 'mqtt', bytes: Buffer.from('2') } }
    for (const column of columns) expect(losses(hint, column)).toEqual([])
  })

  it('on MQTT 3.1.1 leave out ids and birth that an MQTT producer never gave', () => {
    const stored: Message = { ...bare, id: '1', bornAt: 1, bornHost: 'h' }
    expect(losses({ ...stored, via: 'mqtt' }, 'mqtt3')).toEqual([])
    expect(losses(stored, 'mqtt3')).toEqual(['id', 'bornAt', 'bornHost'])
    expect(losses({ ...bare, via: 'mqtt', tag: 'A' }, 'mqtt3')).toEqual(['tag'])
  })

  it('count what is there, not what is empty', () => {
    expect(losses({ ...bare, keys: [], retain: false, properties: {}, via: 'mqtt' }, 'mqtt3')).toEqual([])
    expect(losses({ ...bare, keys: [''], priority: 0, tag: '', via: 'mqtt' }, 'mqtt3')).toEqual([
      'tag',
      'keys',
      'priority',
    ])
  })

  it('birth is told to every protocol but the one that never gave it', () => {
    expect(tellsBirth({ ...bare, via: 'mqtt' }, 'mqtt5')).toBe(false)
    expect(tellsBirth({ ...bare, via: 'mqtt' }, 'amqp')).toBe(true)
    expect(tellsBirth(bare, 'http')).toBe(true)
  })
})

describe('takeReserved', () => {
  it('of none of our names gives back the very object', () => {
    const free = { colour: 'red', constructor: 'x' }
    expect(takeReserved('t', free).properties).toBe(free)
  })

  it('takes every field that has a name, and leaves the rest', () => {
    const free = {
      colour: 'red',
      [names.path]: 't/a/b',
      [names.id]: '1',
      [names.tag]: 'A',
      [names.keys]: ' k1  k2 ',
      [names.contentType]: 'text/plain',
      [names.correlationId]: 'c',
      [names.replyTo]: 'r',
      [names.group]: 'g',
      [names.priority]: '7',
      [names.deliverAt]: '1700000000000',
      [names.expiresAt]: '1700000000001',
      [names.retain]: 'true',
      [names.bornAt]: '5',
      [names.bornHost]: 'h',
      [names.traceparent]: '00-ab',
    }
    expect(takeReserved('t', free)).toEqual({
      properties: { colour: 'red' },
      fields: {
        path: 'a/b',
        id: '1',
        tag: 'A',
        keys: ['k1', 'k2'],
        contentType: 'text/plain',
        correlationId: 'c',
        replyTo: 'r',
        group: 'g',
        priority: 7,
        deliverAt: 1_700_000_000_000,
        expiresAt: 1_700_000_000_001,
        retain: true,
        bornAt: 5,
        bornHost: 'h',
        traceparent: '00-ab',
      },
    })
  })

  it('leaves values that are none to the user', () => {
    const free = {
      [names.priority]: 'high',
      [names.deliverAt]: '1e9',
      [names.expiresAt]: '-1',
      [names.bornAt]: '1234567890123456',
      [names.retain]: 'yes',
      [names.path]: 'other/a',
    }
    expect(takeReserved('t', free)).toEqual({ properties: free, fields: {} })
    expect(takeReserved('t', { [names.path]: 't' })).toEqual({ properties: {}, fields: {} })
  })

  it('drops what only a stored record may say: a producer cannot forge it', () => {
    const free = { [names.via]: 'amqp', [names.more]: 'e30=', [names.original]: 'amqp:AAAA', a: 'b' }
    expect(takeReserved('t', free)).toEqual({ properties: { a: 'b' }, fields: {} })
  })

  it('is not fooled by names of a prototype', () => {
    const free = JSON.parse('{"__proto__":"p","constructor":"c","toString":"s","valueOf":"v","x-mq-tag":"A"}')
    const { properties, fields } = takeReserved('t', free)
    expect(fields).toEqual({ tag: 'A' })
    expect(Object.entries(properties)).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['toString', 's'],
      ['valueOf', 'v'],
    ])
  })

  it('never loses a property that is not ours, whatever stands beside it', () => {
    const name = fc.oneof(fc.string(), fc.constantFrom(...reserved, '__proto__', 'hasOwnProperty'))
    fc.assert(
      fc.property(fc.dictionary(name, fc.string()), (free) => {
        const { properties } = takeReserved('t', free)
        const kept = Object.entries(free).filter(([key]) => !reserved.has(key))
        expect(Object.entries(properties).filter(([key]) => !reserved.has(key))).toEqual(kept)
      }),
      { numRuns: 2_000 },
    )
  })

  it('reserves every name but the prefix of headers', () => {
    expect([...reserved].sort()).toEqual(
      Object.values(names)
        .filter((name) => name !== names.property)
        .sort(),
    )
  })
})

describe('paths', () => {
  it('join and split again, empty levels included', () => {
    const level = fc.string().filter((one) => !one.includes('/'))
    fc.assert(
      fc.property(
        level,
        fc.option(
          fc.array(level, { minLength: 1 }).map((levels) => levels.join('/')),
          { nil: undefined },
        ),
        (topic, path) => {
          expect(splitPath(joinPath(topic, path))).toEqual({ topic, ...(path !== undefined && { path }) })
        },
      ),
    )
    expect([splitPath('a//b/'), splitPath('/a'), splitPath('a')]).toEqual([
      { topic: 'a', path: '/b/' },
      { topic: '', path: 'a' },
      { topic: 'a' },
    ])
  })
})
