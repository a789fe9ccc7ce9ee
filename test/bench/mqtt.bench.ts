import { startAedes } from './aedes.ts'
import type { Bench, Contender, Sample, Server, Stage } from './harness.ts'
import { startMosquitto } from './mosquitto.ts'
import { ours } from './ours.ts'

const file = new URL('./mqtt/load.ts', import.meta.url)
const BYTES = 128

const shapes = {
  q0: { qos: 0, publishers: 1, subscribers: 1, inflight: 256 },
  q1: { qos: 1, publishers: 1, subscribers: 1, inflight: 128 },
  fanIn: { qos: 1, publishers: 50, subscribers: 1, inflight: 4 },
  fanOut: { qos: 0, publishers: 1, subscribers: 100, inflight: 8 },
} as const

/** `perSecond` of a run of `q0` is `q0PerSecond`. */
const under = (prefix: string, { messages, serverCpuMs, ...sample }: Sample): Sample =>
  Object.fromEntries(
    Object.entries(sample).map(([metric, value]) => [`${prefix}${metric[0]!.toUpperCase()}${metric.slice(1)}`, value]),
  )

const round = async (stage: Stage, port: number, server: Server): Promise<Sample> => {
  const times = stage.full ? { warmMs: 2_000, runMs: 10_000 } : { warmMs: 700, runMs: 2_000 }
  const sample: Record<string, number> = {}
  for (const [name, shape] of Object.entries(shapes)) {
    Object.assign(sample, under(name, await stage.load(file, { port, bytes: BYTES, ...shape, ...times }, server)))
  }
  return sample
}

const sluice = (name: string, flush: 'sync' | 'async'): Contender => ({
  name,
  async start(stage) {
    const server = await ours(stage, { flush, data: stage.folder() })
    return { run: () => round(stage, server.port, server), stop: () => server.stop() }
  },
})

const peer = (name: string, begin: typeof startMosquitto): Contender => ({
  name,
  async start(stage) {
    const server = await begin(stage)
    if (typeof server === 'string') return server
    return { run: () => round(stage, server.port, server), stop: () => server.stop() }
  },
})

const bench: Bench = {
  method:
    'MQTT 3.1.1, bodies of 128 bytes, one load generator for all, frames prepared; counted are deliveries. q0 and q1: one publisher, one subscriber, 256 and 128 on their way. fanIn: 50 publishers with 4 each on their way to one subscriber, QoS 1. fanOut: one publisher, 100 subscribers, QoS 0. Ours is `sluice start` with its embedded broker, each message written to the log before it is acknowledged or delivered (async: flushed later; sync: flushed before); mosquitto and aedes keep their messages in memory.',
  rounds: { quick: 2, full: 5 },
  contenders: () => [
    sluice('ours async', 'async'),
    sluice('ours sync', 'sync'),
    peer('mosquitto', startMosquitto),
    peer('aedes', startAedes),
  ],
  pairs: [
    ['ours async', 'mosquitto'],
    ['ours sync', 'mosquitto'],
    ['ours async', 'aedes'],
  ],
  targets: [
    { of: 'ours async', against: 'mosquitto', metric: 'q0PerSecond', atLeast: 1 },
    { of: 'ours async', against: 'aedes', metric: 'q0PerSecond', atLeast: 1 },
    { of: 'ours async', against: 'mosquitto', metric: 'q0CpuPer1000Ms', atMost: 0.55 },
    { of: 'ours async', against: 'mosquitto', metric: 'q1PerSecond', atLeast: 2.5 },
    { of: 'ours async', against: 'mosquitto', metric: 'q1CpuPer1000Ms', atMost: 0.4 },
    { of: 'ours async', against: 'mosquitto', metric: 'fanOutCpuPer1000Ms', atMost: 0.5 },
  ],
}

export default bench
