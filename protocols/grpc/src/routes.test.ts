import type { TopicInfo } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { refusal } from '../test/refusal.ts'
import { endpointsFor, toAssignments, toQueues } from './routes.ts'

const info: TopicInfo = {
  topic: 'orders',
  queues: 3,
  type: 'mixed',
  routes: [0, 1, 2].map((index) => ({
    queue: { topic: 'orders', node: index < 2 ? 'one' : 'two', index },
    number: index,
    readable: index !== 1,
    writable: true,
  })),
}

describe('routes', () => {
  const asked = { scheme: 'DOMAIN_NAME', addresses: [{ host: 'mq.example', port: 443 }] }
  const newest = { language: 'JAVA', version: 50_200 }
  const advertised = { host: '10.1.1.1', port: 8081 }

  it('sends the client where it came from, as it wrote it', () => {
    expect(endpointsFor(asked, advertised)).toBe(asked)
  })

  it('sends it to the advertised address where it names none that clients can use', () => {
    const fallback = { scheme: 'IPv4', addresses: [advertised] }
    expect(endpointsFor(undefined, advertised)).toEqual(fallback)
    expect(endpointsFor({ scheme: 'IPv4', addresses: [] }, advertised)).toEqual(fallback)
    expect(endpointsFor({ addresses: asked.addresses }, advertised)).toEqual(fallback)
    const twice = { scheme: 'DOMAIN_NAME', addresses: [...asked.addresses, ...asked.addresses] }
    expect(endpointsFor(twice, advertised)).toEqual(fallback)
    expect(endpointsFor(undefined, { host: '::1', port: 1 }).scheme).toBe('IPv6')
    expect(endpointsFor(undefined, { host: 'mq', port: 1 }).scheme).toBe('DOMAIN_NAME')
  })

  it('lists each queue with broker 0, its permission and what the topic takes', () => {
    const queues = toQueues({ name: 'orders' }, info, asked, newest)
    expect(queues.map(({ id, permission, broker }) => [id, permission, broker?.name, broker?.id])).toEqual([
      [0, 'READ_WRITE', 'one', 0],
      [1, 'WRITE', 'one', 0],
      [2, 'READ_WRITE', 'two', 0],
    ])
    expect(queues[0]?.accept_message_types).toEqual(['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION', 'PRIORITY'])
    expect(toQueues({ name: 'orders' }, { ...info, type: 'fifo' }, asked, newest)[0]?.accept_message_types).toEqual([
      'FIFO',
    ])
  })

  it('keeps types that came later from clients whose release does not know them', () => {
    const types = (type: TopicInfo['type'], language: string, version: number) =>
      toQueues({ name: 'orders' }, { ...info, type }, asked, { language, version })[0]?.accept_message_types
    for (const [language, version] of [
      ['JAVA', 50_008],
      ['GO', 50_103],
      ['', 0],
    ] as const) {
      expect(types('mixed', language, version)).toEqual(['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION'])
      expect(types('lite', language, version)).toEqual(['NORMAL'])
    }
    expect([types('lite', 'HTTP', 10_008), types('priority', 'PYTHON', 50_102)]).toEqual([['LITE'], ['PRIORITY']])
  })

  it('assigns one queue of any number a broker, and single ones to a group in order', () => {
    const ids = (fifo: boolean) =>
      toAssignments({ name: 'orders' }, info, fifo, asked).map(({ message_queue: { id, broker } }) => [
        broker?.name,
        id,
      ])
    expect(ids(false)).toEqual([
      ['one', -1],
      ['two', -1],
    ])
    expect(ids(true)).toEqual([
      ['one', 0],
      ['two', 2],
    ])
    expect(refusal(() => toAssignments({ name: 'orders' }, { ...info, routes: [] }, false, asked))).toBe(40300)
  })
})
