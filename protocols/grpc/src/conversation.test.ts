import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { type Fault, type Limits, type Link, systemClock } from '@sluice/core'
import { fakeGateway, fakePeer } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { asking, House, message, service } from '../test/harness.ts'
import { frame, RawClient, type Frame as Seen } from '../test/raw.ts'
import { Http2Conversation } from './conversation.ts'
import { type Frame, LAST_STREAM } from './http2/frames.ts'
import { literal } from './http2/hpack.ts'
import { methodsOf } from './service.ts'

let house: House
const sockets: net.Socket[] = []
const open = async (limits: Partial<Limits> = {}) => {
  house = await House.open({ topics: ['orders'], limits })
}
const raw = (client = 'raw'): RawClient => {
  const socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  sockets.push(socket)
  return new RawClient(socket, client)
}
const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await house.close()
})

const u32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, at) => void bytes.writeUInt32BE(value, 4 * at))
  return bytes
}
const asks = (rpc: string, ...more: [string, string][]): Buffer =>
  Buffer.concat([
    Buffer.from([0x83, 0x86]),
    literal(':path', service[rpc]?.path ?? `/${rpc}`),
    literal('content-type', 'application/grpc'),
    literal('x-mq-client-id', 'raw'),
    ...more.map(([name, value]) => literal(name, value)),
  ])
const packed = (rpc: string, request: object, pack = (bytes: Buffer) => bytes, flag = 0): Buffer => {
  const bytes = pack(service[rpc]!.requestSerialize(request))
  return Buffer.concat([Buffer.from([flag]), u32(bytes.length), bytes])
}
const heartbeat = packed('Heartbeat', { client_type: 'PRODUCER' })
const trailersOf = (client: RawClient, id: number): string =>
  client.frames
    .filter(({ type, stream }) => type === 'HEADERS' && stream === id)
    .map(({ payload }) => payload.toString('latin1'))
    .at(-1) ?? ''
const of = (client: RawClient, id: number, type: string): readonly Seen[] =>
  client.frames.filter((one) => one.type === type && one.stream === id)

describe('a peer that breaks HTTP/2 hears how, and is closed', () => {
  const settings = (id: number, value: number) =>
    frame('SETTINGS', 0, 0, Buffer.concat([Buffer.from([0, id]), u32(value)]))
  const storm = Array.from({ length: 4_200 }, (_, at) => [
    frame('HEADERS', 4, 2 * at + 1, asks('Heartbeat')),
    frame('RST_STREAM', 0, 2 * at + 1, u32(8)),
  ]).flat()
  const ways: readonly (readonly [string, number, readonly Buffer[]])[] = [
    ['a window that does not open [§6.9]', 1, [frame('WINDOW', 0, 0, u32(0))]],
    ['push that is neither on nor off [§6.5.2]', 1, [settings(2, 2)]],
    ['frames that are too small [§6.5.2]', 1, [settings(5, 16_383)]],
    ['frames that are too large [§6.5.2]', 1, [settings(5, 2 ** 24)]],
    [
      'settings that open the window of a stream too far [§6.9.2]',
      3,
      [frame('HEADERS', 4, 1, asks('Heartbeat')), frame('WINDOW', 0, 1, u32(2 ** 31 - 65_536)), settings(4, 65_536)],
    ],
    ['data after both ended [§5.1]', 5, [frame('HEADERS', 5, 1, asks('Nothing')), frame('DATA', 1, 1)]],
    ['headers after both ended [§5.1]', 5, Array<Buffer>(2).fill(frame('HEADERS', 5, 1, asks('Nothing')))],
    [
      'data after a reset [§5.1]',
      5,
      [frame('HEADERS', 4, 1, asks('Heartbeat')), frame('RST_STREAM', 0, 1, u32(8)), frame('DATA', 0, 1)],
    ],
    ['a stream below the last [§5.1.1]', 1, [5, 3].map((id) => frame('HEADERS', 5, id, asks('Nothing')))],
    ['a window beyond 2^31', 3, [frame('WINDOW', 0, 0, u32(LAST_STREAM))]],
    ['settings with such a window', 3, [settings(4, 2 ** 31)]],
    ['an even stream', 1, [frame('HEADERS', 4, 2, asks('Heartbeat'))]],
    ['data on a stream that was never opened', 1, [frame('DATA', 0, 9, Buffer.alloc(3))]],
    ['a reset of such a one', 1, [frame('RST_STREAM', 0, 9, u32(8))]],
    ['streams opened to be given up', 11, storm],
    ['compression that is none', 9, [frame('HEADERS', 4, 1, Buffer.from([0xff]))]],
  ]
  it.each(ways)('%s', async (_, error, frames) => {
    await open()
    const client = raw()
    client.write(Buffer.concat(frames))
    await new Promise((resolve) => sockets[0]!.once('close', resolve))
    expect(client.goaways.map(({ code }) => code)).toEqual([error])
  })
})

