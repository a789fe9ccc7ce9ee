import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Listener } from '@sluice/core'
import type { Config } from './config/schema.ts'

/** Where the gateway listens, with the ports that were really taken. Written to `<data>/ports.json`. */
export interface Ports {
  readonly listeners: readonly ListenerPort[]
  readonly admin: { readonly host: string; readonly port: number }
  /** Of a broker's own process: where gateways reach it. */
  readonly link?: string
}

export interface ListenerPort {
  readonly host: string
  readonly port: number
  /** Names of the protocols that are told apart there. */
  readonly protocols: readonly string[]
  readonly tls: boolean
}

export const PORTS_FILE = 'ports.json'

/** Never seen half written. */
export const writePorts = (data: string, ports: Ports): void => {
  const path = join(data, PORTS_FILE)
  writeFileSync(`${path}.new`, `${JSON.stringify(ports, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}

export const portsOf = (
  { listeners, admin }: Config,
  opened: readonly Listener[],
  all: readonly string[],
  adminPort: number,
): Ports => ({
  listeners: listeners.map(({ host, protocols, tls }, index) => ({
    host,
    port: opened[index]!.port,
    protocols: protocols ?? all,
    tls: tls !== undefined,
  })),
  admin: { host: admin.host, port: adminPort },
})

/** The ports for people: one line a listener. */
export const portTable = ({ listeners, admin }: Ports): string => {
  const rows: (readonly [string, string])[] = listeners.map(({ host, port, protocols, tls }) => {
    const what = protocols.length > 1 ? `any protocol (${protocols.join(', ')})` : protocols.join('')
    return [what + (tls ? ' over TLS' : ''), at(host, port)]
  })
  rows.push(['admin, health, metrics', `http://${at(admin.host, admin.port)}`])
  const width = Math.max(...rows.map(([what]) => what.length))
  return rows.map(([what, where]) => `  ${what.padEnd(width)}  ${where}`).join('\n')
}

const at = (host: string, port: number): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)
