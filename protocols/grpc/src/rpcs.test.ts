import { Fault } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { asking, type Caller, House, message, type Reply, service } from '../test/harness.ts'

let house: House
let caller: Caller
beforeEach(async () => {
  const topics = [{ topic: 'orders', queues: 2, type: 'mixed' as const }, 'plain']
  const lite = { topic: 'orders', quota: 3, exclusive: false }
  const common = { maxAttempts: 16, backoff: [1_000] }
  house = await House.open({
    autoCreate: false,
    topics,
    groups: [
      { ...common, group: 'ordered', fifo: true },
      { ...common, group: 'lite', fifo: true, lite },
    ],
  })
  caller = house.caller()
  caller.metadata.set('x-mq-language', 'JAVA')
})
afterEach(() => house.close())

const OK = 20000
const orders = { name: 'orders' }
const queue = (id = 0, more: object = {}) => ({ topic: orders, id, broker: { name: 'memory' }, ...more })
const group = { name: 'g' }
const codeOf = async (rpc: string, request: object): Promise<number> => (await caller.call(rpc, request)).status.code
const received = async (more: object = {}, who = 'g'): Promise<Reply[]> =>
  (await caller.receive(asking('orders', who, { long_polling_timeout: { seconds: 1 }, ...more }))).flatMap((part) =>
    part.message ? [part.message] : [],
  )
const texts = (messages: readonly Reply[]) => messages.map(({ body }) => String(body))
const pull = async (request: object): Promise<Reply[]> => {
  const parts: Reply[] = []
  for await (const part of caller.stream('PullMessage', request)) parts.push(part)
  return parts
}
const transaction = async (body = 'half'): Promise<{ message_id: string; transaction_id: string }> =>
  (await caller.send('orders', body, { message_type: 'TRANSACTION' })).entries[0]
const soon = { seconds: Math.floor(Date.now() / 1_000) + 3_600 }

