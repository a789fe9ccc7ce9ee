import net from 'node:net'
import type { Limits } from '@sluice/core'
import { fakePeer } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { asking, House, message } from '../test/harness.ts'
import { RawClient } from '../test/raw.ts'
import { Groups } from './groups.ts'

let house: House
const sockets: net.Socket[] = []
const open = async (limits: Partial<Limits> = {}, more: object = {}) => {
  house = await House.open({ topics: ['orders'], limits, ...more })
}
const raw = (client?: string): RawClient => {
  const socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  sockets.push(socket)
  return new RawClient(socket, client)
}
const connection = () => [...house.server.connections()].at(-1)!
const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await house.close()
})

describe('a client costs at most', () => {
  it('two messages and a window on their way to a reader that does not read; what it was given goes back', async () => {
    await open()
    const bytes = 512 * 1024
    const caller = house.caller()
    for (let n = 0; n < 16; n++) await caller.send('orders', Buffer.alloc(bytes, n))
    const slow = raw('slow')
    slow.reads = false
    const { id } = slow.ask('ReceiveMessage', asking('orders', 'g'))
    await until(() => slow.frames.some(({ type, stream }) => type === 'DATA' && stream === id))
    await new Promise((resolve) => setTimeout(resolve, 100))
    const said = slow.frames.filter(({ type, stream }) => type === 'DATA' && stream === id)
    expect(said.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_535)
    const settled = house.gateway.next('settle')
    sockets[0]!.destroy()
    expect((await settled).receipts.length).toBe(16)
    const parts = await caller.receive(asking('orders', 'g'))
    expect(parts.filter((part) => part.message).length).toBe(16)
    expect(parts[1].message.system_properties.delivery_attempt).toBe(1)
  })

  it('the patience for a reader that takes nothing', async () => {
    await open({ stallMs: 200 })
    await house.caller().send('orders', Buffer.alloc(1024 * 1024, 1))
    const slow = raw('slow')
    slow.reads = false
    const { answer } = slow.ask('ReceiveMessage', asking('orders', 'g'))
    await expect(answer).rejects.toThrow('reset')
    await until(() => house.gateway.of('settle').length === 1)
    expect(connection().busy).toBe(0)
  })

  it('the time of a frame for a request that does not come in full', async () => {
    await open({ frameMs: 200 })
    const lazy = raw()
    await expect(lazy.ask('Heartbeat', {}).answer).resolves.toHaveLength(1)
    // A whole message on a stream that stays open is a request that has not come in full.
    const { answer } = lazy.ask('SendMessage', { messages: [message('orders', Buffer.alloc(100))] }, true)
    await expect(answer).rejects.toThrow('reset')
  })

  it('sixteen frames of requests that are not worked on', async () => {
    await open({ frameBytes: 64 * 1024, inflight: 1 })
    house.gateway.hold('publish')
    const greedy = raw()
    await greedy.call('Heartbeat', { client_type: 'PRODUCER' })
    let refused = 0
    for (let n = 0; n < 12; n++) {
      const body = Buffer.alloc(120 * 1024, n)
      void greedy.ask('SendMessage', { messages: [message('orders', body)] }).answer.catch(() => refused++)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await until(() => refused > 0)
    expect(house.gateway.of('publish').length).toBe(1)
  })

  it('limits.inflight calls at once; the others wait their turn', async () => {
    await open({ inflight: 2 })
    const hold = house.gateway.hold('publish')
    const caller = house.caller()
    const sending = Array.from({ length: 6 }, (_, n) => caller.send('orders', String(n)))
    await until(() => hold.waiting === 2)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(hold.waiting).toBe(2)
    hold.release()
    expect((await Promise.all(sending)).map(({ status }) => status.code)).toEqual(Array(6).fill(20000))
  })

  it('nothing once it gave up: a call that waits for its turn is not begun then', async () => {
    await open({ inflight: 1 })
    const hold = house.gateway.hold('publish')
    const caller = house.caller()
    const first = caller.send('orders', 'first')
    await until(() => hold.waiting === 1)
    await expect(caller.call('SendMessage', { messages: [message('orders', 'second')] }, 100)).rejects.toThrow()
    await until(() => connection().busy === 1)
    hold.release()
    await first
    await caller.send('orders', 'third')
    expect(house.gateway.messages('orders').map(({ body }) => String(body))).toEqual(['first', 'third'])
  })

  it('one of limits.connections clients', async () => {
    await open({ connections: 2 })
    const beat = (client: string) => raw(client).call('Heartbeat', { client_type: 'PRODUCER' })
    expect((await beat('a')).status.code).toBe(20000)
    expect((await beat('b')).status.code).toBe(20000)
    const one = raw('c')
    await until(() => [...house.server.connections()].length >= 2)
    void one
    const { Clients } = await import('./clients.ts')
    const clients = new Clients(house.gateway)
    const who = (client: string) => ({ protocol: 'grpc', client, language: '', version: 0, peer: fakePeer() })
    const principal = { name: 'p', tenant: '', super: false }
    const forever = { gone: new Promise<void>(() => undefined), goAway: () => undefined }
    await clients.of(who('a'), principal, forever)
    await clients.of(who('b'), principal, forever)
    expect(() => clients.of(who('c'), principal, forever)).toThrow('over 2 clients')
    clients.tick(house.gateway.clock.now() + 121_000)
    expect(clients.size).toBe(0)
  })
})

describe('what is known of groups', () => {
  it('is asked once in 20 s, and forgets the oldest', async () => {
    await open()
    let now = 0
    let asked = 0
    const handle = async () => {
      asked++
      return { group: 'g', fifo: true, maxAttempts: 3, backoff: [] }
    }
    const groups = new Groups(handle as never, () => now)
    const context = {} as never
    await groups.of('g', context)
    expect((await groups.of('g', context))?.fifo).toBe(true)
    expect(asked).toBe(1)
    now = 20_001
    await groups.of('g', context)
    expect(asked).toBe(2)
    for (let n = 0; n < 4_096; n++) await groups.of(`other-${n}`, context)
    const before = asked
    await groups.of('g', context)
    expect(asked).toBe(before + 1)
  })
})
