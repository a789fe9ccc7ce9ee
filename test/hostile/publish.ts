import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import net from 'node:net'
import { Wire } from '@sluice/testkit'
import { amqp } from '../matrix/clients/amqp.ts'
import { samples } from '../matrix/samples.ts'

type Publish = (port: number, topic: string) => Promise<void>

const onWire =
  (talk: (wire: Wire, topic: string) => Promise<void>): Publish =>
  async (port, topic) => {
    const wire = new Wire(net.connect({ host: '127.0.0.1', port }))
    try {
      await talk(wire, topic)
    } finally {
      wire.destroy()
      await wire.closed
    }
  }

const http = onWire(async (wire, topic) => {
  const head = `POST /v1/topics/${topic}/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n`
  wire.write(Buffer.from(`${head}Connection: close\r\n\r\nhi`))
  assert.match((await wire.rest()).toString('latin1'), /^HTTP\/1\.1 201 /)
})

const mqtt = onWire(async (wire, topic) => {
  wire.write('100f 00044d515454 04 02 003c 0003 707562')
  assert.equal((await wire.take(4)).toString('hex'), '20020000')
  const name = Buffer.from(topic)
  wire.write(Buffer.concat([Buffer.of(0x32, name.length + 6, 0, name.length), name, Buffer.from('00016869', 'hex')]))
  assert.equal((await wire.take(4)).toString('hex'), '40020001')
})

const remoting = onWire(async (wire, topic) => {
  const extFields = {
    producerGroup: 'hostile',
    topic,
    defaultTopic: 'TBW102',
    defaultTopicQueueNums: '4',
    queueId: '0',
    sysFlag: '0',
    bornTimestamp: '1767225600000',
    flag: '0',
    properties: '',
    reconsumeTimes: '0',
    unitMode: 'false',
    batch: 'false',
  }
  const request = { code: 10, language: 'JAVA', version: 435, opaque: 7, flag: 0, extFields }
  const header = Buffer.from(JSON.stringify(request))
  const head = Buffer.alloc(8)
  head.writeUInt32BE(4 + header.length + 2)
  head.writeUInt32BE(header.length, 4)
  wire.write(Buffer.concat([head, header, Buffer.from('hi')]))
  const length = (await wire.take(4)).readUInt32BE()
  const answer = (await wire.take(length)).toString('latin1')
  assert.match(answer, /"code":0[,}]/)
})

// The official client keeps streams of its own beyond its shutdown; here nothing may stay.
const sdk = createRequire(createRequire(import.meta.url).resolve('rocketmq-client-nodejs'))
const { Client, Metadata, credentials } = sdk('@grpc/grpc-js') as typeof import('@grpc/grpc-js')

/** A member of a protobuf message: bytes or text by its number. */
const field = (number: number, value: Buffer | string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes])
}

const grpc: Publish = (port, topic) => {
  const system = Buffer.concat([field(3, '01'.padEnd(34, '0')), Buffer.from('3001', 'hex')]) // message_id, type normal
  const message = Buffer.concat([field(1, field(2, topic)), field(3, system), field(4, 'hi')])
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  const metadata = new Metadata()
  metadata.set('x-mq-client-id', 'hostile')
  const path = '/apache.rocketmq.v2.MessagingService/SendMessage'
  const same = (bytes: Buffer) => bytes
  return new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, field(1, message), metadata, (error, reply) => {
      if (error) reject(error)
      else if (reply!.toString('hex').includes('08a09c01')) resolve()
      else reject(new Error(`not 20000: ${reply!.toString('latin1')}`))
    })
  }).finally(() => client.close())
}

const viaAmqp: Publish = async (port, topic) => {
  const producer = await amqp.producer({ host: '127.0.0.1', port, tls: false }, topic)
  try {
    await producer.send(samples(1, false))
  } finally {
    await producer.close()
    await amqp.close?.()
  }
}

/** One publish in each protocol; resolves when it is acknowledged. */
export const publishers: Readonly<Record<string, Publish>> = { amqp: viaAmqp, grpc, http, mqtt, remoting }
