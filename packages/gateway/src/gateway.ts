import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Broker } from '@sluice/broker'
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
  listen,
  type Peer,
  type Principal,
  type Protocol,
  type ProtocolServer,
  type Running,
  Sessions,
  systemClock,
  Wheel,
} from '@sluice/core'
import { createDrain, type DrainPlan, type Verdict } from '@sluice/drain'
import { governance, oneNode, type Tracer } from '@sluice/governance'
import { type Admin, startAdmin } from './admin.ts'
import { checkConfig } from './config/load.ts'
import type { Config, ConfigInput } from './config/schema.ts'
import { openEmbedded } from './embedded.ts'
import { Host } from './host.ts'
import { listenOptions } from './listeners.ts'
import { createLog } from './log.ts'
import { type Cell, createMeter, Metrics } from './metrics.ts'
import { type Ports, writePorts } from './ports.ts'
import { loadProtocols } from './protocols.ts'
import { sealKey } from './sealKey.ts'
import { watch } from './watch.ts'

/** What a program may hand in beyond the configuration. */
export interface Extras {
  readonly log?: Log
  readonly clock?: Clock
  readonly tracer?: Tracer
  /** Folder from which protocol packages are looked up; default: the working directory. */
  readonly base?: string
  /** @throws Fault 'unauthenticated'. Absent: everybody is one principal who may do everything. */
  authenticate?(who: Credentials): Principal | Promise<Principal>
}

export type GatewayOptions = Omit<ConfigInput, 'protocols' | 'log'> &
  Extras & { readonly protocols?: readonly (string | Protocol)[] }

export interface RunningGateway {
  readonly ports: Ports
  /** Of the first listener. */
  readonly port: number
  readonly adminPort: number
  /** Folders of protocol packages by name. */
  readonly plugins: Readonly<Record<string, string>>
  /** Runs the phases, then ends everything. A second call hurries the first. */
  drain(plan?: Partial<DrainPlan>): Promise<Verdict>
  /** The verdict of the drain, whoever asked for it. */
  readonly drained: Promise<Verdict>
  /** Ends everything at once; what is unsettled goes back to the broker. */
  close(): Promise<void>
}

/**
 * A gateway for a program or a test: one listener for all protocols and the admin port on free ports of the loopback
 * address, errors only in the log. Without `data` the store is temporary and goes with `close`.
 * @throws ConfigError; Fault 'conflict' when another process holds the data directory
 */
export const startGateway = async (options: GatewayOptions = {}): Promise<RunningGateway> => {
  const { protocols = undefined, log, clock, tracer, base, authenticate, ...input } = options
  const temporary = input.data === undefined ? mkdtempSync(join(tmpdir(), 'sluice-')) : undefined
  const config = checkConfig({
    listeners: [{ port: 0 }],
    admin: { port: 0 },
    ...input,
    data: input.data ?? temporary,
  })
  const gateway = await runGateway(config, {
    log: log ?? createLog({ level: 'error', format: 'json', to: 2 }),
    ...(protocols && { protocols }),
    ...(clock && { clock }),
    ...(tracer && { tracer }),
    ...(base && { base }),
    ...(authenticate && { authenticate }),
  })
  if (!temporary) return gateway
  const remove = () => rmSync(temporary, { recursive: true, force: true })
  return {
    ...gateway,
    drain: (plan) => gateway.drain(plan).finally(remove),
    close: () => gateway.close().finally(remove),
  }
}

const anonymous: Principal = { name: 'anonymous', tenant: '', super: true }

