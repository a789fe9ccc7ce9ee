import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Running, Server, Stage } from './harness.ts'
import { ours } from './ours.ts'

const load = new URL('./http/load.ts', import.meta.url)
const bare = fileURLToPath(new URL('./http/bare.ts', import.meta.url))

const times = ({ full }: Stage) => (full ? { warmMs: 3_000, runMs: 10_000 } : { warmMs: 1_000, runMs: 2_000 })

const running = (stage: Stage, port: number, server: Server): Running => ({
  async run() {
    const {
      messages: _,
      serverCpuMs: __,
      ...sample
    } = await stage.load(load, { port, connections: 64, ...times(stage) }, server)
    return sample
  },
  stop: () => server.stop(),
})

const sluice = (name: string, flush: 'sync' | 'async'): Contender => ({
  name,
  async start(stage) {
    const server = await ours(stage, { flush, data: stage.folder() })
    return running(stage, server.port, server)
  },
})

const fastify: Contender = {
  name: 'fastify',
  async start(stage) {
    const server = await stage.server({
      command: process.execPath,
      args: [bare],
      ready: (line) => line.startsWith('ready '),
    })
    return running(stage, Number(server.readyLine.slice('ready '.length)), server)
  },
}

const bench: Bench = {
  method:
    'POST of 1 KiB to a topic over 64 kept connections, one request at a time each: to `sluice start`, which answers once the message is stored (sync: once it is synced), and to a bare fastify that reads the body and answers the same JSON.',
  rounds: { quick: 3, full: 5 },
  contenders: () => [sluice('ours sync', 'sync'), sluice('ours async', 'async'), fastify],
  pairs: [
    ['ours sync', 'fastify'],
    ['ours async', 'fastify'],
  ],
  targets: [{ metric: 'perSecond', of: 'ours sync', against: 'fastify', atLeast: 0.6 }],
}

export default bench
