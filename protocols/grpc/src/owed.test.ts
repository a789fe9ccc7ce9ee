import type net from 'node:net'
import { connect } from 'node:net'
import type { Limits } from '@sluice/core'
import { fakeClock } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { asking, House } from '../test/harness.ts'
import { frame, RawClient } from '../test/raw.ts'
import { Ends } from './http2/ends.ts'
import { Owed } from './owed.ts'

let house: House | undefined
let socket: net.Socket | undefined
const open = async (limits: Partial<Limits> = {}) => {
  house = await House.open({ topics: ['orders'], limits })
  socket = connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  return { house, raw: new RawClient(socket), caller: house.caller() }
}
afterEach(async () => {
  socket?.destroy()
  await house?.close()
  house = socket = undefined
})
const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}
const BODY = 128 * 1024
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

describe('what a connection was given and has not taken', () => {
  it('is limits.outboundBytes at most; the rest of a batch is with the next consumer at once, uncounted', async () => {
    const { house, raw, caller } = await open({ outboundBytes: 2 * BODY })
    for (let n = 0; n < 8; n++) await caller.send('orders', Buffer.alloc(BODY, n))
    raw.reads = false
    const { id } = raw.ask('ReceiveMessage', asking('orders', 'g'))
    await until(() => house.gateway.of('settle').length === 1)
    expect(house.gateway.of('settle')[0]).toMatchObject({ outcome: { kind: 'retry', after: 0, counts: false } })
    let others = 0
    while (others < 6) {
      for (const { message } of await caller.receive(asking('orders', 'g'))) {
        if (!message) continue
        expect(message.system_properties.delivery_attempt).toBe(1)
        others++
      }
    }
    raw.reset(id)
    const back = (await caller.receive(asking('orders', 'g'))).filter(({ message }) => message)
    expect(back.map(({ message }) => message.body[0])).toEqual([0, 1])
    raw.reads = true
    raw.write(frame('WINDOW', 0, 0, u32(4 * BODY)))
    await caller.send('orders', 'small')
    const [, after] = await raw.ask('ReceiveMessage', asking('orders', 'g')).answer
    expect(String(after.message.body)).toBe('small')
  })

  it('is waited for by its next poll, until its reader has taken some', async () => {
    const { house, raw, caller } = await open({ outboundBytes: 2 * BODY })
    for (const body of [Buffer.alloc(BODY), Buffer.alloc(BODY), 'small']) await caller.send('orders', body)
    raw.reads = false
    const first = raw.ask('ReceiveMessage', asking('orders', 'g', { batch_size: 2 }))
    await until(() => raw.frames.some(({ type, stream }) => type === 'DATA' && stream === first.id))
    const second = raw.ask('ReceiveMessage', asking('orders', 'g', { long_polling_timeout: { seconds: 20 } }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(house.gateway.of('pop').length).toBe(1)
    raw.write(Buffer.concat([frame('WINDOW', 0, 0, u32(8 * BODY)), frame('WINDOW', 0, first.id, u32(BODY))]))
    const [, { message }] = await second.answer
    expect(String(message.body)).toBe('small')
    raw.write(frame('WINDOW', 0, first.id, u32(BODY)))
    expect((await first.answer).filter(({ message }) => message).length).toBe(2)
  })

  it('counts what is pulled, and a pull goes on where it was cut', async () => {
    const { raw, caller } = await open({ outboundBytes: 2 * BODY })
    for (let n = 0; n < 4; n++) await caller.send('orders', Buffer.alloc(BODY, n))
    const pull = (offset: number) =>
      raw.ask('PullMessage', {
        group: { name: 'g' },
        message_queue: { topic: { name: 'orders' }, id: 0, broker: { name: 'node-1' } },
        offset,
        batch_size: 32,
        long_polling_timeout: { seconds: 1 },
      }).answer
    const seen: number[] = []
    for (let offset = 0; seen.length < 4; ) {
      const parts = await pull(offset)
      seen.push(...parts.flatMap(({ message }) => (message ? [message.body[0]] : [])))
      offset = Number(parts.at(-1).next_offset)
      expect(offset).toBe(seen.length)
    }
    expect(seen).toEqual([0, 1, 2, 3])
  })

  it('is one message where a single one is larger, and waits no longer than it is told', async () => {
    const owed = new Owed(10)
    expect(owed.admit([20, 1])).toBe(1)
    const clock = fakeClock()
    const never = new AbortController()
    const inTime = owed.room(clock, 100, never.signal)
    const late = owed.room(clock, 10, never.signal)
    clock.advance(10)
    expect(await late).toBeUndefined()
    const given = new AbortController()
    const gone = owed.room(clock, 100, given.signal)
    given.abort()
    expect(await gone).toBeUndefined()
    owed.given(20)
    expect(await inTime).toBe(90)
    expect(owed.admit([4, 4, 4])).toBe(2)
  })
})

describe('an answer that was said to its end', () => {
  const reset = (id: number, code: number) => frame('RST_STREAM', 0, id, Buffer.from([0, 0, 0, code]))

  it('goes back, uncounted, when its client gives it up: it had not seen the end', async () => {
    const { house, raw, caller } = await open()
    await caller.send('orders', 'crossed')
    const { id, answer } = raw.ask('ReceiveMessage', asking('orders', 'g'))
    await answer
    raw.write(reset(id, 0))
    await raw.call('Heartbeat', { client_type: 'SIMPLE_CONSUMER' })
    expect(house.gateway.of('settle')).toEqual([])
    const other = raw.ask('ReceiveMessage', asking('orders', 'g2'))
    await other.answer
    raw.write(reset(other.id, 8))
    const [, again] = await caller.receive(asking('orders', 'g2'))
    expect(again.message.system_properties.delivery_attempt).toBe(1)
  })

  it('is remembered for five seconds, and the latest 64', () => {
    const ends = new Ends()
    const undone: number[] = []
    for (let stream = 0; stream < 65; stream++) ends.said(stream, stream, () => undone.push(stream))
    for (const stream of [0, 1, 1]) ends.unseen(stream)
    ends.tick(5_002)
    for (const stream of [2, 3]) ends.unseen(stream)
    expect(undone).toEqual([1, 3])
  })
})
