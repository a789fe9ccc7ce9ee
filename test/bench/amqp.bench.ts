import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Running, Sample, Server, Stage } from './harness.ts'
import { ours } from './ours.ts'

const load = new URL('./amqp/load.ts', import.meta.url)
const peer = fileURLToPath(new URL('./amqp/peer.ts', import.meta.url))

const times = ({ full }: Stage) => (full ? { warmMs: 3_000, runMs: 10_000 } : { warmMs: 1_000, runMs: 2_000 })

/** `sourceOf` a relay's topic, which is a new one each time: what is left of the run before would come first. */
const running = (stage: Stage, port: number, server: Server, sourceOf: (topic: string) => string): Running => ({
  async run(round) {
    const relay = `relay-${round}`
    const source = sourceOf(relay)
    const one = async (kind: 'send' | 'relay', inflight: number, target: string): Promise<Sample> => {
      const options = { port, kind, inflight, target, source, ...times(stage) }
      const { messages: _, serverCpuMs: __, ...sample } = await stage.load(load, options, server)
      const prefix = kind === 'send' ? `send${inflight}` : 'relay'
      return Object.fromEntries(
        Object.entries(sample).map(([metric, value]) => [
          `${prefix}${metric[0]!.toUpperCase()}${metric.slice(1)}`,
          value,
        ]),
      )
    }
    return {
      ...(await one('send', 1, 'sink')),
      ...(await one('send', 128, 'sink')),
      ...(await one('relay', 64, relay)),
    }
  },
  stop: () => server.stop(),
})

const sluice = (name: string, flush: 'sync' | 'async'): Contender => ({
  name,
  async start(stage) {
    const server = await ours(stage, { flush, data: stage.folder() })
    return running(stage, server.port, server, (topic) => `/topics/${topic}/groups/bench`)
  },
})

const rhea: Contender = {
  name: 'rhea',
  async start(stage) {
    const server = await stage.server({
      command: process.execPath,
      args: [peer],
      ready: (line) => line.startsWith('ready '),
    })
    return running(stage, Number(server.readyLine.slice('ready '.length)), server, (topic) => topic)
  },
}

const bench: Bench = {
  method:
    'AMQP 1.0 deliveries of 1 KiB, unsettled, over one link: 1 and 128 without an outcome, to `sluice start`, which accepts once the message is stored (sync: once it is synced), and to a sink on rhea that stores nothing; then out of one link and into another of the same connection, 64 on their way and 64 credit, through a topic and a group of ours and through a relay in the memory of rhea. One load generator for all, frames prepared.',
  rounds: { quick: 2, full: 5 },
  contenders: () => [sluice('ours sync', 'sync'), sluice('ours async', 'async'), rhea],
  pairs: [
    ['ours sync', 'rhea'],
    ['ours async', 'rhea'],
  ],
  targets: [
    { metric: 'send128PerSecond', of: 'ours sync', against: 'rhea', atLeast: 0.6 },
    { metric: 'relayPerSecond', of: 'ours sync', against: 'rhea', atLeast: 1 },
  ],
}

export default bench