/** What each call of the service does at least: a call without a line here fails. */
const behaviours: Readonly<Record<string, () => Promise<void>>> = {
  async QueryRoute() {
    const { status, message_queues } = await caller.call('QueryRoute', { topic: orders })
    expect([status.code, message_queues.length, message_queues[0].accept_message_types.length]).toEqual([OK, 2, 5])
  },
  async QueryAssignment() {
    const ask = async (name: string) =>
      (await caller.call('QueryAssignment', { topic: orders, group: { name } })).assignments.map(
        (one: Reply) => one.message_queue.id,
      )
    expect(await ask('g')).toEqual([-1])
    expect(await ask('ordered')).toEqual([0, 1])
  },
  async Heartbeat() {
    for (const client_type of ['PUSH_CONSUMER', 'PULL_CONSUMER', 'LITE_PUSH_CONSUMER', 'LITE_SIMPLE_CONSUMER']) {
      expect(await codeOf('Heartbeat', { client_type, group })).toBe(OK)
    }
    expect(house.gateway.of('heartbeat').map(({ member }) => member.consumes[0]?.mode)).toEqual([
      'push',
      'pull',
      'pop',
      'pop',
    ])
  },
  async NotifyClientTermination() {
    await caller.call('Heartbeat', { client_type: 'PRODUCER' })
    expect(await codeOf('NotifyClientTermination', {})).toBe(OK)
    expect(house.gateway.sessions.size).toBe(0)
  },
  async Telemetry() {
    const stream = caller.telemetry()
    stream.write({ settings: { client_type: 'PRODUCER', publishing: { topics: [orders] } } })
    const { status, settings }: Reply = await new Promise((resolve) => stream.once('data', resolve))
    expect([status.code, settings.publishing.max_body_size]).toEqual([OK, 4 * 1024 * 1024])
    stream.end()
  },
  async SendMessage() {
    const messages = ['a', 'b'].map((body) => message('orders', body, { message_group: 'one' }))
    const { status, entries } = await caller.call('SendMessage', { messages })
    expect([status.code, entries.length]).toEqual([OK, 2])
    expect(texts(await received())).toEqual(['a', 'b'])
  },
  async EndTransaction() {
    const { message_id, transaction_id } = await transaction()
    expect(await received()).toEqual([])
    const end = { topic: orders, message_id, transaction_id, resolution: 'COMMIT', source: 'SOURCE_CLIENT' }
    expect(await codeOf('EndTransaction', end)).toBe(OK)
    expect(texts(await received())).toEqual(['half'])
    expect(await codeOf('EndTransaction', end)).toBe(40008)
  },
  async RecallMessage() {
    const sent = await caller.send('orders', 'later', { delivery_timestamp: soon })
    const { recall_handle, message_id } = sent.entries[0]
    const recalled = await caller.call('RecallMessage', { topic: orders, recall_handle })
    expect([recalled.status.code, recalled.message_id]).toEqual([OK, message_id])
    expect(await codeOf('RecallMessage', { topic: orders, recall_handle })).toBe(40400)
  },
  async ReceiveMessage() {
    await caller.send('orders', 'x', { tag: 'red' })
    const filter_expression = { type: 'TAG', expression: 'red' }
    expect(texts(await received({ filter_expression }))).toEqual(['x'])
  },
  async AckMessage() {
    await caller.send('orders', 'x')
    const [one] = await received()
    const { receipt_handle } = one.system_properties
    expect(await codeOf('AckMessage', { group, topic: orders, entries: [{ receipt_handle }] })).toBe(OK)
    expect(await codeOf('AckMessage', { group, topic: orders, entries: [{ receipt_handle }] })).toBe(40013)
  },
  async ChangeInvisibleDuration() {
    await caller.send('orders', 'x')
    const [one] = await received()
    const { receipt_handle } = one.system_properties
    const request = { group, topic: orders, receipt_handle, invisible_duration: { nanos: 1_000_000 } }
    expect(await codeOf('ChangeInvisibleDuration', request)).toBe(OK)
    expect((await received())[0].system_properties.delivery_attempt).toBe(2)
  },
  async ForwardMessageToDeadLetterQueue() {
    await caller.send('orders', 'x')
    const { receipt_handle } = (await received())[0].system_properties
    expect(await codeOf('ForwardMessageToDeadLetterQueue', { group, topic: orders, receipt_handle })).toBe(OK)
    expect(house.gateway.messages('%DLQ%g').length).toBe(1)
  },
  async PullMessage() {
    for (const body of ['a', 'b', 'c']) await caller.send('plain', body)
    const message_queue = { topic: { name: 'plain' }, id: 0, broker: { name: 'memory' } }
    const parts = await pull({ group, message_queue, offset: 1, batch_size: 8 })
    expect(parts.map(({ content }) => content)).toEqual(['status', 'message', 'message', 'next_offset'])
    expect([parts[0].status.code, String(parts[1].message.body), parts[3].next_offset]).toEqual([OK, 'b', 3])
    expect(parts[1].message.system_properties.receipt_handle).toBeUndefined()
    const beyond = await pull({ group, message_queue, offset: 9, batch_size: 8 })
    expect([beyond[0].status.code, beyond[1].next_offset]).toEqual([40019, 3])
    const none = await pull({ group, message_queue, offset: 3, batch_size: 8, long_polling_timeout: { nanos: 1e6 } })
    expect([none[0].status.code, none[1].next_offset]).toEqual([40401, 3])
  },
  async UpdateOffset() {
    expect(await codeOf('UpdateOffset', { group, message_queue: queue(), offset: 7 })).toBe(OK)
    expect((await caller.call('GetOffset', { group, message_queue: queue() })).offset).toBe(7)
  },
  async GetOffset() {
    expect(await codeOf('GetOffset', { group: { name: 'nobody' }, message_queue: queue() })).toBe(40404)
  },
  async QueryOffset() {
    for (const body of ['a', 'b']) await caller.send('plain', body)
    const message_queue = { topic: { name: 'plain' }, id: 0, broker: { name: 'memory' } }
    const ask = async (query_offset_policy: string, more: object = {}) =>
      (await caller.call('QueryOffset', { message_queue, query_offset_policy, ...more })).offset
    expect([await ask('BEGINNING'), await ask('END')]).toEqual([0, 2])
    expect(await ask('TIMESTAMP', { timestamp: { seconds: 1 } })).toBe(0)
  },
  async SyncLiteSubscription() {
    const sync = (action: string, ...lite_topic_set: string[]) =>
      codeOf('SyncLiteSubscription', { action, topic: orders, group: { name: 'lite' }, lite_topic_set })
    expect(await sync('COMPLETE_ADD', 'one', 'two')).toBe(OK)
    for (const lite_topic of ['one', 'two', 'three']) await caller.send('orders', lite_topic, { lite_topic })
    const [first, second] = await received({}, 'lite')
    expect(texts([first, second])).toEqual(['one', 'two'])
    const { receipt_handle, lite_topic, message_type } = first.system_properties
    expect([lite_topic, message_type, first.user_properties]).toEqual(['one', 5, {}])
    const settle = { group: { name: 'lite' }, topic: orders }
    expect(await codeOf('AckMessage', { ...settle, entries: [{ receipt_handle }] })).toBe(OK)
    expect(await codeOf('AckMessage', { ...settle, entries: [{ receipt_handle }] })).toBe(40013)
    const again = {
      ...settle,
      receipt_handle: second.system_properties.receipt_handle,
      invisible_duration: { nanos: 1e6 },
    }
    expect(await codeOf('ChangeInvisibleDuration', again)).toBe(OK)
    expect((await received({}, 'lite'))[0].system_properties.delivery_attempt).toBe(2)
    expect(await sync('PARTIAL_REMOVE', 'two')).toBe(OK)
    await caller.send('orders', 'unheard', { lite_topic: 'two' })
    expect(await received({}, 'lite')).toEqual([])
    expect(await sync('COMPLETE_ADD', 'a', 'b', 'c', 'd')).toBe(42902)
    expect(await sync('PARTIAL_ADD', 'not a name')).toBe(40020)
    expect(await sync('COMPLETE_REMOVE')).toBe(OK)
  },
}

