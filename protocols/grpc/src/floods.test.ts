import net from 'node:net'
import type { Limits } from '@sluice/core'
import { afterEach, describe, expect, it } from 'vitest'
import { House, message, service } from '../test/harness.ts'
import { frame, RawClient } from '../test/raw.ts'
import { literal } from './http2/hpack.ts'

let house: House
const sockets: net.Socket[] = []
const open = async (limits: Partial<Limits> = {}): Promise<RawClient> => {
  house = await House.open({ topics: ['orders'], limits })
  return raw()
}
const raw = (): RawClient => {
  const socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  sockets.push(socket)
  return new RawClient(socket)
}
const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}
const closed = () => new Promise((resolve) => sockets[0]!.once('close', resolve))
const connection = () => [...house.server.connections()][0]
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await house.close()
})

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const head = (rpc: string) =>
  Buffer.concat([
    Buffer.from([0x83, 0x86]),
    literal(':path', service[rpc]!.path),
    literal('content-type', 'application/grpc'),
    literal('x-mq-client-id', 'raw'),
  ])
const packed = (rpc: string, request: object): Buffer => {
  const bytes = service[rpc]!.requestSerialize(request)
  return Buffer.concat([Buffer.alloc(1), u32(bytes.length), bytes])
}
const times = (count: number, make: (id: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(2 * at + 1)))
const countOf = (client: RawClient, type: string) => client.frames.filter((one) => one.type === type).length

/** 4,096 at once are taken; what is done more than that ends the connection with ENHANCE_YOUR_CALM. */
describe('frames that lead to nothing end the connection', () => {
  const beat = head('Heartbeat')
  const send = frame('DATA', 1, 1, packed('SendMessage', { messages: [message('orders', 'x')] })).subarray(9)
  const ways: readonly (readonly [string, Buffer])[] = [
    [
      'calls that are made and given up (CVE-2023-44487)',
      times(4_200, (id) =>
        Buffer.concat([
          frame('HEADERS', 4, id, head('SendMessage')),
          frame('DATA', 1, id, send),
          frame('RST_STREAM', 0, id, u32(8)),
        ]),
      ),
    ],
    [
      'calls that we are made to give up (CVE-2025-8671)',
      times(4_200, (id) => Buffer.concat([frame('HEADERS', 4, id, beat), frame('WINDOW', 0, id, u32(0))])),
    ],
    ['malformed requests', times(4_200, (id) => frame('HEADERS', 5, id, Buffer.from([0x83])))],
    ['settings (CVE-2019-9515)', times(300, () => frame('SETTINGS', 0, 0, Buffer.from('000400000001', 'hex')))],
    [
      'data without content (CVE-2019-9518)',
      Buffer.concat([frame('HEADERS', 4, 1, beat), times(4_200, () => frame('DATA', 0, 1))]),
    ],
    [
      'a header block that does not end (CVE-2024-27316)',
      Buffer.concat([frame('HEADERS', 1, 1, beat), times(1_000, () => frame('CONT', 0, 1))]),
    ],
  ]
  it.each(ways)('%s', async (_, frames) => {
    const client = await open({ inflight: 4 })
    house.gateway.hold('publish')
    client.write(frames)
    await closed()
    expect(client.goaways.map(({ code }) => code)).toEqual([11])
    expect(house.gateway.of('publish').length).toBeLessThanOrEqual(4)
    const other = raw()
    expect((await other.call('Heartbeat', { client_type: 'PRODUCER' })).status.code).toBe(20000)
  })
})

