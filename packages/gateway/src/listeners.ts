import { readFileSync } from 'node:fs'
import type { Clock, ListenOptions, Log, Running, Wheel } from '@sluice/core'
import { ConfigError } from './config/load.ts'
import type { Config } from './config/schema.ts'

type ListenerConfig = Config['listeners'][number]

export interface ListenContext {
  readonly config: Config
  readonly wheel: Wheel
  readonly clock: Clock
  readonly log: Log
  /** Connections of the process, over all its listeners. */
  readonly open: { count: number }
}

/** @throws ConfigError for a protocol that does not run, or one that cannot share a port */
export const listenOptions = (
  one: ListenerConfig,
  running: ReadonlyMap<string, Running>,
  { config, wheel, clock, log, open }: ListenContext,
): ListenOptions => {
  const wanted = (one.protocols ?? [...running.keys()]).map((name) => {
    const found = running.get(name)
    if (!found) throw new ConfigError(`listener on port ${one.port}: protocol ${name} does not run`)
    return found
  })
  const blind = wanted.find(({ protocol }) => protocol.detect === undefined)
  if (blind && wanted.length > 1) {
    throw new ConfigError(
      `listener on port ${one.port}: ${blind.protocol.name} cannot be told apart, it needs a port of its own`,
    )
  }
  return {
    host: one.host,
    port: one.port,
    protocols: wanted,
    ...(one.tls && { tls: tlsOptions(one.tls) }),
    proxyProtocol: one.proxyProtocol,
    limits: config.limits,
    wheel,
    clock,
    log,
    open,
  }
}

const tlsOptions = (tls: NonNullable<ListenerConfig['tls']>): NonNullable<ListenOptions['tls']> => {
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path)
    } catch (error) {
      throw new ConfigError(`cannot read ${path}: ${(error as Error).message}`)
    }
  }
  return {
    context: { cert: read(tls.cert), key: read(tls.key), ...(tls.ca && { ca: read(tls.ca) }) },
    clientAuth: tls.clientAuth,
    mode: tls.mode,
  }
}
