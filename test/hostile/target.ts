import { existsSync, readdirSync } from 'node:fs'
import { systemClock } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { type HostileRow, type HostileTarget, hostileLimits, hostileRows } from '@sluice/testkit'

const root = new URL('../..', import.meta.url).pathname
const tls = { cert: `${root}test/tls/server.crt`, key: `${root}test/tls/server.key`, mode: 'require' as const }

export interface Logged {
  readonly event: string
  readonly [field: string]: unknown
}

export interface HostileGateway extends HostileTarget {
  readonly gateway: RunningGateway
  /** Log lines so far, the last 100,000. */
  readonly logged: Logged[]
  close(): Promise<void>
}

const LOGGED_MAX = 100_000

/** A whole gateway as the rows expect it. Its topic is `known`. */
export const startHostileGateway = async (): Promise<HostileGateway> => {
  const logged: Logged[] = []
  const note = (event: string, fields: object = {}): void => {
    if (logged.push({ ...fields, event }) > LOGGED_MAX) logged.shift()
  }
  const gateway = await startGateway({
    limits: hostileLimits,
    backend: { embedded: { autoCreateTopics: false, flush: 'async' } },
    listeners: [{ port: 0 }, { port: 0, tls }, { port: 0, proxyProtocol: 'require' }],
    log: { info: note, warn: note, error: note },
    clock: systemClock,
  })
  const [plain, secure, proxy] = gateway.ports.listeners.map(({ port }) => port)
  const response = await fetch(`http://127.0.0.1:${gateway.adminPort}/v1/topics/known`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: '{}',
  })
  if (!response.ok) throw new Error(`topic known: ${response.status} ${await response.text()}`)
  await response.text()
  return {
    gateway,
    host: '127.0.0.1',
    ports: { plain: plain!, tls: secure!, proxy: proxy! },
    logged,
    close: () => gateway.close(),
  }
}

export interface ProtocolRows {
  readonly protocol: string
  readonly rows: readonly HostileRow[]
}

/** The rows of every protocol. */
export const allRows = (): readonly ProtocolRows[] =>
  readdirSync(`${root}protocols`).flatMap((protocol) => {
    const file = `${root}protocols/${protocol}/fixtures/hostile.json`
    return existsSync(file) ? [{ protocol, rows: hostileRows(file) }] : [{ protocol, rows: [] }]
  })
