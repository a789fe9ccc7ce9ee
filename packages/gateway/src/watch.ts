import type { Running, Sessions } from '@sluice/core'
import type { DrainController } from '@sluice/drain'
import type { Config } from './config/schema.ts'
import type { Metrics } from './metrics.ts'
import { version } from './version.ts'

/** Gauges that are read when they are asked for. */
export const watch = (
  metrics: Metrics,
  parts: {
    sessions: Sessions
    drain: DrainController
    running: ReadonlyMap<string, Running>
    config: Config
  },
): void => {
  const { sessions, drain, running, config } = parts
  metrics.gauge('sluice_build_info', 'Always 1.', () => [[{ version, node: process.version }, 1]])
  metrics.gauge('sluice_sessions', 'Clients that this process serves.', () => [[{}, sessions.size]])
  metrics.gauge('sluice_drain_phase', 'The phase that the gateway is in.', () => [[{ phase: drain.phase }, 1]])
  metrics.gauge('sluice_connections', 'Connections by what they were told.', function* () {
    for (const [protocol, { server }] of running) {
      const states: Record<string, number> = { serving: 0, told: 0 }
      for (const { state } of server.connections()) states[state] = (states[state] ?? 0) + 1
      for (const [state, many] of Object.entries(states)) yield [{ protocol, state }, many]
    }
  })
  metrics.gauge('process_resident_memory_bytes', 'Memory of the process.', () => [[{}, process.memoryUsage.rss()]])
  metrics.gauge('process_cpu_seconds_total', 'Processor time of the process.', () => {
    const { user, system } = process.cpuUsage()
    return [[{}, (user + system) / 1e6]]
  })
  metrics.gauge('sluice_limit', 'Configured bounds.', () =>
    Object.entries(config.limits).map(([name, value]) => [{ name }, value] as const),
  )
}
