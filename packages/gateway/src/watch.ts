import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { BrokerStats } from '@sluice/broker'
import type { Running, Sessions } from '@sluice/core'
import { type DrainController, phases } from '@sluice/drain'
import type { LinkServerStats, LinkStats } from '@sluice/link'
import type { Config } from './config/schema.ts'
import type { Metrics } from './metrics.ts'
import type { Store } from './store.ts'
import { version } from './version.ts'

export interface Watched {
  readonly sessions: Sessions
  readonly drain: DrainController
  readonly running: ReadonlyMap<string, Running>
  readonly store: Store
  readonly config: Config
}

/** Figures that are read when they are asked for. @returns what ends the watching */
export const watch = (metrics: Metrics, watched: Watched): (() => void) => {
  const { sessions, running, config } = watched
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
  watched.store.watch(metrics)
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

type Figure<Stats> = readonly [kind: 'gauge' | 'total', name: string, help: string, read: (stats: Stats) => number]

const brokerFigures: readonly Figure<BrokerStats>[] = [
  ['gauge', 'sluice_topics', 'Topics of the broker.', ({ topics }) => topics],
  ['gauge', 'sluice_groups', 'Consumer groups of the broker.', ({ groups }) => groups],
  ['gauge', 'sluice_inboxes', 'Inboxes of the broker.', ({ inboxes }) => inboxes],
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
  [
    'total',
    'sluice_leases_expired_total',
    'Deliveries whose consumer said nothing in time.',
    ({ expiredLeases }) => expiredLeases,
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

const linkFigures: readonly Figure<LinkStats>[] = [
  ['gauge', 'sluice_link_connected', '1 while the broker can be reached.', ({ connected }) => Number(connected)],
  ['total', 'sluice_link_connections_total', 'Connections made to the broker.', ({ connections }) => connections],
  ['gauge', 'sluice_link_inflight', 'Commands at the broker without an answer.', ({ inflight }) => inflight],
  ['gauge', 'sluice_link_held', 'Commands that wait for a connection to the broker.', ({ held }) => held],
  ['total', 'sluice_link_bytes_out_total', 'Bytes to the broker.', ({ counts }) => counts.bytesOut],
  ['total', 'sluice_link_bytes_in_total', 'Bytes from the broker.', ({ counts }) => counts.bytesIn],
  ['total', 'sluice_link_writes_total', 'Writes to the broker.', ({ counts }) => counts.writes],
]

const gatewayFigures: readonly Figure<LinkServerStats>[] = [
  ['gauge', 'sluice_gateways', 'Gateways that the broker keeps sessions of.', ({ gateways }) => gateways],
  ['gauge', 'sluice_gateways_connected', 'Gateways with a connection.', ({ connected }) => connected],
  [
    'gauge',
    'sluice_gateway_sessions',
    'Clients of all gateways that have asked for something.',
    ({ sessions }) => sessions,
  ],
  ['total', 'sluice_link_records_total', 'Records sent to gateways.', ({ records }) => records.sent],
  ['total', 'sluice_link_record_bytes_total', 'Their bytes.', ({ records }) => records.bytes],
  [
    'total',
    'sluice_link_records_repeated_total',
    'Deliveries of a record that had been sent just before.',
    ({ records }) => records.repeated,
  ],
]

const watchFigures =
  <Stats>(figures: readonly Figure<Stats>[]) =>
  (metrics: Metrics, stats: () => Stats): void => {
    for (const [kind, name, help, read] of figures) metrics[kind](name, help, () => [[{}, read(stats())]])
  }

export const watchBroker = (metrics: Metrics, stats: () => BrokerStats): void => {
  watchFigures(brokerFigures)(metrics, stats)
  metrics.spread('sluice_log_fsync_seconds', 'Time of each fdatasync of the log.', () => stats().syncTimes)
}
export const watchLink = watchFigures(linkFigures)
export const watchGateways = watchFigures(gatewayFigures)

/** A look is a wake-up: at 20 ms they cost 0.4 % of a core where nothing else happens. */
const RESOLUTION_MS = 100
const NANOSECONDS = 1e9

/** @returns what ends the watching */
export const watchProcess = (metrics: Metrics): (() => void) => {
  metrics.gauge('sluice_build_info', 'Always 1.', () => [[{ version, node: process.version }, 1]])
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