describe('a stream', () => {
  it('beyond those that may be open at once is refused, and may be opened later', async () => {
    await open({ inflight: 1, parked: 1 })
    const client = raw()
    const telemetry = Array.from({ length: 66 }, () => client.ask('Telemetry', {}, true))
    const { id, answer } = client.ask('Heartbeat', { client_type: 'PRODUCER' })
    await expect(answer).rejects.toThrow('reset')
    expect(of(client, id, 'RST_STREAM')[0]!.payload.readUInt32BE(0)).toBe(7)
    client.reset(telemetry[0]!.id)
    expect((await client.call('Heartbeat', { client_type: 'PRODUCER' })).status.code).toBe(20000)
  })

  it('is heard in any number of frames, with padding, trailers and what belongs to no call', async () => {
    await open()
    const client = raw()
    const parts = [...heartbeat].map((byte) => frame('DATA', 8, 1, Buffer.from([2, byte, 0, 0])))
    const trailers = frame('HEADERS', 5, 1, literal('x-said', 'last'))
    client.write(Buffer.concat([frame('HEADERS', 4, 1, asks('Heartbeat')), ...parts, trailers]))
    await until(() => trailersOf(client, 1).includes('grpc-status'))
    expect(of(client, 1, 'DATA')).toHaveLength(1)
    client.write(
      Buffer.concat([
        frame('RST_STREAM', 0, 1, u32(8)),
        frame('WINDOW', 0, 1, u32(9)),
        frame('PRIORITY', 0, 1, Buffer.alloc(5)),
      ]),
    )
    client.write(frame('PING', 0, 0, Buffer.alloc(8)))
    await until(() => client.frames.some(({ type, flags }) => type === 'PING' && flags === 1))
    expect(client.goaways).toEqual([])
  })

  it('waits for the windows of its peer, which may shrink below nothing', async () => {
    await open()
    const caller = house.caller()
    await caller.send('orders', Buffer.alloc(200_000, 7))
    const client = raw()
    client.reads = false
    client.write(frame('SETTINGS', 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(1_000)])))
    const { id, answer } = client.ask('ReceiveMessage', asking('orders', 'g'))
    const said = () => of(client, id, 'DATA').reduce((sum, { payload }) => sum + payload.length, 0)
    await until(() => said() === 1_000)
    client.write(frame('SETTINGS', 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(0)])))
    client.write(frame('WINDOW', 0, id, u32(1_500)))
    await until(() => said() === 1_500)
    client.write(frame('WINDOW', 0, 0, u32(10_000_000)))
    client.write(frame('SETTINGS', 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(500_000)])))
    const parts = await answer
    expect(parts[1].message.body.equals(Buffer.alloc(200_000, 7))).toBe(true)
    client.write(frame('WINDOW', 0, client.ask('Telemetry', {}, true).id, u32(LAST_STREAM)))
    await until(() => client.frames.some(({ type, payload }) => type === 'RST_STREAM' && payload[3] === 3))
  })

  it('gives back the room of what it has heard, and is ended when it takes more', async () => {
    await open()
    const client = raw()
    const body = Buffer.alloc(3 * 1024 * 1024, 1)
    expect((await client.call('SendMessage', { messages: [message('orders', body)] })).status.code).toBe(20000)
    expect(of(client, 1, 'WINDOW').length).toBeGreaterThan(2)
    house.gateway.hold('heartbeat')
    const settings = { settings: { client_type: 'PRODUCER', publishing: { topics: [] } } }
    const telemetry = client.ask('Telemetry', settings, true)
    const chatter = frame('DATA', 0, telemetry.id, Buffer.concat([Buffer.alloc(1), u32(16_379), Buffer.alloc(16_379)]))
    for (let sent = 0; sent <= 1024 * 1024; sent += 16_384) client.write(chatter)
    await expect(telemetry.answer).rejects.toThrow('reset')
    expect(of(client, telemetry.id, 'RST_STREAM')[0]!.payload.readUInt32BE(0)).toBe(3)
  })

  it('has a list of headers that is too long: it is given up, and nothing else', async () => {
    await open()
    const client = raw()
    const block = asks('Heartbeat', ['x-long', 'y'.repeat(16_384)])
    client.write(frame('HEADERS', 1, 1, block.subarray(0, 9_000)))
    client.write(frame('CONT', 4, 1, block.subarray(9_000)))
    await until(() => of(client, 1, 'RST_STREAM').length === 1)
    expect(of(client, 1, 'RST_STREAM')[0]!.payload.readUInt32BE(0)).toBe(11)
    expect(client.goaways).toEqual([])
  })
})

