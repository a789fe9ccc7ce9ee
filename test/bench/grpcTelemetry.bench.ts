import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Server, Stage } from './harness.ts'
import { ours } from './ours.ts'

const file = new URL('./grpc/telemetry.ts', import.meta.url)
/** What a server has in use is asked by a signal, after a collection. */
const preload = fileURLToPath(new URL('./grpc/collect.ts', import.meta.url))
const bareServer = fileURLToPath(new URL('./grpc/bareTelemetry.ts', import.meta.url))

const round = async (stage: Stage, { pid }: Server, port: number, polls: number) => {
  const [count, rounds, settleMs, pollsMs] = stage.full ? [10_000, 10, 1_000, 60_000] : [1_000, 2, 1_000, 10_000]
  const common = { port, pid, settleMs, pollsMs, boundMs: stage.full ? 600_000 : 120_000 }
  const streams = await stage.load(file, { ...common, count, rounds, polls: 0 })
  if (polls === 0) return streams
  return { ...streams, ...(await stage.load(file, { ...common, count: 0, rounds: 0, polls })) }
}

/** A server a round: memory that one round has brought in would be there for the next. */
const contender = (
  name: string,
  polls: number,
  start: (stage: Stage) => Promise<Server & { readonly port: number }>,
): Contender => ({
  name,
  async start(stage) {
    return {
      async run() {
        const server = await start(stage)
        try {
          return await round(stage, server, server.port, polls)
        } finally {
          await server.stop()
        }
      },
    }
  },
})

const bare = async (stage: Stage) => {
  const server = await stage.server({
    command: process.execPath,
    args: ['--import', preload, bareServer],
    ready: (line) => line.startsWith('ready'),
  })
  return { ...server, port: Number(server.readyLine.split(' ')[1]) }
}

const sluice = (stage: Stage) =>
  ours(stage, {
    flush: 'async',
    data: stage.folder(),
    set: ['limits.connections=18000', 'limits.handshakeMs=60000'],
    preload,
  })

const bench: Bench = {
  method:
    'Telemetry streams that have their settings, each on a connection of its own, by four client processes: 10,000 with --full and 1,000 without; in ten (two) rounds all are opened and closed. kibEach: growth of the resident set a client after the first round, kibEachLast after the last. swing: the farthest of the rounds from the third on from their mean, as a part of it; the heap has not been filled with garbage once before. usedEach is what is in use a client after a collection, and usedGrew that of the last round by that of the first. The bare server gives back what comes. Then 1,000 receives of 20 s that wait, for 60 s (10 s): CPU of the server. A server of its own for each round.',
  rounds: { quick: 1, full: 1 },
  contenders: () => [contender('ours', 1_000, sluice), contender('bare grpc-js', 0, bare)],
  targets: [
    { of: 'ours', against: 'bare grpc-js', metric: 'kibEach', atMost: 1.4 },
    { of: 'ours', against: 'bare grpc-js', metric: 'kibEachLast', atMost: 1.4 },
    { of: 'ours', metric: 'swing', atMost: 0.15 },
    { of: 'ours', metric: 'usedGrew', atMost: 1.05 },
    { of: 'ours', metric: 'pollCpuPercent', atMost: 1 },
  ],
}

export default bench
