import { readdirSync, readFileSync } from 'node:fs'
import { Fault, type Message } from '@sluice/core'
import { faultOf } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { written } from './body.ts'
import { BATCH, batchedEvents, binaryEvent, eventText, isBinary, STRUCTURED, structuredEvent } from './cloudevents.ts'
import type { Headers } from './headers.ts'
import type { ReceivedMessage } from './shapes.ts'

const birth = { bornAt: 1_700_000_000_000, bornHost: 'h:1' }
const MAX = 1_000_000

interface Golden {
  readonly note: string
  readonly headers: Record<string, string>
  readonly body: string
  readonly messages?: readonly object[]
  readonly fault?: string
}

const read = ({ headers, body }: Golden): readonly Message[] => {
  const lines: Headers = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))
  const bytes = Buffer.from(body)
  const type = headers['content-type']?.split(';')[0]
  if (type === BATCH) return batchedEvents('t', bytes, birth, MAX)
  if (type === STRUCTURED) return [structuredEvent('t', bytes, birth, MAX)]
  expect(isBinary(lines)).toBe(true)
  return [binaryEvent('t', lines, bytes, birth)]
}

const shown = ({ body, ...message }: Message) => ({ ...message, body: body.toString('utf8') })

describe('golden', () => {
  const folder = new URL('../fixtures/cloudevents/', import.meta.url)
  for (const file of readdirSync(folder)) {
    const golden = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Golden
    it(`${file.replace('.json', '')}: ${golden.note}`, async () => {
      if (golden.fault) expect((await faultOf(() => read(golden))).code).toBe(golden.fault)
      else
        expect(read(golden).map(shown)).toEqual(
          golden.messages?.map((one) => ({ ...one, ...birth, via: 'http', topic: 't' })),
        )
    })
  }
})

const receivedOf = (message: Message): ReceivedMessage => ({
  ...message,
  ...written(message.body, message.contentType, 'auto'),
  ...(message.group !== undefined && { shardingKey: message.group }),
  messageId: 'M1',
  attempt: 1,
  storedAt: 1,
  queueId: 0,
  offset: 0,
  ...birth,
})

describe('there and back', () => {
  const name = fc
    .string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(...'abcxyz019') })
    .filter(
      (word) =>
        ![
          'data',
          'attempt',
          'time',
          'deliverat',
          'datacontenttype',
          'traceparent',
          'partitionkey',
          'receipthandle',
        ].includes(word),
    )
  const event = fc.record({
    attributes: fc.dictionary(name, fc.string({ minLength: 1, maxLength: 10 }), { maxKeys: 3 }),
    id: fc.string({ minLength: 1, maxLength: 10 }),
    type: fc.string({ minLength: 1, maxLength: 10 }),
    data: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined)),
  })

  it('a structured event keeps its attributes and its data', () => {
    fc.assert(
      fc.property(event, ({ attributes, id, type, data }) => {
        const sent = { ...attributes, specversion: '1.0', id, source: '/s', type, ...(data !== undefined && { data }) }
        const message = structuredEvent('t', Buffer.from(JSON.stringify(sent)), birth, MAX)
        const back = JSON.parse(eventText(receivedOf(message))) as Record<string, unknown>
        const { data: expected, ...rest } = JSON.parse(JSON.stringify(sent)) as Record<string, unknown>
        expect(back).toMatchObject(rest)
        if (expected !== undefined) expect(back.data).toEqual(expected)
      }),
      { numRuns: Math.ceil(Number(process.env.SLUICE_RUNS ?? 10_000) / 2) },
    )
  })

  it('any JSON is events or a Fault', () => {
    const value = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(
        fc.constantFrom(
          'id',
          'source',
          'type',
          'specversion',
          'data',
          'data_base64',
          'datacontenttype',
          'deliverat',
          '__proto__',
        ),
        fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constant('1.0')),
      ),
    )
    fc.assert(
      fc.property(value, (json) => {
        for (const read of [structuredEvent, batchedEvents]) {
          for (const one of [json, [json]]) {
            try {
              read('t', Buffer.from(JSON.stringify(one)), birth, MAX)
            } catch (error) {
              expect(Fault.is(error) ? error.code : error).toBe('invalid')
            }
          }
        }
      }),
      { numRuns: Math.ceil(Number(process.env.SLUICE_RUNS ?? 10_000) / 2) },
    )
  })

  it('what is no event becomes one', () => {
    const message: Message = {
      topic: 'a b',
      body: Buffer.from([0, 255]),
      properties: { p: 'x' },
      contentType: 'image/png',
    }
    expect(JSON.parse(eventText(receivedOf(message)))).toEqual({
      specversion: '1.0',
      id: 'M1',
      source: '/v1/topics/a%20b',
      type: 'sluice.message',
      time: '2023-11-14T22:13:20.000Z',
      datacontenttype: 'image/png',
      attempt: 1,
      data_base64: 'AP8=',
    })
  })
})