describe('what a peer can make grow', () => {
  it('a table of headers and a list of what it has: 4 KiB and 16 KiB', async () => {
    const client = await open()
    const entry = Buffer.concat([Buffer.from([0x40]), literal('x-bomb', 'y'.repeat(4_000)).subarray(1)])
    const bomb = Buffer.concat([entry, Buffer.alloc(12_000, 0xbe)])
    client.write(times(100, (id) => frame('HEADERS', 5, id, bomb)))
    await until(() => countOf(client, 'RST_STREAM') === 100)
    const codes = client.frames.filter(({ type }) => type === 'RST_STREAM').map(({ payload }) => payload[3])
    expect(new Set(codes)).toEqual(new Set([11]))
    expect(client.goaways).toEqual([])
  })

  it('answers to its PINGs, which it does not read: then it is not read either', async () => {
    const client = await open({ outboundBytes: 64 * 1024 })
    await client.call('Heartbeat', { client_type: 'PRODUCER' })
    const socket = sockets[0]!
    socket.pause()
    // More than the buffers of two systems hold, there and back.
    socket.write(Buffer.alloc(2_000_000 * 17, frame('PING', 0, 0, Buffer.alloc(8))))
    await until(() => connection()!.busy > 0)
    const left = socket.writableLength
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(socket.writableLength).toBeGreaterThan(0)
    expect(left - socket.writableLength).toBeLessThan(16 * 1024 * 1024)
  })

  it('streams that are open: their number, and the time for a whole request', async () => {
    const client = await open({ inflight: 8, parked: 8, frameMs: 300 })
    client.write(times(200, (id) => frame('HEADERS', 4, id, head('SendMessage'))))
    await until(() => countOf(client, 'RST_STREAM') === 200)
    const codes = client.frames.filter(({ type }) => type === 'RST_STREAM').map(({ payload }) => payload[3])
    expect(codes.filter((code) => code === 7)).toHaveLength(200 - 80)
    expect(codes.filter((code) => code === 8)).toHaveLength(80)
    client.write(frame('HEADERS', 4, 401, head('Heartbeat')))
    client.write(frame('DATA', 1, 401, packed('Heartbeat', { client_type: 'PRODUCER' })))
    await until(() => client.frames.some(({ type, stream }) => type === 'DATA' && stream === 401))
    expect(connection()!.busy).toBe(0)
  })

  it('messages that wait for the first of them: 1,024', async () => {
    const client = await open()
    house.gateway.hold('heartbeat')
    const { id } = client.ask('Telemetry', { settings: { client_type: 'PRODUCER', publishing: { topics: [] } } }, true)
    client.write(frame('DATA', 0, id, Buffer.alloc(5 * 1_020)))
    client.write(frame('PING', 0, 0, Buffer.from('received')))
    await until(() => countOf(client, 'PING') === 1)
    expect(countOf(client, 'RST_STREAM')).toBe(0)
    client.write(frame('DATA', 0, id, Buffer.alloc(5 * 10)))
    await until(() => countOf(client, 'RST_STREAM') === 1)
    const trailers = client.frames.findLast(({ type }) => type === 'HEADERS')!.payload.toString('latin1')
    expect(trailers).toContain('grpc-status\u00018')
  })

  it('requests of many messages: the second is one too many', async () => {
    const client = await open()
    client.write(
      Buffer.concat([frame('HEADERS', 4, 1, head('Heartbeat')), frame('DATA', 0, 1, Buffer.alloc(5 * 3_000))]),
    )
    await until(() => countOf(client, 'RST_STREAM') === 1)
    expect(client.frames.findLast(({ type }) => type === 'HEADERS')!.payload.toString('latin1')).toContain(
      'grpc-status\u000212',
    )
  })

  it('streams that wait for its windows: each costs its turn, however little it opens', async () => {
    const client = await open({ stallMs: 60_000 })
    const settings = Buffer.concat([Buffer.from([0, 4]), u32(2 ** 20)])
    client.reads = false
    client.write(frame('SETTINGS', 0, 0, settings))
    const said = () =>
      client.frames.reduce((sum, { type, payload }) => (type === 'DATA' ? sum + payload.length : sum), 0)
    client.write(
      times(2_000, (id) => Buffer.concat([frame('HEADERS', 4, id, head('QueryRoute')), frame('DATA', 1, id, route)])),
    )
    await until(() => said() === 65_535)
    const cpu = process.cpuUsage()
    client.write(times(20_000, () => frame('WINDOW', 0, 0, u32(1))))
    await until(() => said() === 65_535 + 20_000)
    const { user, system } = process.cpuUsage(cpu)
    // A look at every waiting stream each time would take minutes.
    expect(user + system).toBeLessThan(10_000_000)
  }, 30_000)
})

const route = packed('QueryRoute', { topic: { name: 'orders' }, endpoints: { addresses: [{ host: 'a', port: 1 }] } })
