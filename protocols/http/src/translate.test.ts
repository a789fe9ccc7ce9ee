import { Fault, type Message, names } from '@sluice/core'
import { faultOf } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inflated, written } from './body.ts'
import { detect } from './detect.ts'
import { answerTo, troubleFrom, words } from './faults.ts'
import { fieldsOf, type Headers } from './headers.ts'
import { elements, member, readJson } from './json.ts'
import { methodAt, paths } from './paths.ts'
import { rawMessage, toPublish } from './translate.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const birth = { bornAt: 1, bornHost: 'h:1' }

describe('detect', () => {
  it.each([
    'GET / HTTP/1.1',
    'POST /x',
    'PUT /',
    'HEAD /',
    'DELETE /',
    'OPTIONS *',
    'PATCH /',
    'CONNECT a:1',
    'TRACE /',
  ])('knows %s, and says so with the blank', (head) => {
    const bytes = Buffer.from(head)
    const blank = head.indexOf(' ')
    for (let length = 1; length <= bytes.length; length++) {
      expect(detect(bytes.subarray(0, length))).toBe(length > blank ? true : undefined)
    }
  })
  it.each([
    'PRI * HTTP/2.0',
    'get / HTTP/1.1',
    'AMQP\0\x01\0\0',
    '\x10\x10\0\x04MQTT',
    '\0\0\0\x20',
    'GETX',
    '\x16\x03\x01',
  ])('leaves %j alone', (head) => expect(detect(Buffer.from(head, 'latin1'))).toBe(false))
})

describe('headers', () => {
  const encoded = (value: string) => encodeURIComponent(value)
  const nonEmpty = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }).filter((text) => text.isWellFormed())

  it('any text travels percent-encoded', () => {
    fc.assert(
      fc.property(nonEmpty, nonEmpty, (tag, value) => {
        const headers: Headers = { 'x-mq-tag': [encoded(tag)], 'x-mq-property-p': [encoded(value)] }
        expect(fieldsOf('t', headers)).toEqual({ tag, properties: { p: value } })
      }),
      { numRuns },
    )
  })

  it('any bytes in any header are a message or a Fault', () => {
    const name = fc.constantFrom(
      'x-mq-tag',
      'x-mq-key',
      'x-mq-priority',
      'x-mq-deliver-at',
      'x-mq-property-a%',
      'x-mq-%zz',
    )
    const bytes = fc.uint8Array({ maxLength: 12 }).map((raw) => Buffer.from(raw).toString('latin1'))
    fc.assert(
      fc.property(name, bytes, (header, value) => {
        try {
          rawMessage('t', { [header]: [value] }, Buffer.alloc(0), birth)
        } catch (error) {
          expect(Fault.is(error) && error.code).toBe('invalid')
        }
      }),
      { numRuns },
    )
  })

  it('UTF-8 may stand as it is', () => {
    const raw = Buffer.from('价格').toString('latin1')
    expect(fieldsOf('t', { 'x-mq-tag': [raw] }).tag).toBe('价格')
  })

  it('fields that other protocols say as properties are fields', () => {
    const headers: Headers = {
      [`${names.property}mqtt.topic`]: ['t/a/b'],
      [`${names.property}x-mq-tag`]: ['a'],
      'x-mq-tag': ['b'],
    }
    expect(fieldsOf('t', headers)).toEqual({ path: 'a/b', tag: 'b', properties: {} })
  })

  it('a traceparent that is none is no field', () => {
    expect(fieldsOf('t', { traceparent: ['00-1'] })).toEqual({ properties: {} })
    const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    expect(fieldsOf('t', { traceparent: [good] })).toMatchObject({ traceparent: good })
  })

  it('only keys may come in several lines', async () => {
    expect(fieldsOf('t', { 'x-mq-key': ['a', 'b c'] }).keys).toEqual(['a', 'b', 'c'])
    expect((await faultOf(() => fieldsOf('t', { 'x-mq-tag': ['a', 'b'] }))).about).toBe('x-mq-tag')
  })

  it('an Idempotency-Key is of its tenant and topic', () => {
    const message = { topic: 't', body: Buffer.alloc(0), properties: {} }
    expect(toPublish([message], { 'idempotency-key': ['k'] }, 'shop').once).toEqual({
      key: 'http/shop/t/k',
      keep: 600_000,
    })
  })
})

