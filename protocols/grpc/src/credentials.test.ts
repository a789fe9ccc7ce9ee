import { createHmac } from 'node:crypto'
import { Fault } from '@sluice/core'
import { fakePeer } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { credentialsOf } from './credentials.ts'
import { statusOf } from './faults.ts'

const peer = fakePeer()
const date = '20261124T061500Z'
const hex = createHmac('sha1', 'secret').update(date).digest('hex')
const of = (headers: Record<string, string>) => credentialsOf((name) => headers[name], peer)
const signed = (authorization: string, more: Record<string, string> = { 'x-mq-date-time': date }) =>
  of({ 'x-mq-client-id': 'c', authorization, ...more })
const codeOf = (work: () => unknown) => {
  try {
    work()
  } catch (error) {
    return Fault.is(error) && statusOf(error).code
  }
  return 0
}

describe('credentials', () => {
  it('are a client id and nothing else where nothing is signed', () => {
    expect(of({ 'x-mq-client-id': 'c', 'x-mq-language': 'HTTP', 'x-mq-client-version': '5.2.1-rc' })).toEqual({
      protocol: 'grpc',
      client: 'c',
      language: 'HTTP',
      version: 50_201,
      peer,
    })
    expect(of({ 'x-mq-client-id': 'c' })).toMatchObject({ language: '', version: 0 })
  })

  it('want a client id', () => {
    expect(codeOf(() => of({}))).toBe(40017)
    expect(codeOf(() => of({ 'x-mq-client-id': ' ' }))).toBe(40017)
    expect(codeOf(() => of({ 'x-mq-client-id': 'x'.repeat(256) }))).toBe(40017)
  })

  it('read the signature of every client, in its case and with its scope', () => {
    for (const [key, digest] of [
      ['AK', hex.toUpperCase()],
      ['AK//Rocketmq', hex],
      ['AK/region/RocketMQ', hex],
    ]) {
      const text = `MQv2-HMAC-SHA1 Credential=${key}, SignedHeaders=x-mq-date-time, Signature=${digest}`
      expect(signed(text)).toMatchObject({
        user: 'AK',
        signed: { algorithm: 'hmac-sha1', content: Buffer.from(date), digest: Buffer.from(hex, 'hex') },
      })
    }
  })

  it('ignore the empty signature that Python sends without credentials', () => {
    expect(signed('MQv2-HMAC-SHA1 Credential=, SignedHeaders=x-mq-date-time, Signature=ab').user).toBeUndefined()
    expect(signed('').user).toBeUndefined()
  })

  it('refuse a key without a signature over the date', () => {
    expect(codeOf(() => signed('MQv2-HMAC-SHA1 Credential=AK, Signature=zz'))).toBe(40100)
    expect(codeOf(() => signed('MQv2-HMAC-SHA1 Credential=AK'))).toBe(40100)
    expect(codeOf(() => signed(`MQv2-HMAC-SHA1 Credential=AK, Signature=${hex}`, {}))).toBe(40100)
  })
})
