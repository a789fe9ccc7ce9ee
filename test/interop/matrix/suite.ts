import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { runCell } from '../../matrix/cell.ts'
import type { MatrixClient, Target } from '../../matrix/client.ts'
import { amqp } from '../../matrix/clients/amqp.ts'
import { grpc } from '../../matrix/clients/grpc.ts'
import { http } from '../../matrix/clients/http.ts'
import { mqtt } from '../../matrix/clients/mqtt.ts'
import { remoting } from '../../matrix/clients/remoting.ts'
import { startRelay } from '../../matrix/relay.ts'
import { Checks, type Suite } from '../../run/suites.ts'

const MESSAGES = 1_000
const tls = (file: string): string => new URL(`../../tls/${file}`, import.meta.url).pathname

/**
 * Five producers × five consumers, 1,000 messages a cell, all with public clients; then each protocol to itself through
 * TLS and through PROXY v2, on one port.
 */
const suite: Suite = async () => {
  // The gRPC client trusts what this says, and reads it when it is loaded.
  process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = tls('ca.crt')
  const checks = new Checks()
  const data = mkdtempSync(join(tmpdir(), 'sluice-matrix-'))
  const gateway = await startGateway({
    data,
    listeners: [
      { port: 0 },
      { port: 0, tls: { cert: tls('server.crt'), key: tls('server.key'), mode: 'accept' }, proxyProtocol: 'accept' },
    ],
  })
  const clients: readonly MatrixClient[] = [remoting(), grpc, http, mqtt, amqp]
  try {
    await plainPass(checks, gateway, clients)
    await securePasses(checks, gateway, clients)
  } finally {
    for (const client of clients) await client.close?.()
    await gateway.close()
    rmSync(data, { recursive: true, force: true })
  }
  return checks.counts
}

export default suite

const at = (gateway: RunningGateway, listener: number, secure: boolean): Target => ({
  host: '127.0.0.1',
  port: gateway.ports.listeners[listener]!.port,
  tls: secure,
})

const plainPass = async (checks: Checks, gateway: RunningGateway, clients: readonly MatrixClient[]): Promise<void> => {
  const target = at(gateway, 0, false)
  for (const from of clients) {
    for (const to of clients) {
      await checks.check(`${from.name} → ${to.name}: ${MESSAGES} messages`, () =>
        cell(gateway, target, from, to, 'plain'),
      )
    }
  }
}

const securePasses = async (
  checks: Checks,
  gateway: RunningGateway,
  clients: readonly MatrixClient[],
): Promise<void> => {
  const relay = await startRelay(at(gateway, 1, false))
  try {
    for (const client of clients) {
      await checks.check(`${client.name} through TLS`, () => cell(gateway, at(gateway, 1, true), client, client, 'tls'))
      await checks.check(`${client.name} through PROXY v2`, () => cell(gateway, relay.target, client, client, 'proxy'))
    }
  } finally {
    await relay.close()
  }
}

const cell = (gateway: RunningGateway, target: Target, from: MatrixClient, to: MatrixClient, run: string) =>
  runCell({ gateway, producerAt: target, consumerAt: target, from, to, count: MESSAGES, run, patienceMs: 60_000 })
