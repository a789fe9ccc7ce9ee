import { once } from 'node:events'
import net from 'node:net'
import { type Clock, systemClock } from '@sluice/core'
import type { FakeGateway } from '@sluice/testkit'
import { afterEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { eventually, type Served, serve } from '../test/harness.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
const open = async (...options: Parameters<typeof serve>): Promise<Served> => {
  const served = await serve(...options)
  closing.push(served.close)
  return served
}
const socketOf = async (gateway: FakeGateway<Clock>) => {
  await eventually('the stream is handed over', () => gateway.adopted.length > 0)
  return gateway.adopted[0]!.socket
}
const dial = ({ port }: Served, protocols: string | string[], path = '/'): WebSocket => {
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { perMessageDeflate: true })
  webSocket.binaryType = 'nodebuffer'
  closing.push(() => webSocket.terminate())
  return webSocket
}

it.each([
  [['mqtt'], '/mqtt', 'mqtt', 'mqtt'],
  [['mqttv3.1'], '/', 'mqttv3.1', 'mqtt'],
  [['amqp'], '/any/where?x=1', 'amqp', 'amqp'],
  [['chat', 'amqp', 'mqtt'], '/', 'amqp', 'amqp'],
])('%s at %s goes to its protocol as bytes', async (offered, path, selected, protocol) => {
  const served = await open()
  const client = dial(served, offered, path)
  await once(client, 'open')
  expect([client.protocol, client.extensions]).toEqual([selected, ''])
  const [adopted] = served.gateway.adopted
  expect(adopted).toMatchObject({ protocol, peer: { address: '127.0.0.1', local: { port: served.port } } })
  const bytes: Buffer[] = []
  adopted!.socket.on('data', (chunk: Buffer) => bytes.push(chunk))
  client.send(Buffer.from([1, 2]))
  client.send(Buffer.from([3]), { fin: false })
  client.ping()
  client.send(Buffer.from([4]))
  await eventually('all bytes came', () => Buffer.concat(bytes).length === 4)
  expect(Buffer.concat(bytes)).toEqual(Buffer.from([1, 2, 3, 4]))
  adopted!.socket.write(Buffer.from([9, 9]))
  const [message, binary] = (await once(client, 'message')) as [Buffer, boolean]
  expect([message, binary]).toEqual([Buffer.from([9, 9]), true])
  expect([...served.server.connections()]).toHaveLength(0)
})

it('a client that closes ends the stream', async () => {
  const served = await open()
  const client = dial(served, 'mqtt')
  const stream = await socketOf(served.gateway)
  const ended = once(stream.resume(), 'close')
  await once(client, 'open')
  client.close()
  await ended
})

it('a protocol that ends its stream closes: 1000, or 1012 in a drain', async () => {
  for (const [draining, code] of [
    [false, 1000],
    [true, 1012],
  ] as const) {
    const served = await open()
    const client = dial(served, 'mqtt')
    await once(client, 'open')
    if (draining) {
      await fetch(`${served.base}/`).then((answer) => answer.text())
      for (const connection of served.server.connections()) connection.goAway('draining')
    }
    const stream = await socketOf(served.gateway)
    stream.end(Buffer.from('bye'))
    const [[message], [closed]] = await Promise.all([once(client, 'message'), once(client, 'close')])
    expect([String(message), closed]).toEqual(['bye', code])
  }
})

it('text closes with 1003', async () => {
  const served = await open()
  const client = dial(served, 'mqtt')
  await once(client, 'open')
  client.send('text')
  expect((await once(client, 'close'))[0]).toBe(1003)
})

it('a message over the limit closes with 1009', async () => {
  const served = await open({ limits: { frameBytes: 1_000 } })
  const client = dial(served, 'mqtt')
  await once(client, 'open')
  client.send(Buffer.alloc(1_001))
  expect((await once(client, 'close'))[0]).toBe(1009)
})

it('a stream that is not read stops its client', async () => {
  const served = await open()
  const client = dial(served, 'mqtt')
  await once(client, 'open')
  const stream = await socketOf(served.gateway)
  const block = Buffer.alloc(64 * 1024)
  for (let n = 0; n < 400; n++) client.send(block)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(stream.readableLength).toBeLessThan(1024 * 1024)
  expect(client.bufferedAmount).toBeGreaterThan(1024 * 1024)
  let total = 0
  stream.on('data', (chunk: Buffer) => {
    total += chunk.length
  })
  await eventually('all bytes came', () => total === 400 * block.length)
})

it('a stream that is destroyed cuts its client off', async () => {
  const served = await open()
  const client = dial(served, 'mqtt')
  await once(client, 'open')
  ;(await socketOf(served.gateway)).destroy()
  expect((await once(client, 'close'))[0]).toBe(1006)
})

const raw = async ({ port }: Served, text: string): Promise<string> => {
  const socket = net.connect(port, '127.0.0.1')
  socket.end(text.replaceAll('\n', '\r\n'))
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('latin1')
}
const handshake = (more: string, path = '/') =>
  `GET ${path} HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n${more}\n\n`
const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='

it.each([
  ['no sub-protocol', key, '/', 400, 'malformed'],
  ['an unknown one', `${key}\nSec-WebSocket-Protocol: chat`, '/', 400, 'malformed'],
  ['one of an object', `${key}\nSec-WebSocket-Protocol: constructor`, '/', 400, 'malformed'],
  ['no key', 'Sec-WebSocket-Protocol: mqtt', '/', 400, 'malformed'],
  ['the native socket', key, '/v1/topics/t/groups/g/ws', 404, 'noRoute'],
])('a handshake with %s is refused', async (_, lines, path, status, code) => {
  const served = await open()
  const answer = await raw(served, handshake(lines, path))
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} .*application/problem\\+json.*"code":"${code}"`, 's'))
  for (const { socket } of served.gateway.adopted) expect(socket.destroyed).toBe(true)
})

it('a sub-protocol that is not running here is refused', async () => {
  const served = await open({ adopts: {} })
  const answer = await raw(served, handshake(`${key}\nSec-WebSocket-Protocol: amqp`))
  expect(answer).toMatch(/^HTTP\/1.1 501 .*"code":"unsupported"/s)
})

it('an offer of HTTP/2 is declined, and the request is served', async () => {
  const served = await open()
  const text =
    'GET /openapi.json HTTP/1.1\nHost: x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AA\n\n'
  expect(await raw(served, text)).toMatch(/^HTTP\/1.1 200 /)
})

it('pings that are not read do not pile up', async () => {
  const served = await open({ limits: { outboundBytes: 64 * 1024 }, clock: systemClock })
  const socket = net.connect(served.port, '127.0.0.1')
  closing.push(() => socket.destroy())
  socket.write(handshake(`${key}\nSec-WebSocket-Protocol: mqtt`).replaceAll('\n', '\r\n'))
  await once(socket, 'data')
  socket.pause()
  const ping = Buffer.concat([Buffer.from([0x89, 0xfd, 0, 0, 0, 0]), Buffer.alloc(125)])
  const closed = new Promise((resolve) => socket.on('close', resolve))
  const write = () => {
    while (!socket.destroyed && socket.write(Buffer.concat(Array.from({ length: 100 }, () => ping))));
  }
  socket.on('drain', write).on('error', () => undefined)
  write()
  await eventually('the stream is cut off', () => served.gateway.adopted[0]!.socket.destroyed)
  socket.resume()
  await closed
})
