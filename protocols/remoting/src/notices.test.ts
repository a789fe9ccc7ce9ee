import { encodeRecord, knownHost, noHost, viewRecord } from '@sluice/remoting'
import { faultOf } from '@sluice/testkit'
import { expect, it } from 'vitest'
import { toNotice } from './notices.ts'

const store = knownHost('127.0.0.1:8081')!.host.bytes
const to = { store, language: 'JAVA', client: 'c1', group: 'G' }
const half = { node: 'n', topic: 'T', group: 'PG', id: 'ID', place: 4096, offset: 3 }

it('asks a producer to decide by the record of its half message', () => {
  const record = encodeRecord(
    { topic: 'T', body: Buffer.from('x'), properties: {}, packed: Buffer.from('PGROUP\x01PG\x02') },
    noHost,
    {
      queue: 0,
      offset: 3,
      place: 4096,
      storedAt: 1,
    },
  )
  expect(toNotice({ kind: 'checkTransaction', half, message: viewRecord(record, 'n') }, to)).toEqual({
    code: 39,
    ext: {
      topic: 'T',
      tranStateTableOffset: '3',
      commitLogOffset: '4096',
      msgId: 'ID',
      transactionId: 'ID',
      offsetMsgId: '7F00000100001F910000000000001000',
      bname: 'sluice',
    },
    body: record,
  })
})

it('makes that record where there is none, or none that a client could use', () => {
  const message = {
    topic: 'H',
    body: Buffer.from('x'),
    properties: {},
    id: 'ID',
    offset: 3,
    place: 4096,
    storedAt: 1,
    bornAt: 1,
  }
  const stored = { ...message, queue: { topic: 'H', node: 'n', index: 0 }, bornHost: '1.2.3.4:5' }
  const told = toNotice({ kind: 'checkTransaction', half, message: stored }, to)
  const view = viewRecord((told as { body: Buffer }).body, 'n')
  expect([view.topic, view.property('PGROUP'), String(view.body)]).toEqual(['T', 'PG', 'x'])
})

it('tells of other offsets in the words of each language', () => {
  const offsets = [{ queue: { topic: 'T', node: 'n', index: 1 }, offset: 5 }]
  const notice = { kind: 'resetOffset', group: 'G', topic: 'T', offsets } as const
  const bodyTo = (language: string) => String((toNotice(notice, { ...to, language }) as { body: Buffer }).body)
  expect(bodyTo('JAVA')).toBe('{"offsetTable":{{"brokerName":"sluice","queueId":1,"topic":"T"}:5}}')
  expect(bodyTo('CPP')).toBe('{"offsetTable":[{"brokerName":"sluice","queueId":1,"topic":"T","offset":5}]}')
})

it('says so where it has no word', async () => {
  const fault = await faultOf(() => toNotice({ kind: 'unbound', inbox: 'i', pattern: 'T/#' }, to))
  expect(fault.code).toBe('unsupported')
})
