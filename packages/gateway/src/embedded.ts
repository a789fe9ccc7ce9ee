import { join } from 'node:path'
import { type Broker, openBroker } from '@sluice/broker'
import type { Clock, Log } from '@sluice/core'
import type { Config } from './config/schema.ts'

/** The broker inside this process. @throws Fault 'conflict' when another process holds the directory */
export const openEmbedded = (config: Config, data: string, clock: Clock, log: Log): Promise<Broker> => {
  const { embedded } = config.backend
  const colon = config.advertise.lastIndexOf(':')
  return openBroker({
    dir: join(data, 'log'),
    node: embedded.node,
    clock,
    log,
    flush: embedded.flush,
    segmentBytes: embedded.segmentBytes,
    autoCreateTopics: embedded.autoCreateTopics,
    defaultQueues: embedded.queues,
    retain: { ms: embedded.retentionMs, bytes: embedded.retentionBytes },
    // Fixed when a message is stored: its id must read the same to its producer and to every consumer.
    storeHost:
      colon < 0
        ? { address: '127.0.0.1', port: config.listeners[0]!.port }
        : { address: config.advertise.slice(0, colon), port: Number(config.advertise.slice(colon + 1)) },
  })
}
