import { readFileSync } from 'node:fs'
import { Latencies } from '../statistics.ts'
import { Client, PUBACK, PUBLISH, pubacks, publishPacket } from './client.ts'

/**
 * Retained topics, replayed to one subscriber with a small receive maximum while another client publishes to itself,
 * one message at a time. Its round trips are timed before and during the replay.
 */
interface Options {
  readonly port: number
  /** Of the server whose memory is looked at. */
  readonly pid: number
  readonly topics: number
  readonly receiveMaximum: number
  readonly bytes: number
  readonly beforeMs: number
}

const { port, pid, topics, receiveMaximum, bytes, beforeMs } = JSON.parse(process.argv[2] ?? '{}') as Options
const MANY = 128
const LOOK_MS = 50
const name = (what: string) => `${what}-${process.pid}`

const rssKiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

/** Publishes them all, so many at a time without an answer. */
const retain = async (): Promise<void> => {
  const writer = new Client(port)
  await writer.enter(name('retainer'))
  let sent = 0
  let answered = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const fill = (): void => {
    const batch: Buffer[] = []
    for (; sent < topics && sent - answered < MANY; sent++) {
      const topic = `retained/${sent}`
      const packet = publishPacket(topic, 1, bytes, true)
      packet.writeUInt16BE((sent % 60_000) + 1, packet.length - bytes - 2)
      batch.push(packet)
    }
    if (batch.length > 0) writer.socket.write(Buffer.concat(batch))
  }
  writer.on = (first) => {
    if (first >> 4 === PUBACK && ++answered === topics) resolve()
  }
  writer.done = fill
  fill()
  await promise
  writer.socket.destroy()
}

/** Times QoS 1 messages from their publish to their arrival, one after the other, for as long as it runs. */
class Echo {
  readonly #client = new Client(port)
  readonly #topic = name('echo')
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

/** @returns how long it took, in seconds */
const replay = async (): Promise<number> => {
  const reader = new Client(port)
  await reader.enter(name('reader'), receiveMaximum)
  const began = performance.now()
  let got = 0
  let acks: number[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  reader.on = (first, chunk, at) => {
    if (first >> 4 !== PUBLISH) return
    acks.push(chunk.readUInt16BE(at + 2 + chunk.readUInt16BE(at)))
    if (++got === topics) resolve()
  }
  reader.done = () => {
    if (acks.length > receiveMaximum) throw new Error(`${acks.length} messages at once`)
    if (acks.length > 0) reader.socket.write(pubacks(acks))
    acks = []
  }
  await reader.subscribe('retained/#', 1)
  await promise
  const took = (performance.now() - began) / 1_000
  reader.socket.destroy()
  return took
}

await retain()
const echo = new Echo()
await echo.start()
await new Promise((resolve) => setTimeout(resolve, beforeMs / 4))
echo.latencies = new Latencies()
await new Promise((resolve) => setTimeout(resolve, beforeMs))
const before = echo.latencies
const rss = rssKiB()
let most = rss
const looking = setInterval(() => {
  most = Math.max(most, rssKiB())
}, LOOK_MS)
echo.latencies = new Latencies()
const took = await replay()
const during = echo.latencies
clearInterval(looking)
const sample = {
  beforeP50Ms: before.percentile(0.5) / 1_000,
  beforeP99Ms: before.percentile(0.99) / 1_000,
  duringP50Ms: during.percentile(0.5) / 1_000,
  duringP99Ms: during.percentile(0.99) / 1_000,
  p99Ratio: during.percentile(0.99) / before.percentile(0.99),
  rssGrowthMiB: (most - rss) / 1_024,
  replayedPerSecond: topics / took,
}
console.log(JSON.stringify(sample))
process.exit(0)
