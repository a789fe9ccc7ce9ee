import { type ChildProcess, spawn } from 'node:child_process'
import type { Ports } from '@sluice/gateway'

const main = new URL('../../packages/cli/src/main.ts', import.meta.url).pathname

/** A `sluice` process that runs until a signal, and its log. */
export interface LoggedProcess {
  readonly pid: number
  /** Log lines so far. */
  readonly lines: readonly Record<string, unknown>[]
  /** The first line with this event, now or later. */
  line(event: string): Promise<Record<string, unknown>>
  kill(signal: NodeJS.Signals): void
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
}

export interface SluiceProcess extends LoggedProcess {
  readonly ports: Ports
  readonly port: number
  readonly adminPort: number
}

export interface BrokerProcess extends LoggedProcess {
  /** Where gateways reach it. */
  readonly address: string
  readonly adminPort: number
}

export interface SluiceOptions {
  readonly data: string
  /** `key.path=value` beyond one listener for all protocols and free ports. */
  readonly set?: readonly string[]
  /** Most files that it may have open. */
  readonly files?: number
}

const STARTS_WITHIN_MS = 30_000

/** `sluice start`. Resolves when it is ready. @throws when it ends before, with what it printed */
export const startSluice = async ({ data, set = [], files }: SluiceOptions): Promise<SluiceProcess> => {
  const settings = ['listeners=[{port: 0}]', 'admin.port=0', `data=${data}`, ...set]
  const { ready, ...process } = await started(['start', '--quiet'], settings, files)
  const ports = ready as unknown as Ports
  return { ...process, ports, port: ports.listeners[0]!.port, adminPort: ports.admin.port }
}

/** `sluice broker`, likewise. */
export const startBroker = async ({
  data,
  listen,
  set = [],
}: SluiceOptions & { readonly listen: string }): Promise<BrokerProcess> => {
  const args = ['broker', '--listen', listen, '--data', data, '--admin-port', '0']
  const { ready, ...process } = await started(args, set)
  const { link, admin } = ready as { readonly link: string; readonly admin: { readonly port: number } }
  return { ...process, address: link, adminPort: admin.port }
}

const started = async (
  args: readonly string[],
  set: readonly string[],
  files?: number,
): Promise<LoggedProcess & { readonly ready: Record<string, unknown> }> => {
  const settings = ['log.format=json', ...set].flatMap((setting) => ['--set', setting])
  const command = [process.execPath, '--conditions=@sluice/source', main, ...args, ...settings]
  const limited = files === undefined ? command : ['sh', '-c', 'ulimit -n "$0" && exec "$@"', String(files), ...command]
  const child = spawn(limited[0]!, limited.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const lines: Record<string, unknown>[] = []
  const waiting: { event: string; done: (line: Record<string, unknown>) => void }[] = []
  let printed = ''
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code ?? -1))
  })
  child.stderr!.on('data', (chunk: Buffer) => {
    printed += chunk.toString()
  })
  onLines(child, (text) => {
    printed += `${text}\n`
    const line = parse(text)
    if (!line) return
    lines.push(line)
    for (const one of waiting) if (one.event === line.event) one.done(line)
  })
  const line = (event: string) =>
    new Promise<Record<string, unknown>>((done) => {
      const found = lines.find((one) => one.event === event)
      if (found) done(found)
      else waiting.push({ event, done })
    })
  const timer = setTimeout(() => child.kill('SIGKILL'), STARTS_WITHIN_MS)
  const ready = await Promise.race([line('ready'), exited])
  clearTimeout(timer)
  if (typeof ready !== 'object') throw new Error(`sluice ${args[0]} ended with ${ready}: ${printed.slice(-2_000)}`)
  return { pid: child.pid!, lines, line, kill: (signal) => void child.kill(signal), exited, ready }
}

const onLines = (child: ChildProcess, line: (text: string) => void): void => {
  let held = ''
  child.stdout!.on('data', (chunk: Buffer) => {
    const texts = (held + chunk.toString()).split('\n')
    held = texts.pop()!
    for (const text of texts) line(text)
  })
}

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}
