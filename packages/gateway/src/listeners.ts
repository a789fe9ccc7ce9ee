import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { type Clock, type Listener, type ListenOptions, type Log, listen, type Running, type Wheel } from '@sluice/core'
import { ConfigError } from './config/load.ts'
import type { Config } from './config/schema.ts'

type ListenerConfig = Config['listeners'][number]

export interface ListenContext {
  readonly config: Config
  readonly running: ReadonlyMap<string, Running>
  readonly wheel: Wheel
  readonly clock: Clock
  readonly log: Log
}

/**
 * All of them, or none: what is open already is closed again when one cannot be had.
 * @throws as `listenOptions`; what `listen` throws, EADDRINUSE for one
 */
export const openListeners = async (context: ListenContext): Promise<readonly Listener[]> => {
  const open = { count: 0 }
  const options = context.config.listeners.map((one) => listenOptions(one, context, open))
  const outcomes = await Promise.allSettled(options.map((one) => listen(one)))
  const opened = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = outcomes.find((one) => one.status === 'rejected')
  if (!failed) return opened
  await Promise.all(opened.map((listener) => listener.close()))
  throw failed.reason
}

/**
 * `open`: connections of the process, over all its listeners.
 * @throws ConfigError for a protocol that does not run or cannot share a port, and for keys and certificates that are none
 */
export const listenOptions = (
  one: ListenerConfig,
  { config, running, wheel, clock, log }: ListenContext,
  open: { count: number },
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
  const context = { cert: read(tls.cert), key: read(tls.key), ...(tls.ca !== undefined && { ca: read(tls.ca) }) }
  try {
    createSecureContext(context)
  } catch (error) {
    throw new ConfigError(`${tls.cert} and ${tls.key}: ${(error as Error).message}`)
  }
  return {
    context,
    clientAuth: tls.clientAuth,
    mode: tls.mode,
  }
}
