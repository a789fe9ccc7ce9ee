import type { Message } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PropertyView, propertyText } from './properties.ts'

const body = Buffer.alloc(0)
const digit = { protocol: 'mqtt', bytes: Buffer.from('0') }
const more: Partial<Message>[] = [
  { path: 'b/c' },
  { path: 'b/d' },
  { path: '' },
  { via: 'amqp' },
  { original: digit },
  { original: { protocol: 'mqtt', bytes: Buffer.from('2') } },
  { id: 'i' },
  { tag: 't' },
  { keys: ['k'] },
  { keys: [] },
  { group: 'g' },
  { priority: 3 },
  { deliverAt: 5 },
  { half: {} },
  { contentType: 'c' },
  { correlationId: 'r' },
  { replyTo: 'p' },
  { expiresAt: 7 },
  { retain: true },
  { traceparent: 'x' },
  { encoding: 'gzip' },
  { properties: { user: 'u' } },
  { topic: 'B' },
]

describe('a property string', () => {
  it('is that of its own message, whichever were written before', () => {
    const message = fc
      .array(fc.constantFrom(...more), { maxLength: 2 })
      .map((list): Message => Object.assign({ topic: 'A', body, properties: {}, via: 'mqtt' }, ...list))
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
        for (const one of [...messages, ...messages]) {
          const view = new PropertyView(Buffer.from(propertyText(one)))
          const { topic: _, body: __, encoding, keys, ...rest } = one
          expect(view).toMatchObject(rest)
          expect(view.keys).toEqual(keys?.length ? keys : undefined)
          expect(view.encoding).toBe(encoding)
          for (const field of ['path', 'original', 'id', 'tag', 'group', 'retain', 'expiresAt', 'half'] as const)
            if (one[field] === undefined) expect(view[field], field).toBeUndefined()
          if (one.path !== undefined) expect(propertyText(one)).toContain(`${one.topic}/${one.path}`)
        }
      }),
      { numRuns: Math.min(Number(process.env.SLUICE_RUNS ?? 2_000), 10_000) },
    )
  })
})
