import { Latencies } from '../statistics.ts'
import { Client, PUBACK, PUBLISH, pubacks, publishPacket } from './client.ts'

/** Publishers to one topic, subscribers of it; each publisher has so many messages on their way to their last reader. */
interface Options {
  readonly port: number
  readonly qos: 0 | 1
  readonly publishers: number
  readonly subscribers: number
  readonly inflight: number
  readonly bytes: number
  readonly warmMs: number
  readonly runMs: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as Options
const { port, qos, publishers, subscribers, inflight, bytes, warmMs, runMs } = options
const topic = `bench${process.pid}/x`
const template = publishPacket(topic, qos, bytes)
const STAMP = 8
const idAt = template.length - bytes - 2
const bodyAt = template.length - bytes

const enter = async (count: number, name: string): Promise<Client[]> => {
  const clients = Array.from({ length: count }, () => new Client(port))
  await Promise.all(clients.map((client, n) => client.enter(`${name}-${process.pid}-${n}`)))
  return clients
}
const readers = await enter(subscribers, 'sub')
await Promise.all(readers.map((reader) => reader.subscribe(`bench${process.pid}/#`, qos)))
const writers = await enter(publishers, 'pub')

const from = performance.now() + warmMs
const latencies = new Latencies()
let measured = 0
let delivered = 0
let sent = 0
let over = false
let now = 0
setTimeout(() => console.log('measuring'), warmMs)

/** Ids go round: no more than `inflight` of them are ever in use. */
const ids = new Uint16Array(publishers)

const write = (writer: Client, which: number, count: number): void => {
  const batch = Buffer.allocUnsafe(count * template.length)
  const stamp = performance.now()
  for (let n = 0; n < count; n++) {
    const start = n * template.length
    template.copy(batch, start)
    if (qos > 0) {
      ids[which] = (ids[which]! % 60_000) + 1
      batch.writeUInt16BE(ids[which]!, start + idAt)
    }
    batch.writeDoubleBE(stamp, start + bodyAt)
  }
  sent += count
  writer.socket.write(batch)
}

/** PUBACKs that a publisher waits for. */
const unacked = new Uint32Array(publishers)
const fill = (): void => {
  if (over) return
  let free = inflight * publishers - (sent - Math.floor(delivered / subscribers))
  for (let which = 0; which < publishers && free > 0; which++) {
    const some = Math.min(
      free,
      inflight - (qos > 0 ? unacked[which]! : 0),
      Math.ceil((inflight * publishers) / publishers),
    )
    if (some <= 0) continue
    if (qos > 0) unacked[which]! += some
    free -= some
    write(writers[which]!, which, some)
  }
}

readers.forEach((reader, which) => {
  let acks: number[] = []
  reader.on = (first, chunk, at, end) => {
    if (first >> 4 !== PUBLISH) return
    delivered++
    if (now >= from) measured++
    if (which === 0 && now >= from) latencies.record((now - chunk.readDoubleBE(end - bytes)) * 1_000)
    if (first & 6) acks.push(chunk.readUInt16BE(at + 2 + chunk.readUInt16BE(at)))
  }
  reader.socket.prependListener('data', () => {
    now = performance.now()
  })
  reader.done = () => {
    if (acks.length > 0) {
      reader.socket.write(pubacks(acks))
      acks = []
    }
    fill()
  }
})
writers.forEach((writer, which) => {
  writer.on = (first) => {
    if (first >> 4 === PUBACK) unacked[which]!--
  }
  writer.done = fill
})
if (bytes < STAMP) throw new Error(`a body has at least ${STAMP} bytes`)
fill()

setTimeout(() => {
  over = true
  const took = (performance.now() - from) / 1_000
  const sample = {
    messages: measured,
    perSecond: measured / took,
    p50Ms: latencies.percentile(0.5) / 1_000,
    p99Ms: latencies.percentile(0.99) / 1_000,
  }
  console.log(JSON.stringify(sample))
  process.exit(0)
}, warmMs + runMs)
