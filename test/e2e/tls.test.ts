import { once } from 'node:events'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { fileURLToPath } from 'node:url'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { type GatewayOptions, type RunningGateway, startGateway } from '@sluice/gateway'
import { request, viewRecord } from '@sluice/remoting'
import { Wire } from '@sluice/testkit'
import { connect as mqttConnect } from 'mqtt'
import rhea from 'rhea'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { service } from '../../protocols/grpc/test/harness.ts'
import { RemotingClient } from '../../protocols/remoting/test/client.ts'
import { authority, client as clientPair, stranger } from '../tls/index.ts'

const path = (name: string) => fileURLToPath(new URL(`../tls/${name}`, import.meta.url))
const files = { cert: path('server.crt'), key: path('server.key') }
const start = (listener: object, more: GatewayOptions = {}): Promise<RunningGateway> =>
  startGateway({
    listeners: [{ port: 0, ...listener }],
    backend: { embedded: { queues: 1, flush: 'async' } },
    drain: { leavingMs: 0, announceMs: 0, settleMs: 0 },
    ...more,
  })

type Pair = { readonly cert: Buffer; readonly key: Buffer }

// ── One client a protocol, each with its own library's TLS ────────────────────────────────────────────

const overHttps = async (port: number, pair?: Pair): Promise<string> => {
  const call = https.request({
    host: '127.0.0.1',
    port,
    ca: authority,
    ...pair,
    agent: false,
    path: '/v1/topics/secret/messages',
    method: 'POST',
  })
  call.end('by https')
  const [answer] = await once(call, 'response')
  answer.resume()
  return String(answer.statusCode)
}

const overMqtts = async (port: number, pair?: Pair): Promise<string> => {
  const client = mqttConnect(`mqtts://127.0.0.1:${port}`, { reconnectPeriod: 0, ca: authority, ...pair })
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('error', reject)
      client.once('close', () => reject(new Error('closed')))
    })
    await client.publishAsync('secret', 'by mqtts', { qos: 1 })
    return 'published'
  } finally {
    await client.endAsync(true)
  }
}

const overAmqps = async (port: number, pair?: Pair): Promise<string> => {
  const connection = rhea.create_container().connect({
    transport: 'tls',
    host: '127.0.0.1',
    port,
    reconnect: false,
    ca: authority,
    ...pair,
  } as unknown as rhea.ConnectionOptions)
  const outcome = new Promise<string>((resolve, reject) => {
    connection.on('accepted', () => resolve('accepted'))
    for (const bad of ['rejected', 'connection_error', 'disconnected', 'error'])
      connection.on(bad, (context: { readonly error?: Error }) => reject(context.error ?? new Error(bad)))
  })
  outcome.catch(() => undefined)
  connection
    .open_sender('secret')
    .once('sendable', ({ sender }: rhea.EventContext) => sender!.send({ body: 'by amqps' }))
  try {
    return await outcome
  } finally {
    connection.close()
  }
}

const overGrpc = (port: number, pair?: Pair): Promise<string> => {
  const secure = credentials.createSsl(authority, pair?.key ?? null, pair?.cert ?? null)
  const client = new Client(`127.0.0.1:${port}`, secure)
  const { path, requestSerialize, responseDeserialize } = service.QueryRoute!
  const metadata = new Metadata()
  metadata.set('x-mq-client-id', 'tls')
  metadata.set('x-mq-language', 'JAVA')
  return new Promise<string>((resolve, reject) => {
    const question = {
      topic: { name: 'secret' },
      endpoints: { scheme: 'IPv4', addresses: [{ host: '127.0.0.1', port }] },
    }
    const until = { deadline: Date.now() + 5_000 }
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, question, metadata, until, (error, reply) => {
      if (error) reject(error)
      else resolve(String((reply as { readonly status: { readonly code: number } }).status.code))
    })
  }).finally(() => client.close())
}

const securely = async (port: number, pair?: Pair): Promise<tls.TLSSocket> => {
  const socket = tls.connect({ host: '127.0.0.1', port, ca: authority, ...pair })
  await once(socket, 'secureConnect')
  return socket
}

const overRemoting = async (port: number, pair?: Pair): Promise<string> => {
  const socket = await securely(port, pair)
  const wire = new Wire(socket)
  const answer = await Promise.race([new RemotingClient(wire).send('secret', 'by remoting'), wire.closed])
  socket.destroy()
  if (!answer) throw new Error('closed')
  return String(answer.code)
}

const ways: readonly (readonly [string, (port: number, pair?: Pair) => Promise<string>, string])[] = [
  ['HTTPS', overHttps, '201'],
  ['MQTTS', overMqtts, 'published'],
  ['AMQPS', overAmqps, 'accepted'],
  ['gRPC', overGrpc, '20000'],
  ['remoting', overRemoting, '0'],
]

