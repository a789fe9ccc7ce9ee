import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Sample, Server, Stage } from './harness.ts'
import { ours } from './ours.ts'
import { fetched, freePorts, jvm, rocketmq } from './rocketmq/rocketmq.ts'

const load = new URL('./grpc/load.ts', import.meta.url)
const remoting = new URL('./remoting/load.ts', import.meta.url)
const echoServer = fileURLToPath(new URL('./grpc/echo.ts', import.meta.url))
const DEPTHS = [1, 32, 128]

const times = ({ full }: Stage) => (full ? { warmMs: 3_000, runMs: 10_000 } : { warmMs: 1_000, runMs: 2_000 })

const under = (prefix: string, { messages: _, serverCpuMs: __, ...sample }: Sample): Sample =>
  Object.fromEntries(
    Object.entries(sample).map(([metric, value]) => [`${prefix}${metric[0]!.toUpperCase()}${metric.slice(1)}`, value]),
  )

const round = async (stage: Stage, port: number, server: Server, echo: boolean): Promise<Sample> => {
  const sample: Record<string, number> = {}
  for (const inflight of DEPTHS) {
    const sent = await stage.load(load, { port, kind: 'send', inflight, echo, ...times(stage) }, server)
    Object.assign(sample, under(`send${inflight}`, sent))
  }
  if (echo) return sample
  const received = await stage.load(load, { port, kind: 'receive', inflight: 4, echo, ...times(stage) }, server)
  return Object.assign(sample, under('receive', received))
}

const sluice = (name: string, flush: 'sync' | 'async'): Contender => ({
  name,
  async start(stage) {
    const server = await ours(stage, { flush, data: stage.folder() })
    return { run: () => round(stage, server.port, server, false), stop: () => server.stop() }
  },
})

const echo: Contender = {
  name: 'grpc-js echo',
  async start(stage) {
    const server = await stage.server({
      command: process.execPath,
      args: [echoServer],
      ready: (line) => line.startsWith('ready '),
    })
    const port = Number(server.readyLine.slice('ready '.length))
    return { run: () => round(stage, port, server, true), stop: () => server.stop() }
  },
}

/** Their proxy as a process of its own in front of their broker, as a cluster has it. Its CPU time is both's. */
const proxy: Contender = {
  name: 'RocketMQ proxy',
  async start(stage) {
    const why = fetched()
    if (why !== undefined) return why
    const { broker, port, namesrv, home } = await rocketmq(stage, 'ASYNC_FLUSH')
    // The proxy makes no topics; a send to the broker does.
    await stage.load(remoting, { port, topic: 'bench', kind: 'send', inflight: 1, warmMs: 0, runMs: 100 })
    const first = await freePorts(2)
    const file = join(home, 'conf/rmq-proxy.json')
    writeFileSync(
      file,
      JSON.stringify({
        rocketMQClusterName: 'peers',
        namesrvAddr: namesrv,
        enableTopicMessageTypeCheck: false,
        grpcServerPort: first,
        remotingListenPort: first + 1,
      }),
    )
    const server = await jvm(stage, {
      main: 'org.apache.rocketmq.proxy.ProxyStartup',
      home,
      args: ['-pm', 'cluster', '-pc', file],
      ready: (line) => line.includes('startup successfully'),
      heap: '1g',
    })
    const both: Server = { ...server, alsoPids: [broker.pid] }
    const warmMs = stage.full ? 60_000 : 6_000
    await stage.load(load, { port: first, kind: 'send', inflight: 128, echo: false, warmMs, runMs: 100 })
    return { run: () => round(stage, first, both, false), stop: () => Promise.all([server.stop(), broker.stop()]) }
  },
}

const bench: Bench = {
  method:
    'SendMessage with bodies of 1 KiB over one connection at 1, 32 and 128 in flight, to `sluice start` with its embedded broker, to a bare unary echo on grpc-js that decodes nothing, and with --full to the proxy and broker of Apache RocketMQ 5.5.0 (flush async, heap 1 GB each, JVMs warmed 60 s; CPU of both); then ReceiveMessage of up to 32 and AckMessage of what came, four at a time. One load generator for all, HTTP/2 by hand.',
  rounds: { quick: 2, full: 5 },
  contenders: ({ full }) => [
    sluice('ours async', 'async'),
    sluice('ours sync', 'sync'),
    echo,
    ...(full || process.env.BENCH_PROXY ? [proxy] : []),
  ],
  pairs: [
    ['ours async', 'grpc-js echo'],
    ['ours sync', 'grpc-js echo'],
    ['ours async', 'RocketMQ proxy'],
  ],
  targets: [
    { metric: 'send128PerSecond', of: 'ours async', against: 'grpc-js echo', atLeast: 0.7 },
    { metric: 'send128PerSecond', of: 'ours async', against: 'RocketMQ proxy', atLeast: 2 },
    { metric: 'send128CpuPer1000Ms', of: 'ours async', against: 'RocketMQ proxy', atMost: 0.5 },
    { metric: 'receivePerSecond', of: 'ours async', against: 'RocketMQ proxy', atLeast: 4 },
    { metric: 'receiveCpuPer1000Ms', of: 'ours async', against: 'RocketMQ proxy', atMost: 0.3 },
  ],
}

export default bench
