import type { Backend, Clock, Log } from '@sluice/core'
import type { Config } from './config/schema.ts'
import { openEmbedded, type StoreHost } from './embedded.ts'
import type { Metrics } from './metrics.ts'
import { sealKey } from './sealKey.ts'
import { watchBroker, watchLink } from './watch.ts'

/** Where commands go: a broker in this process, or a link to one of its own. */
export interface Store {
  readonly backend: Backend
  /** The one node that there is. */
  readonly node: string
  /** The same for every gateway of the broker. */
  readonly sealKey: Buffer
  watch(metrics: Metrics): void
}

export interface StoreParts {
  readonly data: string
  /** This process's name among the gateways of a broker. */
  readonly process: string
  readonly stored: StoreHost
  readonly clock: Clock
  readonly log: Log
}

/**
 * @throws Fault 'conflict' when another process holds the data directory; 'unavailable' when no broker answers in 30 s,
 * 'unauthenticated' when it knows another secret
 */
export const openStore = (config: Config, parts: StoreParts): Promise<Store> =>
  config.backend.brokers ? openLinked(config, config.backend.brokers[0]!, parts) : openInside(config, parts)

const openInside = async (config: Config, { data, stored, clock, log }: StoreParts): Promise<Store> => {
  const broker = await openEmbedded(config, data, stored, { clock, log })
  return {
    backend: broker,
    node: broker.node,
    sealKey: sealKey(data),
    watch: (metrics) => watchBroker(metrics, () => broker.stats()),
  }
}

const openLinked = async (config: Config, address: string, { process, clock, log }: StoreParts): Promise<Store> => {
  const { connectBackend } = await import('@sluice/link')
  const { secret } = config.backend
  const { bodyBytes } = config.limits
  const backend = await connectBackend({ address, process, clock, log, bodyBytes, ...(secret && { secret }) })
  const [node = ''] = backend.nodes
  return {
    backend,
    node,
    sealKey: backend.sealKey,
    watch: (metrics) => watchLink(metrics, () => backend.stats()),
  }
}
