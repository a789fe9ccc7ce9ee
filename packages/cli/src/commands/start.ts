import { existsSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { Fault, keepHeadroom } from '@sluice/core'
import {
  type Config,
  ConfigError,
  createLog,
  loadConfig,
  portTable,
  type RunningGateway,
  runGateway,
} from '@sluice/gateway'
import { exitOnCrash } from '../crash.ts'
import { CommandError, type ExitCode, exit } from '../exit.ts'

export interface StartFlags {
  readonly config?: string
  readonly data?: string
  readonly set: readonly string[]
  readonly quiet?: boolean
}

const CONFIG_FILE = 'sluice.yaml'

/** The configuration as the flags say, and the file that it comes from. @throws ConfigError */
export const configOf = ({ config, data, set }: StartFlags): { readonly config: Config; readonly file?: string } => {
  const file = config ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined)
  const loaded = loadConfig({
    ...(file !== undefined && { file }),
    env: process.env,
    set: [...(data !== undefined ? [`data=${data}`] : []), ...set],
  })
  return { config: loaded.config, ...(file !== undefined && { file }) }
}

/** Runs a gateway until a signal; resolves with the exit code of its drain. */
export const start = async (flags: StartFlags): Promise<ExitCode> => {
  const { config, file } = configOf(flags)
  const log = createLog({ ...config.log, to: 1 })
  keepHeadroom()
  const base = file === undefined ? process.cwd() : dirname(resolve(file))
  const gateway = await open(config, base, log)
  exitOnCrash(log, gateway.plugins)
  const forPeople = process.stdout.isTTY && !flags.quiet && config.log.format !== 'json'
  if (forPeople) process.stdout.write(welcome(config, gateway))
  const left = untilSignal(gateway)
  // Last: whoever reads it may send a signal at once.
  log.info('ready', { pid: process.pid, ...(!forPeople && gateway.ports) })
  const verdict = await left
  return verdict.clean ? exit.ok : exit.failed
}

const open = (config: Config, base: string, log: ReturnType<typeof createLog>): Promise<RunningGateway> =>
  opened(() => runGateway(config, { log, base }))

/** @throws CommandError for what its reader can mend; ConfigError */
export const opened = async <T>(run: () => Promise<T>): Promise<T> => {
  try {
    return await run()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    if (Fault.is(error)) throw new CommandError(exit.failed, error.message)
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE' || code === 'EACCES') throw new CommandError(exit.failed, message)
    throw error
  }
}

const welcome = (config: Config, gateway: RunningGateway): string => {
  const data = relative(process.cwd(), config.data) || config.data
  const open = [...gateway.ports.listeners, gateway.ports.admin].every(({ host }) =>
    /^(127\.|::1$|localhost$)/.test(host),
  )
  const where = open ? 'loopback only' : 'NOT only on loopback'
  return `\n${portTable(gateway.ports)}\n\n  no auth, ${where}, data in ${/^(\/|\.\.)/.test(data) ? data : `./${data}`}, delete it freely\n\n`
}

/** SIGTERM drains by the plan; SIGINT, from a person at a terminal, skips the wait for the load balancer. A second one hurries. */
const untilSignal = (gateway: RunningGateway) =>
  new Promise<Awaited<ReturnType<RunningGateway['drain']>>>((done, fail) => {
    const leave = (plan: Parameters<RunningGateway['drain']>[0]) => gateway.drain(plan).then(done, fail)
    process.on('SIGTERM', () => leave({}))
    process.on('SIGINT', () => leave({ leavingMs: 0, announceMs: 1_000 }))
    gateway.drained.then(done, fail)
  })
