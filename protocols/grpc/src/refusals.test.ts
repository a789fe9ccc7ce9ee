import { readFileSync } from 'node:fs'
import { createSeal, Fault, type FaultCode, type Kind, type Lease, type Stored } from '@sluice/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asking, type Caller, House, type Reply, service } from '../test/harness.ts'
import { descriptor } from './descriptor.ts'

/**
 * fixtures/refusals.json: call × defect → code. `names`: what the message must name, as a regular expression.
 * In a request `{"$text"}` and `{"$bytes"}` are bodies, `{"$repeat": [text, times]}` long texts, `{"$properties": n}` many of
 * them, `{"$soon": s}` a time from now; `{"$receipt"}`, `{"$transaction"}` and `{"$recall"}` handles in that state.
 * `fault`: what the broker throws (without a code: a bug), `durable`: how it stored.
 */
interface Row {
  readonly rpc: string
  readonly defect: string
  readonly code: string
  readonly names: string
  readonly request: object
  readonly client?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly users?: true
  readonly fault?: { readonly kind: Kind; readonly code?: FaultCode; readonly about?: string; readonly message: string }
  readonly durable?: NonNullable<Stored['durable']>
}
const { rows, unreachable } = JSON.parse(
  readFileSync(new URL('../fixtures/refusals.json', import.meta.url), 'utf8'),
) as { readonly rows: readonly Row[]; readonly unreachable: Readonly<Record<string, string>> }

type Enums = {
  nested: { apache: { nested: { rocketmq: { nested: { v2: { nested: { Code: { values: object } } } } } } } }
}
const codes = (descriptor as Enums).nested.apache.nested.rocketmq.nested.v2.nested.Code.values as Readonly<
  Record<string, number>
>

let house: House
let guarded: House
let caller: Caller
beforeAll(async () => {
  const lite = { topic: 'orders', quota: 3, exclusive: false }
  const groups = [{ group: 'lite', fifo: true, maxAttempts: 16, backoff: [1_000], lite }]
  house = await House.open({ autoCreate: false, topics: ['orders', 'plain', 'mute'], groups })
  guarded = await House.open({ topics: ['orders'], users: { AK: 'secret' } })
  caller = house.caller()
})
afterAll(() => Promise.all([house.close(), guarded.close()]))

const held = async (group: string): Promise<string> => {
  await caller.send('orders', 'x')
  const parts: Reply[] = await caller.receive(asking('orders', group, { batch_size: 1 }))
  return parts.find((part) => part.message)!.message.system_properties.receipt_handle
}
/** Ours to the last letter but one. */
const forged = (text: string) => text.slice(0, -2) + (text.at(-2) === 'A' ? 'B' : 'A') + text.at(-1)

const receipts: Readonly<Record<string, () => Promise<string>>> = {
  held: () => held('holds'),
  forged: async () => forged(await held('forges')),
  foreign: async () => {
    const lease = house.gateway.seal.openLease(await held('foreign'))
    return createSeal(Buffer.from('the key of quite another cluster')).lease(lease)
  },
  settled: async () => {
    const handle = await held('settles')
    await caller.call('AckMessage', { entries: [{ receipt_handle: handle }] })
    return handle
  },
  expired: async () => {
    const lease: Lease = house.gateway.seal.openLease(await held('expires'))
    return house.gateway.seal.lease({ ...lease, poppedAt: lease.poppedAt - 3_600_000 })
  },
}
const transaction = async (): Promise<string> =>
  (await caller.send('orders', 'half', { message_type: 'TRANSACTION' })).entries[0].transaction_id
const transactions: typeof receipts = {
  ours: transaction,
  forged: async () => forged(await transaction()),
  async ended() {
    const transaction_id = await transaction()
    await caller.call('EndTransaction', { topic: { name: 'orders' }, transaction_id, resolution: 'ROLLBACK' })
    return transaction_id
  },
}
const delayed = async (): Promise<string> => {
  const delivery_timestamp = { seconds: Math.floor(Date.now() / 1_000) + 3_600 }
  return (await caller.send('orders', 'later', { delivery_timestamp })).entries[0].recall_handle
}
const recalls: typeof receipts = {
  waiting: delayed,
  async recalled() {
    const recall_handle = await delayed()
    await caller.call('RecallMessage', { topic: { name: 'orders' }, recall_handle })
    return recall_handle
  },
}

