import type { Bench, Contender, Sample, Server, Stage } from './harness.ts'
import { ours, oursBroker } from './ours.ts'
import { cpuMs } from './process.ts'

const file = new URL('./remoting/load.ts', import.meta.url)
const INFLIGHT = 128

const round = async (stage: Stage, port: number, server: Server, broker?: Server): Promise<Sample> => {
  const times = stage.full ? { warmMs: 2_000, runMs: 10_000 } : { warmMs: 700, runMs: 2_000 }
  const spent = () => (broker ? cpuMs(broker.pid) : 0)
  const [all, some] = [cpuMs(server.pid) + spent(), spent()]
  const sample = await stage.load(file, { port, topic: 'bench', kind: 'send', inflight: INFLIGHT, ...times }, server)
  const took = cpuMs(server.pid) + spent() - all
  return broker ? { ...sample, brokerPercentOfCpu: (100 * (spent() - some)) / took } : sample
}

const embedded: Contender = {
  name: 'embedded',
  async start(stage) {
    const server = await ours(stage, { flush: 'async', data: stage.folder() })
    return { run: () => round(stage, server.port, server), stop: () => server.stop() }
  },
}

const linked: Contender = {
  name: 'linked',
  async start(stage) {
    const { broker, address } = await oursBroker(stage, { flush: 'async', data: stage.folder() })
    const set = [`backend.brokers=["${address}"]`]
    const gateway = await ours(stage, { flush: 'async', data: stage.folder(), set })
    const both = { ...gateway, alsoPids: [broker.pid] }
    return {
      run: () => round(stage, gateway.port, both, broker),
      async stop() {
        await gateway.stop()
        await broker.stop()
      },
    }
  },
}

const bench: Bench = {
  method:
    'SEND_MESSAGE_V2, bodies of 1 KiB, four queues, 128 in flight on one connection, flush async: to `sluice start` with its broker inside, and to a gateway with its broker in a process of its own over a Unix socket. CPU is of both processes together, which have one core between them where cores are pinned.',
  rounds: { quick: 3, full: 5 },
  contenders: () => [linked, embedded],
  pairs: [['linked', 'embedded']],
  targets: [],
}

export default bench
