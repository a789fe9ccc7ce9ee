import assert from 'node:assert/strict'
import net from 'node:net'
import { Wire } from '@sluice/testkit'
import { amqp } from '../matrix/clients/amqp.ts'
import { grpc } from '../matrix/clients/grpc.ts'
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

/** One publish in each protocol; resolves when it is acknowledged. */
export const publishers: Readonly<Record<string, Publish>> = {
  http,
  mqtt,
  remoting,
  ...Object.fromEntries(
    [amqp, grpc].map((client): [string, Publish] => [
      client.name,
      async (port, topic) => {
        const producer = await client.producer({ host: '127.0.0.1', port, tls: false }, topic)
        try {
          await producer.send(samples(1, false))
        } finally {
          await producer.close()
          await client.close?.()
        }
      },
    ]),
  ),
}