type Makers = Readonly<Record<string, (of: never) => unknown>>
const makers: Makers = {
  $text: (text: string) => Buffer.from(text),
  $bytes: (count: number) => Buffer.alloc(count, 1),
  $repeat: ([text, times]: [string, number]) => text.repeat(times),
  $properties: (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, ''])),
  $soon: (seconds: number) => Math.floor(Date.now() / 1_000) + seconds,
  $receipt: (state: string) => receipts[state]!(),
  $transaction: (state: string) => transactions[state]!(),
  $recall: (state: string) => recalls[state]!(),
}

const made = async (value: unknown): Promise<unknown> => {
  if (Array.isArray(value)) return Promise.all(value.map(made))
  if (typeof value !== 'object' || value === null) return value
  const [first] = Object.entries(value)
  const maker = first && makers[first[0]]
  if (maker) return maker(first[1] as never)
  const parts = await Promise.all(Object.entries(value).map(async ([name, of]) => [name, await made(of)]))
  return Object.fromEntries(parts)
}

const interfere = ({ gateway }: House, { fault, durable }: Row): void => {
  if (fault?.code) gateway.failNext(fault.kind, new Fault(fault.code, fault.message, fault.about ? fault : {}))
  else if (fault) gateway.failNext(fault.kind, new TypeError(fault.message))
  if (durable) {
    const queue = { topic: 'orders', node: 'memory', index: 0 }
    gateway.answer('publish', () => ({ stored: [{ id: 'ID1', queue, offset: 0, place: 0, durable }] }))
  }
}

const statusOf = async (from: Caller, rpc: string, request: object): Promise<Reply> => {
  const { requestStream, responseStream } = service[rpc]!
  if (!responseStream) return (await from.call(rpc, request)).status
  if (!requestStream) {
    for await (const part of from.stream(rpc, request)) return part.status
  }
  const stream = from.telemetry()
  stream.write(request)
  return new Promise((resolve) => stream.once('data', ({ status }) => resolve(status)))
}

describe('a refusal', () => {
  for (const row of rows) {
    it(`${row.rpc}: ${row.defect}: ${row.code}`, async () => {
      const at = row.users ? guarded : row.durable ? await House.open({ topics: ['orders'] }) : house
      if (row.request && JSON.stringify(row.request).includes('"mute"')) muted(house)
      const request = (await made(row.request)) as object
      const from = at.caller(row.client === undefined ? 'refused' : String(await made(row.client)))
      for (const [name, value] of Object.entries(row.headers ?? {})) from.metadata.set(name, value)
      interfere(at, row)
      const status = await statusOf(from, row.rpc, request)
      expect(`${status.code} ${status.message}`).toMatch(new RegExp(`^${codes[row.code]} `))
      expect(status.message).toMatch(new RegExp(row.names))
      const before = [...at.server.connections()].map(({ id }) => id)
      from.metadata.set('x-mq-client-id', 'refused')
      from.metadata.remove('authorization')
      if (!row.users) expect((await from.call('Heartbeat', { client_type: 'PRODUCER' })).status.code).toBe(20000)
      expect([...at.server.connections()].map(({ id }) => id)).toEqual(before)
      from.close()
      if (row.durable) await at.close()
    })
  }

  it('stands here for every code, or why it cannot be had', () => {
    const known = new Set([...rows.map(({ code }) => code), ...Object.keys(unreachable)])
    expect([...known].sort()).toEqual(Object.keys(codes).sort())
    for (const { code } of rows) expect(unreachable[code], code).toBeUndefined()
  })

  it('stands here for every call', () => {
    expect([...new Set(rows.map(({ rpc }) => rpc))].sort()).toEqual(Object.keys(service).sort())
  })
})

/** A topic that cannot be read. */
const muted = ({ gateway }: House): void => {
  gateway.answer('topic', ({ topic }) => {
    const queue = { topic, node: 'memory', index: 0 }
    if (topic === 'nowhere') throw new Fault('topicNotFound', `no topic ${topic}`)
    return {
      topic,
      queues: 1,
      type: 'mixed',
      routes: [{ queue, number: 0, readable: topic !== 'mute', writable: true }],
    }
  })
}
