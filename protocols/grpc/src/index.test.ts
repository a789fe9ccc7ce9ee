import { describe, expect, it } from 'vitest'
import grpc from './index.ts'

describe('gRPC', () => {
  it('is known by the first 24 bytes', () => {
    const { detect } = grpc()
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    for (let length = 0; length < 24; length++) expect(detect!(preface.subarray(0, length))).toBeUndefined()
    expect(detect!(preface)).toBe(true)
    expect(detect!(Buffer.concat([preface, Buffer.from([0])]))).toBe(true)
    expect(detect!(Buffer.from('PRI * HTTP/1'))).toBe(false)
    expect(detect!(Buffer.from('POST'))).toBe(false)
  })
})
