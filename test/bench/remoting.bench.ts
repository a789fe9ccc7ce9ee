import type { Bench, Contender, Sample, Server, Stage, Target } from './harness.ts'
import { ours } from './ours.ts'
import { fetched, rocketmq } from './rocketmq/rocketmq.ts'

const file = new URL('./remoting/load.ts', import.meta.url)
const DEPTHS = [1, 32, 128]

/** `perSecond` of a run at 32 in flight is `send32PerSecond`. */
const under = (prefix: string, { messages, serverCpuMs, ...sample }: Sample): Sample =>
  Object.fromEntries(
    Object.entries(sample).map(([metric, value]) => [`${prefix}${metric[0]!.toUpperCase()}${metric.slice(1)}`, value]),
  )

const times = ({ full }: Stage) => (full ? { warmMs: 2_000, runMs: 10_000 } : { warmMs: 700, runMs: 2_000 })

/** Machine code is made by about as many messages on either side, so that their logs are about as long. */
const warm = (stage: Stage, port: number, seconds: number) => {
  const warmMs = stage.full ? seconds * 1_000 : seconds * 100
  return stage.load(file, { port, topic: 'bench', kind: 'send', inflight: 128, warmMs, runMs: 100 })
}

const round = async (stage: Stage, port: number, server: Server, pulls: boolean): Promise<Sample> => {
  const sample: Record<string, number> = {}
  for (const inflight of DEPTHS) {
    const sent = await stage.load(file, { port, topic: 'bench', kind: 'send', inflight, ...times(stage) }, server)
    Object.assign(sample, under(`send${inflight}`, sent))
  }
  if (!pulls) return sample
  const pulled = await stage.load(file, { port, topic: 'bench', kind: 'pull', inflight: 4, ...times(stage) }, server)
  return Object.assign(sample, under('pull', pulled))
}

const sluice = (name: string, flush: 'sync' | 'async'): Contender => ({
  name,
  async start(stage) {
    const server = await ours(stage, { flush, data: stage.folder() })
    await warm(stage, server.port, 20)
    return { run: () => round(stage, server.port, server, flush === 'async'), stop: () => server.stop() }
  },
})

const apache = (name: string, flush: 'SYNC_FLUSH' | 'ASYNC_FLUSH'): Contender => ({
  name,
  async start(stage) {
    const why = fetched()
    if (why !== undefined) return why
    const { broker, port } = await rocketmq(stage, flush)
    await warm(stage, port, 60)
    return { run: () => round(stage, port, broker, flush === 'ASYNC_FLUSH'), stop: () => broker.stop() }
  },
})

const against = (of: string, peer: string, first: Omit<Target, 'of' | 'against'>): readonly Target[] => [
  { of, against: peer, metric: 'send128PerSecond', atLeast: 3.5 },
  { of, against: peer, metric: 'send128CpuPer1000Ms', atMost: 0.3 },
  { of, against: peer, metric: 'send128P99Ms', atMost: 0.25 },
  { of, against: peer, ...first },
]

const bench: Bench = {
  method:
    'SEND_MESSAGE_V2, bodies of 1 KiB, four queues, pipelined on one connection at 1, 32 and 128 in flight, to `sluice start` with its embedded broker and to a broker of Apache RocketMQ 5.5.0 (heap 1 GB), warmed by 128 in flight for 60 s and ours for 20 s, a tenth of it without --full, each flushing later (async) and before it answers (sync); then pulls of 32 stored messages, one a queue at a time. One load generator for all, frames prepared.',
  rounds: { quick: 2, full: 5 },
  contenders: () => [
    sluice('ours async', 'async'),
    apache('RocketMQ async', 'ASYNC_FLUSH'),
    sluice('ours sync', 'sync'),
    apache('RocketMQ sync', 'SYNC_FLUSH'),
  ],
  pairs: [
    ['ours async', 'RocketMQ async'],
    ['ours sync', 'RocketMQ sync'],
  ],
  targets: [
    ...against('ours async', 'RocketMQ async', { metric: 'send1P50Ms', atMost: 0.8 }),
    ...against('ours sync', 'RocketMQ sync', { metric: 'send1PerSecond', atLeast: 1.6 }),
    { of: 'ours async', against: 'RocketMQ async', metric: 'pullPerSecond', atLeast: 1 },
  ],
}

export default bench
