import { keepHeadroom } from '@sluice/core'
import { createLog, runBroker } from '@sluice/gateway'
import { exitOnCrash } from '../crash.ts'
import { type ExitCode, exit } from '../exit.ts'
import { configOf, opened } from './start.ts'

export interface BrokerFlags {
  readonly listen: string
  readonly adminPort: number
  readonly config?: string
  readonly data?: string
  readonly set: readonly string[]
}

/** Runs a broker until a signal: it answers what is under way, then ends. */
export const broker = async ({ listen, adminPort, ...flags }: BrokerFlags): Promise<ExitCode> => {
  const { config } = configOf(flags)
  const log = createLog({ ...config.log, to: 1 })
  keepHeadroom()
  const running = await opened(() => runBroker(config, { listen, adminPort, log }))
  exitOnCrash(log, {})
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void running.close())
  // Last: whoever reads it may send a signal at once.
  const { host } = config.admin
  log.info('ready', { pid: process.pid, link: running.address, admin: { host, port: running.adminPort } })
  await running.ended
  return exit.ok
}