describe('one stream is given up, and no other', () => {
  const long = (...more: [string, string][]) => asks('Heartbeat', ...more)
  const post = frame('HEADERS', 4, 1, long())
  const ending = frame('DATA', 1, 1, heartbeat)
  const said = (bytes: number) => long(['content-length', String(bytes)])
  const pseudo = (...fields: [string, string][]) =>
    frame('HEADERS', 5, 1, Buffer.concat(fields.map(([name, value]) => literal(name, value))))
  const method: [string, string] = [':method', 'POST']
  const scheme: [string, string] = [':scheme', 'http']
  const path: [string, string] = [':path', '/']
  const slow = asks('ReceiveMessage')
  const asked = frame('DATA', 1, 1, packed('ReceiveMessage', asking('orders', 'g')))
  const ways: readonly (readonly [string, number, readonly Buffer[]])[] = [
    ['data after its end [§5.1]', 5, [frame('HEADERS', 4, 1, slow), asked, frame('DATA', 0, 1, Buffer.alloc(1))]],
    ['headers after its end [§5.1]', 5, [frame('HEADERS', 4, 1, slow), asked, frame('HEADERS', 5, 1)]],
    ['headers in its middle [§8.1]', 1, [post, frame('HEADERS', 4, 1, literal('x-more', 'y'))]],
    ['a method after the body [§8.1]', 1, [post, frame('HEADERS', 5, 1, literal(':method', 'POST'))]],
    ['a connection after the body [§8.2.2]', 1, [post, frame('HEADERS', 5, 1, literal('connection', 'close'))]],
    ['capitals after the body [§8.2.1]', 1, [post, frame('HEADERS', 5, 1, literal('X-More', 'y'))]],
    ['a window that does not open [§6.9]', 1, [post, frame('WINDOW', 0, 1, u32(0))]],
    ['a window beyond 2^31 [§6.9.1]', 3, [post, frame('WINDOW', 0, 1, u32(LAST_STREAM))]],
    ['capitals [§8.2.1]', 1, [frame('HEADERS', 5, 1, long(['X-Said', 'a']))]],
    ['a connection [§8.2.2]', 1, [frame('HEADERS', 5, 1, long(['connection', 'keep-alive']))]],
    ['te: gzip [§8.2.2]', 1, [frame('HEADERS', 5, 1, long(['te', 'gzip']))]],
    ['a pseudo-header that nobody knows [§8.3]', 1, [pseudo([':test', 'a'], method, scheme, path)]],
    ['that of answers [§8.3]', 1, [pseudo([':status', '200'], method, scheme, path)]],
    ['one after a field [§8.3]', 1, [pseudo(method, scheme, ['x-a', 'b'], path)]],
    ['no method [§8.3.1]', 1, [pseudo(scheme, path)]],
    ['no scheme [§8.3.1]', 1, [pseudo(method, path)]],
    ['no path [§8.3.1]', 1, [pseudo(method, scheme)]],
    ['an empty path [§8.3.1]', 1, [pseudo(method, scheme, [':path', ''])]],
    ['two methods [§8.3.1]', 1, [pseudo(method, method, scheme, path)]],
    ['two paths [§8.3.1]', 1, [pseudo(method, scheme, path, path)]],
    ['no fields at all [§8.3.1]', 1, [pseudo()]],
    ['less than it announced [§8.1.1]', 1, [frame('HEADERS', 4, 1, said(heartbeat.length + 1)), ending]],
    ['more than it announced [§8.1.1]', 1, [frame('HEADERS', 4, 1, said(heartbeat.length - 1)), ending]],
    ['nothing, though it announced [§8.1.1]', 1, [frame('HEADERS', 5, 1, said(1))]],
    ['a length that is none [RFC 9110 §8.6]', 1, [frame('HEADERS', 5, 1, long(['content-length', '-1']))]],
    ['two lengths', 1, [frame('HEADERS', 5, 1, long(['content-length', '1'], ['content-length', '2']))]],
  ]
  it.each(ways)('for %s', async (_, error, frames) => {
    await open()
    const client = raw()
    client.write(Buffer.concat(frames))
    await until(() => of(client, 1, 'RST_STREAM').length === 1)
    expect(of(client, 1, 'RST_STREAM')[0]!.payload.readUInt32BE(0)).toBe(error)
    client.write(Buffer.concat([frame('HEADERS', 4, 3, asks('Heartbeat')), frame('DATA', 1, 3, heartbeat)]))
    await until(() => trailersOf(client, 3).includes('grpc-status\u00010'))
    expect(client.goaways).toEqual([])
  })

  it('and what it says before it knows is passed over [§5.1]', async () => {
    await open()
    const client = raw()
    const late = [frame('DATA', 0, 1, heartbeat), frame('HEADERS', 5, 1, literal('x-said', 'last'))]
    client.write(Buffer.concat([frame('HEADERS', 4, 1, asks('Nothing')), ...late]))
    await until(() => trailersOf(client, 1).includes('grpc-status\u000212'))
    client.write(Buffer.concat([frame('HEADERS', 4, 3, asks('Heartbeat')), frame('DATA', 1, 3, heartbeat)]))
    await until(() => trailersOf(client, 3).includes('grpc-status\u00010'))
    expect(client.goaways).toEqual([])
  })

  it('with a length that is true it is served', async () => {
    await open()
    const client = raw()
    client.write(Buffer.concat([frame('HEADERS', 4, 1, said(heartbeat.length)), ending]))
    await until(() => trailersOf(client, 1).includes('grpc-status\u00010'))
  })
})

