import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Latencies } from '../statistics.ts'
import { Client, PUBLISH, pubacks, publishPacket } from './client.ts'
import type { Replayed, ReplayOptions } from './replay.ts'

/**
 * A client publishes to itself, one message at a time; its round trips are timed before and while another process replays
 * retained topics.
 */
interface Options extends ReplayOptions {
  readonly beforeMs: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as Options
const { port, bytes, beforeMs } = options
/** Replays until V8 has compiled what they need: it does so beside the server, on the same core. */
const WARM = 3

/** Times QoS 1 messages from their publish to their arrival, one after the other, for as long as it runs. */
class Echo {
  readonly #client = new Client(port)
  readonly #topic = `echo-${process.pid}`
  readonly #packet = publishPacket(this.#topic, 1, bytes)
  latencies = new Latencies()
  #began = 0

  async start(): Promise<void> {
    await this.#client.enter(this.#topic)
    await this.#client.subscribe(this.#topic, 1)
    this.#packet.writeUInt16BE(1, this.#packet.length - bytes - 2)
    this.#client.on = (first, chunk, at) => {
      if (first >> 4 !== PUBLISH) return
      this.latencies.record((performance.now() - this.#began) * 1_000)
      this.#client.socket.write(pubacks([chunk.readUInt16BE(at + 2 + chunk.readUInt16BE(at))]))
      this.#next()
    }
    this.#next()
  }

  #next(): void {
    this.#began = performance.now()
    this.#client.socket.write(this.#packet)
  }
}

const said = async <T>(child: ChildProcess): Promise<T> => {
  const ended = once(child, 'exit').then(([how]) => {
    throw new Error(`replay ended with ${how}`)
  })
  const [word] = await Promise.race([once(child, 'message'), ended])
  return word as T
}

/** Between two looks of this process at its clock, a millisecond apart at best: what it adds itself. */
const look = (looks: Latencies): NodeJS.Timeout => {
  let looked = performance.now()
  return setInterval(() => {
    const now = performance.now()
    looks.record((now - looked) * 1_000)
    looked = now
  }, 1)
}

// A session of its own: see there.
const replayer = fork(fileURLToPath(new URL('./replay.ts', import.meta.url)), [JSON.stringify(options)], {
  detached: true,
})
await said(replayer)
const echo = new Echo()
await echo.start()

interface Run {
  readonly latencies: Latencies
  readonly replayed: Replayed
}

const replay = async (): Promise<Run> => {
  echo.latencies = new Latencies()
  replayer.send('replay')
  const replayed = await said<Replayed>(replayer)
  return { latencies: echo.latencies, replayed }
}

const alone = async (): Promise<Latencies> => {
  echo.latencies = new Latencies()
  await new Promise((resolve) => setTimeout(resolve, beforeMs))
  return echo.latencies
}

await new Promise((resolve) => setTimeout(resolve, beforeMs / 4)) // the code of a round trip is made meanwhile
const beforeFirst = await alone()
const first = await replay()
for (let replays = 1; replays < WARM; replays++) await replay()
const before = await alone()
const looks = new Latencies()
const looking = look(looks)
const { latencies: during, replayed } = await replay()
clearInterval(looking)
replayer.kill()
const p99Ms = (latencies: Latencies): number => latencies.percentile(0.99) / 1_000
const sample = {
  beforeP50Ms: before.percentile(0.5) / 1_000,
  beforeP99Ms: p99Ms(before),
  duringP50Ms: during.percentile(0.5) / 1_000,
  duringP99Ms: p99Ms(during),
  p99Ratio: p99Ms(during) / p99Ms(before),
  lookP99Ms: p99Ms(looks),
  replayedPerSecond: replayed.replayedPerSecond,
  firstP99Ms: p99Ms(first.latencies),
  firstP99Ratio: p99Ms(first.latencies) / p99Ms(beforeFirst),
  firstReplayedPerSecond: first.replayed.replayedPerSecond,
  rssGrowthMiB: first.replayed.rssGrowthMiB,
}
console.log(JSON.stringify(sample))
process.exit(0)
