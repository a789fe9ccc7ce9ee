import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import {
  type Backend,
  type Clock,
  type CommandOf,
  type Context,
  type Credentials,
  compose,
  createSeal,
  Fault,
  type Kind,
  type Log,
  type Ms,
  type Principal,
  type ProtocolServer,
  type Running,
  type Seal,
  Sessions,
  systemClock,
  Wheel,
} from '@sluice/core'
import { createDrain, type DrainController } from '@sluice/drain'
import { governance, oneNode } from '@sluice/governance'
import { type AdminOptions, startAdmin } from './admin.ts'
import type { Config } from './config/schema.ts'
import { storeHost } from './embedded.ts'
import type { ProtocolExtras, RunningGateway } from './gateway.ts'
import { Host } from './host.ts'
import { Leaving } from './leaving.ts'
import { openListeners } from './listeners.ts'
import { createLog } from './log.ts'
import { type Cell, createMeter, Metrics } from './metrics.ts'
import { portsOf, writePorts } from './ports.ts'
import { type Loaded, loadProtocols } from './protocols.ts'
import { openStore, type Store, type StoreParts } from './store.ts'
import { watch } from './watch.ts'

/** What must be closed again when a later step of the start fails, the newest first. */
class Undo {
  readonly #steps: (() => unknown)[] = []

  add(step: () => unknown): void {
    this.#steps.push(step)
  }

  async all(): Promise<void> {
    for (const step of this.#steps.reverse()) {
      try {
        await step()
      } catch {
        // What failed at the start is what is told.
      }
    }
  }
}

/**
 * The composition root: the only place that knows all parts.
 * @throws ConfigError; Fault as {@link openStore}; EADDRINUSE. Nothing is open then.
 */
export const runGateway = async (config: Config, extras: ProtocolExtras): Promise<RunningGateway> => {
  const undo = new Undo()
  try {
    return await assemble(config, extras, undo)
  } catch (error) {
    await undo.all()
    throw error
  }
}

const assemble = async (config: Config, extras: ProtocolExtras, undo: Undo): Promise<RunningGateway> => {
  const clock = extras.clock ?? systemClock
  const log = extras.log ?? createLog({ ...config.log, to: 1 })
  const data = resolve(config.data)
  mkdirSync(data, { recursive: true })
  const stored = storeHost(config)
  const process_ = `${process.pid.toString(36)}-${randomBytes(4).toString('hex')}`
  const { loaded, store } = await openParts(config, extras, { data, process: process_, stored, clock, log }, undo)
  const wheel = new Wheel(clock)
  undo.add(() => wheel.close())
  const parts: Parts = {
    config,
    store,
    metrics: new Metrics(),
    sessions: new Sessions(process_),
    drain: createDrain(clock, log),
    running: new Map(),
    clock,
    wheel,
    log,
  }
  const host = makeHost(parts, extras, createSeal(store.sealKey))
  await startProtocols(loaded, host, parts, undo)
  const stopWatching = watch(parts.metrics, parts)
  undo.add(stopWatching)
  const listeners = await openListeners(parts)
  stored.port ||= listeners[0]!.port
  const stopListening = () => Promise.all(listeners.map((listener) => listener.close()))
  undo.add(stopListening)
  parts.drain.onPhase((phase) => {
    log.info('drain', { phase })
    // Open through the announce window: the load balancer may still deliver, and refusing is what clients would see.
    if (phase === 'settling' || phase === 'closed') void stopListening()
  })
  const leaving = new Leaving({
    plan: config.drain,
    drain: parts.drain,
    log,
    async shutDown() {
      // No handle of ours but the admin port's is open after it: the reply to POST /v1/drain is still to be written there.
      await host.left()
      stopWatching()
      wheel.close()
      await store.backend.close()
      setImmediate(() => void admin.close())
    },
  })
  const admin = await startAdmin(adminOptions(parts, host, leaving))
  undo.add(() => admin.close())
  const ports = portsOf(config, listeners, [...parts.running.keys()], admin.port)
  writePorts(data, ports)
  return {
    ports,
    port: ports.listeners[0]!.port,
    adminPort: admin.port,
    plugins: Object.fromEntries(loaded.flatMap(({ protocol, folder }) => (folder ? [[protocol.name, folder]] : []))),
    drained: leaving.drained,
    drain: (plan) => leaving.drain(plan),
    close: () => leaving.close(),
  }
}

