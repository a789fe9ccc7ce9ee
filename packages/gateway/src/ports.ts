import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where the gateway listens, with the ports that were really taken. Written to `<data>/ports.json`. */
export interface Ports {
  readonly listeners: readonly ListenerPort[]
  readonly admin: { readonly host: string; readonly port: number }
}

export interface ListenerPort {
  readonly host: string
  readonly port: number
  /** Names of the protocols that are told apart there. */
  readonly protocols: readonly string[]
  readonly tls: boolean
}

export const PORTS_FILE = 'ports.json'

export const writePorts = (data: string, ports: Ports): void =>
  writeFileSync(join(data, PORTS_FILE), `${JSON.stringify(ports, null, 2)}\n`)

/** The ports for people: one line a listener. */
export const portTable = ({ listeners, admin }: Ports): string => {
  const rows: (readonly [string, string])[] = listeners.map(({ host, port, protocols, tls }) => {
    const what = protocols.length > 1 ? `any protocol (${protocols.join(', ')})` : protocols.join('')
    return [what + (tls ? ' over TLS' : ''), `${host}:${port}`]
  })
  rows.push(['admin, health, metrics', `http://${admin.host}:${admin.port}`])
  const width = Math.max(...rows.map(([what]) => what.length))
  return rows.map(([what, where]) => `  ${what.padEnd(width)}  ${where}`).join('\n')
}
