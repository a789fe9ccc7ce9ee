import { createRequire } from 'node:module'
import { systemClock } from '@sluice/core'
import { fakeGateway, fakePeer, socketPair } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import grpc from './index.ts'

const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('protobufjs'))

describe('the protobuf library', () => {
  it('is not loaded before the first connection, and serves that one', async () => {
    const gateway = fakeGateway({ clock: systemClock })
    const server = await grpc().start(gateway)
    await new Promise((resolve) => setImmediate(resolve))
    expect(loaded()).toBe(false)
    const [near, far] = socketPair()
    server.accept(far, fakePeer())
    near.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const first: Buffer = await new Promise((resolve) => near.once('data', resolve))
    expect(first[3]).toBe(4) // SETTINGS
    expect(loaded()).toBe(true)
    await server.close()
    gateway.close()
  })

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
