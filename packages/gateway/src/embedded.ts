import { isIP } from 'node:net'
import { join } from 'node:path'
import { type Broker, openBroker } from '@sluice/broker'
import { type Clock, type Log, parseAddress } from '@sluice/core'
import type { Config } from './config/schema.ts'

/** Where a stored message says it lies. The port is 0 until a listener with any free one has it. */
export interface StoreHost {
  readonly address: string
  port: number
}

/** The broker inside this process. @throws Fault 'conflict' when another process holds the directory */
export const openEmbedded = (
  config: Config,
  data: string,
  at: StoreHost,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<Broker> => {
  const { embedded } = config.backend
  return openBroker({
    dir: join(data, 'log'),
    node: embedded.node,
    clock,
    log,
    flush: embedded.flush,
    segmentBytes: embedded.segmentBytes,
    autoCreateTopics: embedded.autoCreateTopics,
    defaultQueues: embedded.queues,
    bodyBytes: config.limits.bodyBytes,
    retain: { ms: embedded.retentionMs, bytes: embedded.retentionBytes },
    storeHost: at,
  })
}

/**
 * Fixed when a message is stored: its id must read the same to its producer and to every consumer. Records have room
 * for an IP address only; where a name is advertised, the first listener's own stands there.
 */
export const storeHost = ({ advertise, listeners }: Config): StoreHost => {
  const told = parseAddress(advertise)
  if (told && isIP(told.host) !== 0) return { address: told.host, port: told.port }
  const { host, port } = listeners[0]!
  return { address: isIP(host) === 0 || ANY.has(host) ? '127.0.0.1' : host, port: told?.port ?? port }
}

const ANY: ReadonlySet<string> = new Set(['0.0.0.0', '::'])