/** The composition root: the only place that knows all parts. */
export const runGateway = async (
  config: Config,
  extras: Extras & { readonly protocols?: readonly (string | Protocol)[] },
): Promise<RunningGateway> => {
  const clock = extras.clock ?? systemClock
  const log = extras.log ?? createLog({ ...config.log, to: 1 })
  const data = resolve(config.data)
  mkdirSync(data, { recursive: true })
  const undo: (() => unknown)[] = []
  try {
    const [loaded, broker] = await Promise.all([
      loadProtocols(extras.protocols ?? config.protocols, extras.base ?? process.cwd()),
      openEmbedded(config, data, clock, log),
    ])
    undo.push(() => broker.close())
    const wheel = new Wheel(clock)
    undo.push(() => wheel.close())
    const metrics = new Metrics()
    const lost = metrics.counter('sluice_conversion_loss_total', 'Fields of messages that could not travel.')
    const opened = metrics.counter('sluice_connections_opened_total', 'Connections accepted.')
    const closed = metrics.counter('sluice_connections_closed_total', 'Connections that ended, whoever ended them.')
    const sessions = new Sessions(`${process.pid.toString(36)}-${randomBytes(4).toString('hex')}`)
    const drain = createDrain(clock)
    const running = new Map<string, Running>()
    const stages = governance({
      ...(extras.tracer && { tracer: extras.tracer }),
      meter: createMeter(metrics),
      limits: config.limits,
      wheel,
      clock,
      router: oneNode(config.backend.embedded.node),
    })
    const host = new Host({
      pipeline: compose(stages, executeOn(broker)),
      backend: broker,
      sessions,
      limits: config.limits,
      clock,
      wheel,
      seal: createSeal(sealKey(data)),
      log,
      advertise: config.advertise,
      authenticate: extras.authenticate ?? (() => anonymous),
      adopt(name, socket, peer: Peer) {
        const target = running.get(name)
        if (!target) throw new Fault('unsupported', `protocol ${name} does not run here`)
        target.server.accept(socket, peer)
      },
      lost: (from, to, field) => void lost({ from, to, field }).value++,
      returned: (protocol, messages) => drain.returned(protocol, messages),
    })
    broker.onNotice((to, notice) => sessions.notify(to, notice))

    for (const { protocol } of loaded) {
      const server = await protocol.start(host)
      undo.push(() => server.close())
      running.set(protocol.name, {
        protocol,
        server: counted(server, opened({ protocol: protocol.name }), closed({ protocol: protocol.name })),
      })
      drain.add(protocol.name, server)
    }
    watch(metrics, { sessions, drain, running, config })

    const open = { count: 0 }
    const listeners = await Promise.all(
      config.listeners.map((one) => listen(listenOptions(one, running, { config, wheel, clock, log, open }))),
    )
    undo.push(() => Promise.all(listeners.map((listener) => listener.close())))
    const operator = sessions.admit(operatorCredentials, anonymous, async () => undefined)
    const drained = Promise.withResolvers<Verdict>()
    let ended: Promise<Verdict> | undefined
    const admin = await startAdmin({
      ...config.admin,
      handle: host.handle,
      drain,
      context: () => host.context(operator, 10_000),
      metrics: () => metrics.text(),
      leave: () => gateway.drain(),
    })
    const ports: Ports = {
      listeners: config.listeners.map(({ host: address, protocols, tls }, index) => ({
        host: address,
        port: listeners[index]!.port,
        protocols: protocols ?? [...running.keys()],
        tls: tls !== undefined,
      })),
      admin: { host: config.admin.host, port: admin.port },
    }
    writePorts(data, ports)
    drain.onPhase((phase) => {
      log.info('drain', { phase })
      // Open through the announce window: the load balancer may still deliver, and refusing is what clients would see.
      if (phase === 'settling' || phase === 'closed') void Promise.all(listeners.map((listener) => listener.close()))
    })

    const end = async (plan: DrainPlan): Promise<Verdict> => {
      const verdict = await drain.drain(plan)
      await shutDown(host, admin, wheel, broker)
      log.info('drained', verdict)
      return verdict
    }
    const gateway: RunningGateway = {
      ports,
      port: ports.listeners[0]!.port,
      adminPort: admin.port,
      plugins: Object.fromEntries(loaded.flatMap(({ protocol, folder }) => (folder ? [[protocol.name, folder]] : []))),
      drained: drained.promise,
      drain(plan) {
        if (ended) drain.hurry()
        if (!ended) {
          ended = end({ ...config.drain, ...plan })
          drained.resolve(ended)
        }
        return ended
      },
      async close() {
        await gateway.drain({ leavingMs: 0, announceMs: 0, settleMs: 0 })
      },
    }
    return gateway
  } catch (error) {
    for (const back of undo.reverse()) await Promise.resolve(back()).catch(() => undefined)
    throw error
  }
}

/** Sessions have left and the log is closed before the promise resolves: no handle of ours is open then. */
const shutDown = async (host: Host, admin: Admin, wheel: Wheel, broker: Broker): Promise<void> => {
  await host.left()
  wheel.close()
  await broker.close()
  // The reply to POST /v1/drain is still to be written on it.
  setImmediate(() => void admin.close())
}

const executeOn =
  (backend: Backend) =>
  <K extends Kind>(command: CommandOf<K>, context: Context) =>
    backend.execute<K>(context.node!, command, context)

const counted = (server: ProtocolServer, opened: Cell, closed: Cell): ProtocolServer => ({
  accept(socket, peer) {
    opened.value++
    socket.once('close', () => closed.value++)
    server.accept(socket, peer)
  },
  connections: () => server.connections(),
  close: () => server.close(),
})

const operatorCredentials: Credentials = {
  protocol: 'admin',
  client: 'operator',
  language: '',
  version: 0,
  peer: { address: '127.0.0.1', port: 0, secure: false, local: { address: '127.0.0.1', port: 0 } },
}
