import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Server, Stage } from './harness.ts'
import { ours } from './ours.ts'

const file = new URL('./grpc/telemetry.ts', import.meta.url)
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
    args: [bareServer],
    ready: (line) => line.startsWith('ready'),
  })
  return { ...server, port: Number(server.readyLine.split(' ')[1]) }
}

const sluice = (stage: Stage) =>
  ours(stage, { flush: 'async', data: stage.folder(), set: ['limits.connections=18000', 'limits.handshakeMs=60000'] })

const bench: Bench = {
  method:
    'Telemetry streams that have their settings, each on a connection of its own, by four client processes: 10,000 with --full and 1,000 without; memory a client is the growth of the resident set, in the first round and in the last of ten (two) in which all are closed and opened again. The bare server gives back what comes. No process of Node gives pages back at once, so flat means: ours grows by no more than the bare server does from the first round to the last. Then 1,000 receives of 20 s that wait, for 60 s (10 s): CPU of the server. A server of its own for each round.',
  rounds: { quick: 1, full: 1 },
  contenders: () => [contender('ours', 1_000, sluice), contender('bare grpc-js', 0, bare)],
  targets: [
    { of: 'ours', against: 'bare grpc-js', metric: 'kibEach', atMost: 1.4 },
    { of: 'ours', against: 'bare grpc-js', metric: 'kibEachLast', atMost: 1.4 },
    { of: 'ours', against: 'bare grpc-js', metric: 'grewKib', atMost: 1 },
    { of: 'ours', metric: 'pollCpuPercent', atMost: 1 },
  ],
}

export default bench
