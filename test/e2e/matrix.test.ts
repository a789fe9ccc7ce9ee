import { conversions, type Field } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { counters, growth, runCell } from '../matrix/cell.ts'
import type { MatrixClient, Target } from '../matrix/client.ts'
import { amqp } from '../matrix/clients/amqp.ts'
import { grpc } from '../matrix/clients/grpc.ts'
import { http } from '../matrix/clients/http.ts'
import { mqtt } from '../matrix/clients/mqtt.ts'
import { samples } from '../matrix/samples.ts'

const clients: readonly MatrixClient[] = [grpc, http, mqtt, amqp]
const MESSAGES = 50

/** The cells without Java; the whole matrix with 1,000 messages a cell is `npm run interop -- matrix`. */
describe('every producer × every consumer', () => {
  let gateway: RunningGateway
  let target: Target
  beforeAll(async () => {
    gateway = await startGateway()
    target = { host: '127.0.0.1', port: gateway.port, tls: false }
  })
  afterAll(async () => {
    for (const client of clients) await client.close?.()
    await gateway.close()
  })

  for (const from of clients) {
    for (const to of clients) {
      it(`${from.name} → ${to.name}`, () =>
        runCell({
          gateway,
          producerAt: target,
          consumerAt: target,
          from,
          to,
          count: MESSAGES,
          run: 'e2e',
          patienceMs: 10_000,
        }))
    }
  }

  it('counts, field by field, what an MQTT 3.1.1 subscriber cannot be told', async () => {
    const sent = samples(20, false)
    const subscriber = await connectAsync(`mqtt://127.0.0.1:${gateway.port}`, {
      protocolVersion: 4,
      reconnectPeriod: 0,
    })
    const bodies: Buffer[] = []
    const all = new Promise<void>((resolve) => {
      subscriber.on('message', (_, body) => {
        if (bodies.push(body) === sent.length) resolve()
      })
    })
    await subscriber.subscribeAsync('losses/#', { qos: 1 })
    const before = await counters(gateway, 'sluice_conversion_loss_total')
    const producer = await http.producer(target, 'losses')
    await producer.send(sent)
    await all
    const said: readonly Field[] = ['id', 'tag', 'keys', 'properties', 'contentType', 'bornAt', 'bornHost']
    expect(said.filter((field) => conversions[field].mqtt3.lost === undefined)).toEqual([])
    const lost = said.map((field) => [
      `sluice_conversion_loss_total{from="http",to="mqtt3",field="${field}"}`,
      sent.length,
    ])
    expect(growth(before, await counters(gateway, 'sluice_conversion_loss_total'))).toEqual(Object.fromEntries(lost))
    expect(bodies.map((body) => body.toString('base64')).sort()).toEqual(
      sent.map(({ body }) => body.toString('base64')).sort(),
    )
    await subscriber.endAsync()
  })
})