describe('every call of the service', () => {
  it('has its line here', () => {
    expect(Object.keys(behaviours).sort()).toEqual(Object.keys(service).sort())
  })
  for (const rpc of Object.keys(service)) it(rpc, async () => behaviours[rpc]?.())

  it('never answers that it is not implemented, whatever is asked', async () => {
    const codes: number[] = []
    for (const [rpc, { responseStream, requestStream }] of Object.entries(service)) {
      if (requestStream) continue
      const parts: Reply[] = []
      if (responseStream) for await (const part of caller.stream(rpc, {})) parts.push(part)
      else parts.push(await caller.call(rpc, {}))
      codes.push(parts[0].status.code)
    }
    expect(codes.length).toBe(16)
    expect(codes).not.toContain(50100)
  })
})

describe('transactions', () => {
  it('are rolled back, left open, and refuse what is not theirs', async () => {
    const { message_id, transaction_id } = await transaction()
    const end = (more: object) =>
      codeOf('EndTransaction', { topic: orders, message_id, transaction_id, resolution: 'ROLLBACK', ...more })
    expect(await end({ transaction_id: '' })).toBe(40008)
    expect(await end({ transaction_id: `${transaction_id}A` })).toBe(40008)
    expect(await end({ topic: { name: 'plain' } })).toBe(40008)
    expect(await end({ message_id: 'another' })).toBe(40008)
    expect(await end({ resolution: 0, source: 'SOURCE_SERVER_CHECK' })).toBe(OK)
    expect(house.gateway.of('endTransaction').at(-1)).toMatchObject({ resolution: 'unknown', byCheck: true })
    expect(await end({})).toBe(OK)
    expect(await received()).toEqual([])
  })

  it('are ended at any gateway of the cluster', async () => {
    const { message_id, transaction_id } = await transaction()
    const elsewhere = await House.open({ topics: ['orders'] })
    elsewhere.gateway.answer('endTransaction', () => ({}))
    const end = { topic: orders, message_id, transaction_id, resolution: 'COMMIT' }
    expect((await elsewhere.caller('never seen').call('EndTransaction', end)).status.code).toBe(OK)
    const half = elsewhere.gateway.of('endTransaction')[0]?.half
    expect(half).toMatchObject({ node: 'memory', topic: 'orders', group: 'orders', id: message_id })
    await elsewhere.close()
  })
})

describe('an inbox of lite topics', () => {
  it('is one of four groups of a client at most', async () => {
    const codes: number[] = []
    for (let n = 0; n < 5; n++) {
      const sync = { topic: orders, group: { name: `lite-${n}` }, lite_topic_set: ['one'] }
      codes.push(await codeOf('SyncLiteSubscription', sync))
    }
    expect(codes).toEqual([OK, OK, OK, OK, 42900])
  })

  it('is found by a heartbeat alone, where settings did not come', async () => {
    const [subscribed, polls] = [house.caller('lite'), house.caller('lite')]
    const sync = { topic: orders, group: { name: 'any' }, lite_topic_set: ['one'] }
    await subscribed.call('Heartbeat', { client_type: 'LITE_PUSH_CONSUMER', group: { name: 'any' } })
    expect((await subscribed.call('SyncLiteSubscription', sync)).status.code).toBe(OK)
    await caller.send('orders', 'x', { lite_topic: 'one' })
    const parts: Reply[] = await polls.receive(asking('orders', 'any', { long_polling_timeout: { seconds: 1 } }))
    expect(parts.flatMap((part) => (part.message ? [String(part.message.body)] : []))).toEqual(['x'])
  })

  it('is opened anew when another gateway opened it meanwhile', async () => {
    const sync = { action: 'COMPLETE_ADD', topic: orders, group: { name: 'lite' }, lite_topic_set: ['one'] }
    expect(await codeOf('SyncLiteSubscription', sync)).toBe(OK)
    house.gateway.failNext('pop', new Fault('conflict', 'opened anew', { about: 'epoch' }))
    await caller.receive(asking('orders', 'lite', { long_polling_timeout: { seconds: 1 } }))
    expect(await received({}, 'lite')).toEqual([])
    expect(house.gateway.of('open').length).toBe(2)
  })
})
