import { describe, expect, it } from 'vitest'
import { isLoopback, parseAddress } from './address.ts'

describe('an address', () => {
  it.each([
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['mq.example.com:65535', { host: 'mq.example.com', port: 65_535 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    ['[2001:db8::4]:443', { host: '2001:db8::4', port: 443 }],
  ])('%s', (text, address) => {
    expect(parseAddress(text)).toEqual(address)
  })

  it.each([
    '',
    ':80',
    'host',
    'host:',
    'host:0',
    'host:65536',
    'host:x',
    '::1:80',
    '[::1]',
    '[host]:80',
    'a b:80',
    'a:1:2',
  ])('is not %j', (text) => {
    expect(parseAddress(text)).toBeUndefined()
  })

  it('has port 0 only where any free one may be meant', () => {
    expect(parseAddress('[::]:0', 0)).toEqual({ host: '::', port: 0 })
    expect(parseAddress('h:65536', 0)).toBeUndefined()
  })

  it('is on loopback, or is not', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost'])
      expect([host, isLoopback(host)]).toEqual([host, true])
    for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.example.com', 'localhost.example.com', ''])
      expect([host, isLoopback(host)]).toEqual([host, false])
  })
})