describe('bodies', () => {
  it('any bytes come back as they were', () => {
    const type = fc.constantFrom(undefined, 'text/plain', 'application/json; charset=utf-8', 'image/png', 'a/b+json')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 40 }),
          fc.string().map((text) => Buffer.from(text)),
        ),
        type,
        (raw, contentType) => {
          const bytes = Buffer.from(raw)
          const { body, encoding } = JSON.parse(JSON.stringify(written(bytes, contentType, 'auto'))) as ReturnType<
            typeof written
          >
          expect(Buffer.from(body, encoding).equals(bytes)).toBe(true)
        },
      ),
      { numRuns },
    )
  })

  it.each([
    [undefined, 'utf8'],
    ['text/plain', 'utf8'],
    ['application/json', 'utf8'],
    ['application/vnd.x+json', 'utf8'],
    ['image/svg+xml', 'base64'],
    ['application/octet-stream', 'base64'],
    ['application/x-protobuf', 'base64'],
  ])('of type %s are %s', (contentType, encoding) => {
    expect(written(Buffer.from('a'), contentType, 'auto').encoding).toBe(encoding)
  })

  it('do not grow without a bound when they are inflated', async () => {
    const { deflateSync } = await import('node:zlib')
    const message: Message = { topic: 't', properties: {}, body: deflateSync(Buffer.alloc(100_000)), encoding: 'zlib' }
    expect(await inflated(message, 1_000)).toEqual({ bytes: message.body, encoding: 'zlib' })
    expect((await inflated(message, 100_000)).bytes).toHaveLength(100_000)
  })
})

describe('json', () => {
  it('any bytes are JSON or a Fault', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 30 }),
          fc.string({ unit: fc.constantFrom(...'{}[]",:1\\ a') }).map((text) => Buffer.from(text)),
        ),
        (raw) => {
          try {
            readJson(Buffer.from(raw))
          } catch (error) {
            expect(Fault.is(error) && error.code).toBe('malformed')
          }
        },
      ),
      { numRuns },
    )
  })

  it('values are found where they stand, in their spelling', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 })), { maxLength: 3 }),
        fc.constantFrom(undefined, 1, '\t'),
        (list, space) => {
          const text = JSON.stringify(list, undefined, space)
          const spans = elements(text)
          expect(spans.map(([from, to]) => text.slice(from, to))).toHaveLength(list.length)
          list.forEach((object, index) => {
            const [from, to] = spans[index]!
            expect(JSON.parse(text.slice(from, to))).toEqual(JSON.parse(JSON.stringify(object)))
            for (const [name, value] of Object.entries(object)) {
              const [start, end] = member(text, name, from)!
              expect(JSON.parse(text.slice(start, end))).toEqual(JSON.parse(JSON.stringify(value)))
            }
          })
        },
      ),
      { numRuns: Math.ceil(numRuns / 5) },
    )
  })
})

describe('faults', () => {
  it('an internal one keeps its text to itself, whoever threw it', () => {
    for (const error of [new TypeError('secret'), { statusCode: 500, message: 'secret' }, 'secret', undefined]) {
      const answer = answerTo(troubleFrom(error), 'id', '/')
      expect([answer.status, answer.body.includes('secret')]).toEqual([500, false])
    }
  })

  it('every passing one says when to come back', () => {
    for (const code of ['limit', 'throttled', 'busy', 'circuitOpen', 'unavailable', 'draining'] as const) {
      expect(answerTo(new Fault(code, ''), 'id', '/').headers).toHaveProperty('retry-after')
    }
    expect(Object.values(words).every(({ status }) => status >= 400)).toBe(true)
  })
})

it('every address has its method', () => {
  for (const [name, path] of Object.entries(paths)) {
    const concrete = path.replaceAll('::', '\n').replaceAll(/:\w+/g, 'x').replaceAll('\n', ':')
    expect(methodAt(concrete), name).toBe(name === 'stream' || name === 'openapi' ? 'GET' : 'POST')
  }
  expect(methodAt('/v1/topics/x')).toBeUndefined()
})
