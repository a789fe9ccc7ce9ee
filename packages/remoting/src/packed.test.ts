import { Fault, type Message } from '@sluice/core'
import { expect, it } from 'vitest'
import { noHost } from './host.ts'
import { PackedMessage, saidOf } from './packed.ts'
import { viewRecord } from './record.ts'
import { encodeRecord } from './recordOut.ts'

const text = 'UNIQ_KEY\x01ID\x02KEYS\x01a b\x02DELAY\x012\x02TRAN_MSG\x01true\x02ключ\x01ü\x02'
const body = Buffer.from('body')
const placement = { queue: 1, offset: 2, place: 3, storedAt: 4 }

it('is the same message and the same record, whether its properties came as text or as bytes', () => {
  const asText = new PackedMessage('T', body, text, 1_000) as PackedMessage & Message
  const asBytes = new PackedMessage('T', body, Buffer.from(text), 1_000) as PackedMessage & Message
  const records = [asText, asBytes].map((message) => encodeRecord(message, noHost, placement))
  expect([saidOf(asText), saidOf(asBytes)]).toEqual([text, Buffer.from(text)])
  expect(records[0]).toEqual(records[1])
  for (const message of [asText, asBytes]) {
    expect(message.packed).toEqual(Buffer.from(text))
    expect(message.id).toBe('ID')
    expect(message.keys).toEqual(['a', 'b'])
    expect(message.properties).toEqual({ ключ: 'ü' })
    expect([message.deliverAt, message.half]).toEqual([6_000, {}])
  }
  expect(viewRecord(records[0] as Buffer, 'n').properties).toEqual({ ключ: 'ü' })
})

it('is due and half as it is told where it does not know when it came', () => {
  const message = new PackedMessage('T', body, text)
  expect([message.deliverAt, message.half]).toEqual([undefined, undefined])
  message.deliverAt = 9
  message.half = { checkAfter: 1 }
  expect([message.deliverAt, message.half]).toEqual([9, { checkAfter: 1 }])
})

it('has at most as many bytes of properties as a record can hold', () => {
  const message = new PackedMessage('T', body, 'ü'.repeat(16_384)) as PackedMessage & Message
  expect(() => encodeRecord(message, noHost, placement)).toThrow(Fault)
})
