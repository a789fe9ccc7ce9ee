import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseHost } from './host.ts'
import { isRecord, viewRecord } from './record.ts'
import { encodeRecord } from './recordOut.ts'
import { restamp } from './restamp.ts'

const host = (text: string) => parseHost(text) as NonNullable<ReturnType<typeof parseHost>>
const at = { queue: 1, offset: 7, place: 4096, storedAt: 1_700_000_000_000 }

describe('restamp', () => {
  it('says queue, attempts and more properties otherwise, and leaves the rest alone', () => {
    fc.assert(
      fc.property(
        fc.record({
          body: fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.constant(new Uint8Array(5_000).fill(7))),
          topic: fc.constantFrom('T', 'x'.repeat(200)),
          packed: fc.constantFrom('', 'TAGS\x01a\x02', 'TAGS\x01a'),
          born: fc.constantFrom('1.2.3.4:5', '[::1]:6'),
          store: fc.constantFrom('1.2.3.4:5', '[::1]:6'),
        }),
        ({ body, topic, packed, born, store }) => {
          const message = {
            topic,
            body: Buffer.from(body),
            properties: {},
            packed: Buffer.from(packed),
            bornHost: born,
          }
          const record = encodeRecord(message, host(store), at)
          const { parts, full } = restamp(record, { queue: 5, reconsumeTimes: 3, properties: 'POP_CK\x01x y\x02' })
          const whole = Buffer.concat(parts)
          expect(isRecord(whole) && !full).toBe(true)
          const [was, is] = [viewRecord(record, ''), viewRecord(whole, '')]
          expect(is.queue.index).toBe(5)
          expect(is.reconsumeTimes).toBe(3)
          expect(is.property('POP_CK')).toBe('x y')
          expect(is.tag).toBe(was.tag)
          expect([is.topic, is.bornHost, is.storeHost, is.place, is.offset]).toEqual([
            was.topic,
            was.bornHost,
            was.storeHost,
            was.place,
            was.offset,
          ])
          expect(is.body.equals(was.body)).toBe(true)
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('leaves properties out where a record cannot say more', () => {
    const packed = Buffer.from(`a\x01${'v'.repeat(32_700)}\x02`)
    const record = encodeRecord({ topic: 'T', body: Buffer.from('b'), properties: {}, packed }, host('1.2.3.4:5'), at)
    const { parts, full } = restamp(record, {
      queue: 5,
      reconsumeTimes: 3,
      properties: `POP_CK\x01${'x'.repeat(99)}\x02`,
    })
    expect(full).toBe(true)
    const is = viewRecord(Buffer.concat(parts), '')
    expect([is.queue.index, is.reconsumeTimes, is.property('POP_CK')]).toEqual([5, 3, undefined])
  })
})