describe('telemetry', () => {
  it('may say nothing for longer than a request may take', async () => {
    await open({ frameMs: 200 })
    const client = raw()
    const telemetry = frame('HEADERS', 4, 1, asks('Telemetry'))
    client.write(Buffer.concat([telemetry, frame('HEADERS', 4, 3, asks('SendMessage'))]))
    await until(() => of(client, 3, 'RST_STREAM').length === 1)
    expect(of(client, 1, 'RST_STREAM')).toEqual([])
    client.write(frame('DATA', 0, 1, packed('Telemetry', { settings: { client_type: 'PRODUCER', publishing: {} } })))
    await until(() => of(client, 1, 'DATA').length === 1)
  })
})

describe('what is no call of gRPC', () => {
  it('is told in words of HTTP, once it is said', async () => {
    await open()
    const client = raw()
    const get = (verb: string) =>
      Buffer.concat([literal(':method', verb), Buffer.from([0x86]), literal(':path', '/index.html')])
    client.write(Buffer.concat([frame('HEADERS', 4, 1, get('POST')), frame('DATA', 0, 1, Buffer.alloc(3))]))
    client.write(frame('HEADERS', 5, 3, get('HEAD')))
    await until(() => of(client, 3, 'DATA').length === 1)
    expect(of(client, 1, 'DATA')).toEqual([])
    client.write(frame('DATA', 1, 1))
    await until(() => of(client, 1, 'DATA').length === 2)
    expect(trailersOf(client, 1)).toContain('415')
    expect(of(client, 1, 'DATA').map(({ payload, flags }) => [String(payload), flags])).toEqual([
      ['gRPC is spoken here: content-type is application/grpc', 0],
      ['', 1],
    ])
    expect(of(client, 3, 'DATA').map(({ payload }) => payload.length)).toEqual([0])
  })

  const refused = async (headers: Buffer, data: Buffer): Promise<string> => {
    await open()
    const client = raw()
    client.write(Buffer.concat([frame('HEADERS', 4, 1, headers), frame('DATA', 1, 1, data)]))
    await until(() => trailersOf(client, 1) !== '')
    return trailersOf(client, 1)
  }

  it('has two messages, none, or half of one', async () => {
    for (const data of [Buffer.concat([heartbeat, heartbeat]), Buffer.alloc(0), heartbeat.subarray(0, -1)]) {
      expect(await refused(asks('Heartbeat'), data)).toContain('grpc-status\u000212')
      await house.close()
    }
  })

  it('is packed as nobody knows; gzip and deflate are known', async () => {
    const beat = (encoding: string) =>
      refused(asks('Heartbeat', ['grpc-encoding', encoding]), packed('Heartbeat', {}, gzipSync, 1))
    expect(await beat('gzip')).toContain('grpc-status\u00010')
    await house.close()
    expect(await beat('snappy')).toContain('grpc-status\u000212')
    await house.close()
    expect(await beat('deflate')).toContain('grpc-status\u000213')
  })

  it('is not waited for beyond its own deadline', async () => {
    await open()
    house.gateway.hold('publish')
    const client = raw()
    const request = packed('SendMessage', { messages: [message('orders', 'x')] })
    const headers = frame('HEADERS', 4, 1, asks('SendMessage', ['grpc-timeout', '100m']))
    client.write(Buffer.concat([headers, frame('DATA', 1, 1, request)]))
    await until(() => trailersOf(client, 1) !== '')
    expect(trailersOf(client, 1)).toContain('grpc-status\u00014')
  })
})

