import { Fault, type FaultCode } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { codes, ok, reasons, statusOf, statusOfAll, statusOfStored } from './faults.ts'

const every = Object.keys(reasons) as FaultCode[]
const stored = { id: 'A', queue: { topic: 't', node: 'n', index: 0 }, offset: 1, place: 1 }

describe('faults in the words of RocketMQ', () => {
  it('never calls a failure a success, and says its message', () => {
    for (const code of every) {
      const status = statusOf(new Fault(code, 'why not'))
      expect(status.code, code).toBeGreaterThanOrEqual(40_000)
      expect(status.message).toBe(code === 'internal' ? 'internal error' : 'why not')
    }
  })

  it('keeps what is no Fault to itself', () => {
    expect(statusOf(new TypeError('secret words'))).toEqual({
      code: codes.INTERNAL_SERVER_ERROR,
      message: 'internal error',
    })
  })

  it('names what clients tell apart', () => {
    const of = (code: FaultCode, about?: string) => statusOf(new Fault(code, '', about ? { about } : {})).code
    expect(of('invalid')).toBe(codes.BAD_REQUEST)
    expect(of('invalid', 'topic')).toBe(codes.ILLEGAL_TOPIC)
    expect(of('invalid', 'filter')).toBe(codes.ILLEGAL_FILTER_EXPRESSION)
    expect(of('invalid', 'something new')).toBe(codes.BAD_REQUEST)
    expect(of('conflict', 'type')).toBe(codes.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE)
    expect(of('receiptExpired')).toBe(codes.INVALID_RECEIPT_HANDLE)
    expect(of('notFound', 'receipt')).toBe(codes.INVALID_RECEIPT_HANDLE)
    expect(of('tooLarge')).toBe(codes.MESSAGE_BODY_TOO_LARGE)
    expect(of('outcomeUnknown')).toBe(codes.PROXY_TIMEOUT)
  })

  it('says when a message is stored less safely than asked', () => {
    expect(statusOfStored(stored)).toBe(ok)
    expect(statusOfStored({ ...stored, durable: 'flushTimeout' }).code).toBe(codes.MASTER_PERSISTENCE_TIMEOUT)
    expect(statusOfStored({ ...stored, durable: 'replicaTimeout' }).code).toBe(codes.SLAVE_PERSISTENCE_TIMEOUT)
    expect(statusOfStored({ ...stored, durable: 'noReplica' }).code).toBe(codes.HA_NOT_AVAILABLE)
    expect(statusOfStored(new Fault('throttled', 'slower')).code).toBe(codes.TOO_MANY_REQUESTS)
  })

  it('agrees on one status for several entries, or says that they differ', () => {
    const bad = { status: statusOf(new Fault('throttled', 'slower')) }
    expect(statusOfAll([{ status: ok }, { status: ok }])).toBe(ok)
    expect(statusOfAll([bad]).code).toBe(codes.TOO_MANY_REQUESTS)
    expect(statusOfAll([{ status: ok }, bad]).code).toBe(codes.MULTIPLE_RESULTS)
    expect(statusOfAll([]).code).toBe(codes.INTERNAL_SERVER_ERROR)
  })
})
