import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Broker } from '@sluice/broker'
import { type Clock, type Context, type Log, type Ms, type Session, systemClock } from '@sluice/core'
import { createDrain, type DrainController, type Verdict } from '@sluice/drain'
import type { LinkServer } from '@sluice/link'
import { startAdmin } from './admin.ts'
import type { Config } from './config/schema.ts'
import { openEmbedded, storeHost } from './embedded.ts'
import { Leaving } from './leaving.ts'
import { createLog } from './log.ts'
import { Metrics } from './metrics.ts'
import { writePorts } from './ports.ts'
import { sealKey } from './sealKey.ts'
import { watchBroker, watchGateways, watchProcess } from './watch.ts'

export interface BrokerProcessOptions {
  /** `unix:PATH` or `host:port`; port 0: any free one. */
  readonly listen: string
  /** 0: any free one. */
  readonly adminPort: number
  readonly log?: Log
  readonly clock?: Clock
}

export interface RunningBroker {
  /** Where gateways reach it. */
  readonly address: string
  readonly adminPort: number
  /** Whoever asked for its end. */
  readonly ended: Promise<Verdict>
  /** Answers what is under way, then ends. */
  close(): Promise<Verdict>
}

const ADMIN_PATIENCE: Ms = 10_000
const AT_ONCE = { leavingMs: 0, announceMs: 0, settleMs: 0 }

/**
 * The broker of the configuration as a process of its own, for gateways with `backend.brokers`.
 * @throws ConfigError; Fault 'conflict' when another process holds the data directory or the address, 'invalid' about
 * 'address' or 'secret'; EADDRINUSE. Nothing is open then.
 */
export const runBroker = async (config: Config, options: BrokerProcessOptions): Promise<RunningBroker> => {
  const clock = options.clock ?? systemClock
  const log = options.log ?? createLog({ ...config.log, to: 1 })
  const data = resolve(config.data)
  mkdirSync(data, { recursive: true })
  const broker = await openEmbedded(config, data, storeHost(config), { clock, log })
  let link: LinkServer | undefined
  try {
    const { secret } = config.backend
    const { bodyBytes } = config.limits
    const key = sealKey(data)
    const { listen } = options
    const { serveBackend } = await import('@sluice/link')
    link = await serveBackend(broker, { listen, sealKey: key, clock, log, bodyBytes, ...(secret && { secret }) })
    return await administered({ config, options, broker, link, clock, log, data })
  } catch (error) {
    await link?.close()
    await broker.close()
    throw error
  }
}

interface Parts {
  readonly config: Config
  readonly options: BrokerProcessOptions
  readonly broker: Broker
  readonly link: LinkServer
  readonly clock: Clock
  readonly log: Log
  readonly data: string
}

const administered = async (parts: Parts): Promise<RunningBroker> => {
  const { config, broker, link, clock, log, data } = parts
  const metrics = new Metrics()
  watchBroker(metrics, () => broker.stats())
  watchGateways(metrics, () => link.stats())
  const stopWatching = watchProcess(metrics)
  const drain = createDrain(clock, log)
  const leaving = new Leaving({
    plan: AT_ONCE,
    drain,
    log,
    async shutDown() {
      await link.close()
      stopWatching()
      await broker.close()
      setImmediate(() => void admin.close())
    },
  })
  const admin = await startAdmin(adminOptions(parts, drain, leaving, metrics)).catch((error: unknown) => {
    stopWatching()
    throw error
  })
  const { host } = config.admin
  writePorts(data, { listeners: [], admin: { host, port: admin.port }, link: link.address })
  return {
    address: link.address,
    adminPort: admin.port,
    ended: leaving.drained,
    close: () => leaving.drain(),
  }
}

const adminOptions = (
  { config, options, broker, clock, log }: Parts,
  drain: DrainController,
  leaving: Leaving,
  metrics: Metrics,
): Parameters<typeof startAdmin>[0] => ({
  host: config.admin.host,
  port: options.adminPort,
  handle: (command, context) => broker.execute(broker.node, command, context),
  drain,
  log,
  context: (): Context => ({
    session: operator,
    principal: operator.principal,
    deadline: clock.now() + ADMIN_PATIENCE,
  }),
  metrics: () => metrics.text(),
  leave: () => leaving.drain(),
})

const operator: Session = {
  id: 'broker/0',
  client: 'operator',
  principal: { name: 'anonymous', tenant: '', super: true },
  protocol: 'admin',
  language: '',
  version: 0,
  remoteAddress: '127.0.0.1:0',
  localAddress: '127.0.0.1:0',
  notify: async () => undefined,
}