describe('a connection on which nothing comes', () => {
  it('is asked whether it is there, and closed without an answer', async () => {
    await open()
    const gateway = fakeGateway({ clock: systemClock })
    const said: Frame[] = []
    let ends = 0
    const link: Link<Frame> = {
      id: 'grpc/1',
      peer: fakePeer(),
      send: (one) => said.push(one) > 0,
      writable: async () => undefined,
      end: () => void ends++,
    }
    const refuse = (error: unknown) => ({ code: 50001, message: String((error as Fault).message) })
    const hall = { gateway, clients: {} as never, groups: {} as never, refuse }
    const conversation = new Http2Conversation(link, hall, methodsOf(hall))
    const began = gateway.clock.now()
    const pings = () => said.filter(({ kind }) => kind === 'ping').length
    conversation.tick(began + 59_000)
    expect(pings()).toBe(0)
    for (let second = 61; second <= 81; second++) conversation.tick(began + 1_000 * second)
    expect([pings(), ends]).toEqual([1, 0])
    conversation.tick(began + 82_000)
    expect([pings(), ends]).toEqual([1, 1])
    conversation.receive({ kind: 'ping', ack: true, opaque: Buffer.alloc(8) })
    conversation.tick(began + 59_000)
    conversation.closed()
    expect(conversation.state).toBe('closed')
    gateway.close()
  })
})
