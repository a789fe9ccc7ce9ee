import type { Bench } from './harness.ts'
import { ours } from './ours.ts'

const file = new URL('./mqtt/retained.ts', import.meta.url)

const bench: Bench = {
  method:
    'Retained topics with bodies of 128 bytes, 100,000 with --full and 20,000 without, replayed with QoS 1 to a subscriber with a receive maximum of 20 that acknowledges at once, while another client, a process of its own that goes first, sends itself QoS 1 messages one at a time. p99Ratio is the p99 of its round trips during the fourth replay of a process against that just before it, firstP99Ratio the same of its first, during which V8 compiles what a replay needs on the same core; rssGrowthMiB the most that the resident set grew in the first; lookP99Ms how seldom the measuring process, which has a timer of 1 ms, came to its turn. A server of its own for each round, flush async.',
  rounds: { quick: 1, full: 5 },
  contenders: () => [
    {
      name: 'ours',
      async start(stage) {
        return {
          async run() {
            const server = await ours(stage, { flush: 'async', data: stage.folder() })
            const [topics, beforeMs] = stage.full ? [100_000, 4_000] : [20_000, 1_500]
            try {
              return await stage.load(file, {
                port: server.port,
                pid: server.pid,
                topics,
                receiveMaximum: 20,
                bytes: 128,
                beforeMs,
              })
            } finally {
              await server.stop()
            }
          },
        }
      },
    },
  ],
  targets: [
    { of: 'ours', metric: 'p99Ratio', atMost: 2 },
    { of: 'ours', metric: 'firstP99Ratio', atMost: 2 },
    { of: 'ours', metric: 'rssGrowthMiB', atMost: 20 },
  ],
}

export default bench
