import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PORTS_FILE, type Ports } from '@sluice/gateway'
import { CommandError, exit } from './exit.ts'

export interface Target {
  /** Base of the HTTP protocol. */
  readonly url: string
  /** Base of the admin port. */
  readonly admin: string
}

/**
 * Where the gateway is: a flag, else the environment, else the ports.json of the data directory, else the default ports.
 */
export const target = (flags: { url?: string; admin?: string; data: string }): Target => {
  const ports = readPorts(flags.data)
  const http = ports?.listeners.find(({ protocols, tls }) => protocols.includes('http') && !tls)
  return {
    url: flags.url ?? process.env.SLUICE_URL ?? (http ? `http://${http.host}:${http.port}` : 'http://127.0.0.1:8080'),
    admin:
      flags.admin ??
      process.env.SLUICE_ADMIN ??
      (ports ? `http://${ports.admin.host}:${ports.admin.port}` : 'http://127.0.0.1:9090'),
  }
}

const readPorts = (data: string): Ports | undefined => {
  try {
    return JSON.parse(readFileSync(join(data, PORTS_FILE), 'utf8')) as Ports
  } catch {
    return undefined
  }
}

/** One request; its JSON. @throws CommandError 'unreachable', 'refused' with the problem's own words, 'timedOut' */
export const call = async (url: string, init: RequestInit & { timeoutMs: number }): Promise<unknown> => {
  let response: Response
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(init.timeoutMs) })
  } catch (error) {
    if (error instanceof Error && error.name === 'TimeoutError') {
      throw new CommandError(exit.timedOut, `no answer from ${new URL(url).origin} in ${init.timeoutMs} ms`)
    }
    throw new CommandError(exit.unreachable, `cannot reach ${new URL(url).origin}: is the gateway running?`)
  }
  const text = await response.text()
  if (response.ok) return text === '' ? undefined : JSON.parse(text)
  throw new CommandError(exit.refused, problemWords(response.status, text))
}

const problemWords = (status: number, text: string): string => {
  try {
    const { code, detail, title } = JSON.parse(text) as { code?: string; detail?: string; title?: string }
    return `refused: ${detail ?? title ?? text} (${code ?? status})`
  } catch {
    return `refused with status ${status}`
  }
}
