import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Server, Stage } from '../harness.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const lib = fileURLToPath(new URL('../../../out/bench/rocketmq/lib', import.meta.url))

/** Apache RocketMQ from Maven Central, fetched once. @returns why it cannot run here */
export const fetched = (): string | undefined => {
  try {
    execFileSync('java', ['-version'], { stdio: 'ignore' })
    if (existsSync(join(lib, 'rocketmq-broker-5.5.0.jar'))) return undefined
    const arguments_ = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${lib}`]
    execFileSync('mvn', ['-q', '-B', '-f', join(here, 'pom.xml'), ...arguments_], { stdio: 'ignore', timeout: 600_000 })
    return undefined
  } catch (error) {
    return `java 17 and mvn are needed: ${(error as Error).message.split('\n')[0]}`
  }
}

const opens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

/** The first of so many neighbouring ports that are free. */
export const freePorts = async (count: number): Promise<number> => {
  for (let tries = 0; tries < 100; tries++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000)
    const free = await Promise.all(Array.from({ length: count }, (_, index) => opens(first + index)))
    if (free.every(Boolean)) return first
  }
  throw new Error('no free ports')
}

export interface Jvm {
  readonly main: string
  readonly home: string
  readonly args: readonly string[]
  readonly ready: (line: string) => boolean
  readonly heap: string
}

export const jvm = (stage: Stage, { main, home, args, ready, heap }: Jvm): Promise<Server> =>
  stage.server({
    command: 'java',
    args: [
      `-Xms${heap}`,
      `-Xmx${heap}`,
      '-XX:MaxDirectMemorySize=1g',
      `-Duser.home=${home}`,
      '-Drocketmq.client.logUseSlf4j=true',
      '-cp',
      `${home}/conf:${lib}/*`,
      main,
      ...args,
    ],
    cwd: home,
    env: { ...process.env, ROCKETMQ_HOME: home, NODE_OPTIONS: '' },
    ready,
    readyWithinMs: 90_000,
  })

const properties = (all: Readonly<Record<string, string | number | boolean>>): string =>
  Object.entries(all)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')

export interface RocketMQ {
  readonly broker: Server
  readonly port: number
  readonly namesrv: string
  readonly home: string
}

/** A name server and a broker as their defaults are, on loopback, with a heap of 1 GB. */
export const rocketmq = async (stage: Stage, flush: 'ASYNC_FLUSH' | 'SYNC_FLUSH'): Promise<RocketMQ> => {
  const home = stage.folder()
  mkdirSync(join(home, 'conf'))
  const first = await freePorts(5)
  const namesrv = `127.0.0.1:${first}`
  writeFileSync(
    join(home, 'conf/namesrv.conf'),
    properties({ listenPort: first, bindAddress: '127.0.0.1', kvConfigPath: `${home}/kv.json` }),
  )
  await jvm(stage, {
    main: 'org.apache.rocketmq.namesrv.NamesrvStartup',
    home,
    args: ['-c', join(home, 'conf/namesrv.conf')],
    ready: (line) => line.includes('boot success'),
    heap: '256m',
  })
  const port = first + 3
  writeFileSync(
    join(home, 'conf/broker.conf'),
    properties({
      brokerClusterName: 'peers',
      brokerName: 'peer',
      brokerId: 0,
      brokerIP1: '127.0.0.1',
      bindAddress: '127.0.0.1',
      listenPort: port,
      haListenPort: first + 4,
      namesrvAddr: namesrv,
      storePathRootDir: `${home}/store`,
      storePathCommitLog: `${home}/store/commitlog`,
      flushDiskType: flush,
      brokerRole: 'ASYNC_MASTER',
      autoCreateTopicEnable: true,
      deleteWhen: '04',
    }),
  )
  const broker = await jvm(stage, {
    main: 'org.apache.rocketmq.broker.BrokerStartup',
    home,
    args: ['-c', join(home, 'conf/broker.conf')],
    ready: (line) => line.includes('boot success'),
    heap: '1g',
  })
  return { broker, port, namesrv, home }
}
