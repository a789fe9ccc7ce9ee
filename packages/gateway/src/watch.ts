import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Broker } from '@sluice/broker'
import type { Running, Sessions } from '@sluice/core'
import { type DrainController, phases } from '@sluice/drain'
import type { Config } from './config/schema.ts'
import type { Metrics } from './metrics.ts'
import { version } from './version.ts'

export interface Watched {
  readonly sessions: Sessions
  readonly drain: DrainController
  readonly running: ReadonlyMap<string, Running>
  readonly broker: Broker
  readonly config: Config
}

/** Figures that are read when they are asked for. @returns what ends the watching */
export const watch = (metrics: Metrics, watched: Watched): (() => void) => {
  const { sessions, running, config } = watched
  metrics.gauge('sluice_build_info', 'Always 1.', () => [[{ version, node: process.version }, 1]])
  metrics.gauge('sluice_sessions', 'Clients that this process serves.', () => [[{}, sessions.size]])
  metrics.gauge('sluice_connections', 'Connections by what they were told.', function* () {
    for (const [protocol, { server }] of running) {
      const states: Record<string, number> = { serving: 0, told: 0 }
      for (const { state } of server.connections()) states[state] = (states[state] ?? 0) + 1
      for (const [state, many] of Object.entries(states)) yield [{ protocol, state }, many]
    }
  })
  metrics.gauge('sluice_limit', 'Configured bounds.', () =>
    Object.entries(config.limits).map(([name, value]) => [{ name }, value] as const),
  )
  watchDrain(metrics, watched)
  watchBroker(metrics, watched)
  return watchProcess(metrics)
}

const watchDrain = (metrics: Metrics, { drain }: Watched): void => {
  metrics.gauge('sluice_drain_phase', '1 for the phase that the gateway is in.', () =>
    phases.map((phase) => [{ phase }, phase === drain.phase ? 1 : 0] as const),
  )
  const tallies = (what: 'remaining' | 'told' | 'forced' | 'returned') => () =>
    Object.entries(drain.tallies()).map(([protocol, tally]) => [{ protocol }, tally[what]] as const)
  metrics.gauge('sluice_drain_connections_remaining', 'Connections that a drain waits for.', tallies('remaining'))
  metrics.total('sluice_farewells_total', 'Connections that were told to go.', tallies('told'))
  metrics.total('sluice_drain_forced_total', 'Connections ended with work in flight.', tallies('forced'))
  metrics.total('sluice_drain_returned_total', 'Deliveries that a drain gave back.', tallies('returned'))
}

type BrokerFigure = readonly [
  kind: 'gauge' | 'total',
  name: string,
  help: string,
  read: (stats: ReturnType<Broker['stats']>) => number,
]

const brokerFigures: readonly BrokerFigure[] = [
  ['gauge', 'sluice_topics', 'Topics of the embedded broker.', ({ topics }) => topics],
  ['gauge', 'sluice_groups', 'Consumer groups of the embedded broker.', ({ groups }) => groups],
  ['gauge', 'sluice_inboxes', 'Inboxes of the embedded broker.', ({ inboxes }) => inboxes],
  ['gauge', 'sluice_broker_parked', 'Reads and pops that wait in the broker.', ({ parked }) => parked],
  ['gauge', 'sluice_delayed_messages', 'Messages that wait for their time.', ({ delayed }) => delayed],
  ['total', 'sluice_timed_messages_total', 'Messages delivered at their time.', ({ timed }) => timed],
  ['total', 'sluice_timed_late_seconds_total', 'How late those were, together.', ({ lateMs }) => lateMs / 1_000],
  ['gauge', 'sluice_timed_late_seconds_max', 'How late the latest of them was.', ({ lateMsMax }) => lateMsMax / 1_000],
  ['gauge', 'sluice_half_messages', 'Transactions without a decision.', ({ halves }) => halves],
  [
    'total',
    'sluice_undecided_total',
    'Transactions that nobody decided and that were parked.',
    ({ undecided }) => undecided,
  ],
  ['gauge', 'sluice_log_segments', 'Files of the log.', ({ segments }) => segments],
  ['gauge', 'sluice_log_bytes', 'Size of the log.', ({ start, end }) => end - start],
  ['gauge', 'sluice_log_start_bytes', 'First position of the log.', ({ start }) => start],
  ['gauge', 'sluice_log_end_bytes', 'Last position of the log.', ({ end }) => end],
  ['total', 'sluice_log_syncs_total', 'Times that the log was made durable.', ({ syncs }) => syncs],
  [
    'gauge',
    'sluice_log_unreadable_bytes',
    'Bytes of the log that failed their check at the start.',
    ({ unreadableBytes }) => unreadableBytes,
  ],
  [
    'gauge',
    'sluice_log_failed',
    '1 when the disk has failed: nothing is acknowledged any more.',
    ({ failed }) => Number(failed),
  ],
]

const watchBroker = (metrics: Metrics, { broker }: Watched): void => {
  for (const [kind, name, help, read] of brokerFigures) metrics[kind](name, help, () => [[{}, read(broker.stats())]])
}

const RESOLUTION_MS = 20
const NANOSECONDS = 1e9

const watchProcess = (metrics: Metrics): (() => void) => {
  metrics.gauge('process_resident_memory_bytes', 'Memory of the process.', () => [[{}, process.memoryUsage.rss()]])
  metrics.total('process_cpu_seconds_total', 'Processor time of the process.', () => {
    const { user, system } = process.cpuUsage()
    return [[{}, (user + system) / 1e6]]
  })
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const help = 'How late timers ran since the figures were last read.'
  metrics.gauge('process_event_loop_delay_seconds', help, () => {
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION_MS / 1_000)
    const figures = [50, 99, 100].map((percent) => [percent / 100, late(delay.percentile(percent))] as const)
    delay.reset()
    return figures.map(([quantile, seconds]) => [{ quantile: String(quantile) }, seconds] as const)
  })
  return () => delay.disable()
}