interface Parts {
  readonly config: Config
  readonly store: Store
  readonly metrics: Metrics
  readonly sessions: Sessions
  readonly drain: DrainController
  readonly running: Map<string, Running>
  readonly clock: Clock
  readonly wheel: Wheel
  readonly log: Log
}

/** Side by side, for a quick start; a mistake in the configuration is told before trouble with the store. */
const openParts = async (
  config: Config,
  { protocols = config.protocols, base = process.cwd() }: ProtocolExtras,
  parts: StoreParts,
  undo: Undo,
): Promise<{ readonly loaded: readonly Loaded[]; readonly store: Store }> => {
  const [loaded, store] = await Promise.allSettled([
    loadProtocols(protocols, base, config.options),
    openStore(config, parts),
  ])
  if (store.status === 'fulfilled') undo.add(() => store.value.backend.close())
  if (loaded.status === 'rejected') throw loaded.reason
  if (store.status === 'rejected') throw store.reason
  return { loaded: loaded.value, store: store.value }
}

const makeHost = (parts: Parts, { tracer, authenticate }: ProtocolExtras, seal: Seal): Host => {
  const { config, store, metrics, sessions, drain, running, clock, wheel, log } = parts
  const lost = metrics.counter('sluice_conversion_loss_total', 'Fields of messages that could not travel.')
  const stages = governance({
    ...(tracer && { tracer }),
    meter: createMeter(metrics),
    limits: config.limits,
    wheel,
    clock,
    router: oneNode(store.node),
  })
  const host = new Host({
    pipeline: compose(stages, executeOn(store.backend)),
    sessions,
    limits: config.limits,
    clock,
    wheel,
    seal,
    log,
    advertise: config.advertise,
    authenticate: authenticate ?? (() => anonymous),
    adopt(name, socket, peer) {
      const target = running.get(name)
      if (!target) throw new Fault('unsupported', `protocol ${name} does not run here`)
      target.server.accept(socket, peer)
    },
    lost: (from, to, field) => void lost({ from, to, field }).value++,
    returned: (protocol, messages) => drain.returned(protocol, messages),
  })
  store.backend.onNotice((to, notice) => sessions.notify(to, notice))
  return host
}

const startProtocols = async (
  loaded: readonly Loaded[],
  host: Host,
  { metrics, running, drain }: Parts,
  undo: Undo,
): Promise<void> => {
  const opened = metrics.counter('sluice_connections_opened_total', 'Connections accepted.')
  const closed = metrics.counter('sluice_connections_closed_total', 'Connections that ended, whoever ended them.')
  for (const { protocol } of loaded) {
    const server = await protocol.start(host)
    undo.add(() => server.close())
    const labels = { protocol: protocol.name }
    running.set(protocol.name, { protocol, server: counted(server, opened(labels), closed(labels)) })
    drain.add(protocol.name, server)
  }
}

const adminOptions = ({ config, drain, log, sessions, metrics }: Parts, host: Host, leaving: Leaving): AdminOptions => {
  const operator = sessions.admit(operatorCredentials, anonymous, async () => undefined)
  return {
    ...config.admin,
    handle: host.handle,
    drain,
    log,
    context: () => host.context(operator, ADMIN_PATIENCE),
    metrics: () => metrics.text(),
    leave: () => leaving.drain(),
  }
}

const ADMIN_PATIENCE: Ms = 10_000

const executeOn =
  (backend: Backend) =>
  <K extends Kind>(command: CommandOf<K>, context: Context) =>
    backend.execute<K>(context.node!, command, context)

const counted = (server: ProtocolServer, opened: Cell, closed: Cell): ProtocolServer => {
  const left = () => void closed.value++
  return {
    accept(socket, peer) {
      opened.value++
      socket.on('close', left)
      server.accept(socket, peer)
    },
    connections: () => server.connections(),
    close: () => server.close(),
  }
}

const anonymous: Principal = { name: 'anonymous', tenant: '', super: true }

const operatorCredentials: Credentials = {
  protocol: 'admin',
  client: 'operator',
  language: '',
  version: 0,
  peer: { address: '127.0.0.1', port: 0, secure: false, local: { address: '127.0.0.1', port: 0 } },
}
