import { type RunningGateway, startGateway } from '@sluice/gateway'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { runCell } from '../matrix/cell.ts'
import type { MatrixClient, Target } from '../matrix/client.ts'
import { amqp } from '../matrix/clients/amqp.ts'
import { grpc } from '../matrix/clients/grpc.ts'
import { http } from '../matrix/clients/http.ts'
import { mqtt } from '../matrix/clients/mqtt.ts'

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
})