describe('TLS and plain on one port', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await start({ tls: { ...files, mode: 'accept' } })
    await overHttps(gateway.port)
  })
  afterAll(() => gateway?.close())

  it.each(ways)('%s, the certificate checked by the authority', async (_, way, wanted) => {
    expect(await way(gateway.port)).toBe(wanted)
  })

  it('plain beside it', async () => {
    const answer = await fetch(`http://127.0.0.1:${gateway.port}/v1/topics/secret/messages`, {
      method: 'POST',
      body: 'plain',
      headers: { connection: 'close' },
    })
    expect(answer.status).toBe(201)
  })

  it('shows a certificate that others do not trust', async () => {
    const trusting = tls.connect({ host: '127.0.0.1', port: gateway.port, ca: stranger.cert })
    const [error] = await once(trusting, 'error')
    expect(String(error)).toMatch(/certificate/)
  })
})

describe('client certificates', () => {
  let gateway: RunningGateway
  const logged: { readonly event: string; readonly code?: string }[] = []
  beforeAll(async () => {
    const note = (event: string, fields?: object) => void logged.push({ event, ...fields })
    gateway = await start(
      { tls: { ...files, ca: path('ca.crt'), clientAuth: true } },
      { log: { info: note, warn: note, error: note } },
    )
    await overHttps(gateway.port, clientPair)
  })
  afterAll(() => gateway?.close())

  it.each(ways)('%s is let in with one', async (_, way, wanted) => {
    expect(await way(gateway.port, clientPair)).toBe(wanted)
  })

  it.each(ways)('%s is refused without one', async (_, way) => {
    await expect(way(gateway.port)).rejects.toThrow()
  })

  it('one that signed itself is refused, and the reason logged', async () => {
    logged.length = 0
    await expect(overRemoting(gateway.port, stranger)).rejects.toThrow()
    expect(logged).toContainEqual(expect.objectContaining({ event: 'listener.refused', code: 'unauthenticated' }))
  })
})

// ── Behind a load balancer ─────────────────────────────────────────────────────────────────────────

const CLIENT = { address: '203.0.113.9', port: 54_321 }
const DIALLED = { address: '198.51.100.7', port: 31_881 }

/** PROXY protocol, version 2, TCP over IPv4. */
const proxied = (): Buffer => {
  const header = Buffer.alloc(28)
  Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex').copy(header)
  Buffer.from(CLIENT.address.split('.').map(Number)).copy(header, 16)
  Buffer.from(DIALLED.address.split('.').map(Number)).copy(header, 20)
  header.writeUInt16BE(CLIENT.port, 24)
  header.writeUInt16BE(DIALLED.port, 26)
  return header
}

const throughBalancer = async (port: number, secure: boolean): Promise<net.Socket> => {
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(proxied())
  if (!secure) return socket
  const secured = tls.connect({ socket, host: '127.0.0.1', ca: authority })
  await once(secured, 'secureConnect')
  return secured
}

const addressIn = async (socket: net.Socket): Promise<string> => {
  const wire = new Wire(socket)
  const client = new RemotingClient(wire)
  await client.send('routed', 'x')
  const { body } = await client.ask(request.getRouteInfoByTopic, { topic: 'routed' })
  socket.destroy()
  const { brokerDatas } = JSON.parse(String(body)) as { brokerDatas: { brokerAddrs: Record<string, string> }[] }
  return brokerDatas[0]!.brokerAddrs['0']!
}

describe('PROXY protocol before TLS on one port', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await start({ tls: { ...files, mode: 'accept' }, proxyProtocol: 'accept' })
  })
  afterAll(() => gateway?.close())

  it.each([true, false])('a message was born where the header says (TLS: %s)', async (secure) => {
    const topic = `born-${secure}`
    const socket = await throughBalancer(gateway.port, secure)
    const client = new RemotingClient(new Wire(socket))
    expect((await client.send(topic, 'x')).code).toBe(0)
    const { body } = await client.pull(topic, 'g')
    socket.destroy()
    expect(viewRecord(body!, '').bornHost).toBe(`${CLIENT.address}:${CLIENT.port}`)
  })

  it('routes say what the client dialled, at the balancer or here', async () => {
    const balancer = `${DIALLED.address}:${DIALLED.port}`
    expect(await addressIn(await throughBalancer(gateway.port, true))).toBe(balancer)
    expect(await addressIn(await throughBalancer(gateway.port, false))).toBe(balancer)
    expect(await addressIn(await securely(gateway.port))).toBe(`127.0.0.1:${gateway.port}`)
    expect(await addressIn(net.connect(gateway.port, '127.0.0.1'))).toBe(`127.0.0.1:${gateway.port}`)
  })
})

describe('an address that is configured', () => {
  it.each([
    ['mq.example.com:8081', 'mq.example.com:8081'],
    ['192.0.2.4:80', '192.0.2.4:80'],
    ['[2001:db8::4]:443', '[2001:db8::4]:443'],
  ])('%s is what routes say, whatever was dialled', async (advertise, said) => {
    const gateway = await start({ proxyProtocol: 'accept' }, { advertise, protocols: ['remoting'] })
    try {
      expect(await addressIn(await throughBalancer(gateway.port, false))).toBe(said)
      expect(await addressIn(net.connect(gateway.port, '127.0.0.1'))).toBe(said)
    } finally {
      await gateway.close()
    }
  })
})
