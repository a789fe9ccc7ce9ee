import { readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { Client, PUBACK, PUBLISH, pubacks, publishPacket } from './client.ts'

/**
 * Publishes retained topics, says `retained`, and when it is told to, replays them to a subscriber of its own with a small
 * receive maximum. A process beside the one that measures, which it lets go first.
 */
export interface ReplayOptions {
  readonly port: number
  /** Of the server whose memory is looked at. */
  readonly pid: number
  readonly topics: number
  readonly receiveMaximum: number
  readonly bytes: number
}

/** What it says at its end. */
export interface Replayed {
  readonly rssGrowthMiB: number
  readonly replayedPerSecond: number
}

const { port, pid, topics, receiveMaximum, bytes } = JSON.parse(process.argv[2] ?? '{}') as ReplayOptions
const MANY = 128
const LOOK_MS = 50
const name = (what: string) => `${what}-${process.pid}`

const rssKiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

/** Where Linux shares a core among sessions first, and this process has one of its own, nice is the session's to say. */
const letOthersFirst = (): void => {
  os.setPriority(19)
  try {
    writeFileSync('/proc/self/autogroup', '19')
  } catch {
    // There are no such groups here.
  }
}

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

const replay = async (): Promise<Replayed> => {
  const before = rssKiB()
  let most = before
  const looking = setInterval(() => {
    most = Math.max(most, rssKiB())
  }, LOOK_MS)
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
  clearInterval(looking)
  reader.socket.destroy()
  return { rssGrowthMiB: (Math.max(most, rssKiB()) - before) / 1_024, replayedPerSecond: topics / took }
}

letOthersFirst()
await retain()
process.on('message', () => void replay().then((replayed) => process.send!(replayed)))
process.send!('retained')
