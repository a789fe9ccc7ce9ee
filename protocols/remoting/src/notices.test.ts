import { encodeRecord, knownHost, noHost, viewRecord } from '@sluice/remoting'
import { faultOf } from '@sluice/testkit'
import { expect, it } from 'vitest'
import { toNotice } from './notices.ts'

const store = knownHost('127.0.0.1:8081')!.host.bytes
const half = { node: 'n', topic: 'T', group: 'PG', id: 'ID', place: 4096, offset: 3 }

it('asks a producer to decide by the record of its half message', () => {
  const record = encodeRecord({ topic: 'T', body: Buffer.from('x'), properties: {} }, noHost, {
    queue: 0,
    offset: 3,
    place: 4096,
    storedAt: 1,
  })
  expect(toNotice({ kind: 'checkTransaction', half, message: viewRecord(record, 'n') }, store)).toEqual({
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

it('says so where it has no word', async () => {
  const fault = await faultOf(() => toNotice({ kind: 'unbound', inbox: 'i', pattern: 'T/#' }, store))
  expect(fault.code).toBe('unsupported')
})
