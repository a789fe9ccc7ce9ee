import { once } from 'node:events'
import net from 'node:net'
import { Latencies } from '../statistics.ts'

interface Options {
  readonly port: number
  readonly connections: number
  readonly warmMs: number
  readonly runMs: number
}

/** One request at a time a connection, its bytes prepared; an answer ends where its content-length says. */
const { port, connections, warmMs, runMs } = JSON.parse(process.argv[2] ?? '{}') as Options
const body = Buffer.alloc(1_024, 'sluice ')
const request = Buffer.concat([
  Buffer.from(
    `POST /v1/topics/bench/messages HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${body.length}\r\n\r\n`,
  ),
  body,
])
const from = performance.now() + warmMs
const until = from + runMs
setTimeout(() => console.log('measuring'), warmMs)
const latencies = new Latencies()
let measured = 0
let open = connections

const finish = (): void => {
  const took = (performance.now() - from) / 1_000
  console.log(
    JSON.stringify({
      messages: measured,
      perSecond: measured / took,
      p50Ms: latencies.percentile(0.5) / 1_000,
      p99Ms: latencies.percentile(0.99) / 1_000,
    }),
  )
  process.exit(0)
}

/** Bytes of the answer that `bytes` begins with; 0: not all there. */
const answerBytes = (bytes: Buffer): number => {
  const head = bytes.indexOf('\r\n\r\n')
  if (head < 0) return 0
  const text = bytes.toString('latin1', 0, head)
  if (!text.startsWith('HTTP/1.1 201')) throw new Error(bytes.toString())
  const end = head + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1])
  return bytes.length >= end ? end : 0
}

const connect = async (): Promise<void> => {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  await once(socket, 'connect')
  let held: Buffer = Buffer.alloc(0)
  let sentAt = performance.now()
  socket.write(request)
  socket.on('data', (chunk: Buffer) => {
    held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk
    const taken = answerBytes(held)
    if (taken === 0) return
    held = held.subarray(taken)
    const now = performance.now()
    if (now >= from) {
      measured++
      latencies.record((now - sentAt) * 1_000)
    }
    if (now >= until) {
      if (--open === 0) finish()
      return
    }
    sentAt = now
    socket.write(request)
  })
}

await Promise.all(Array.from({ length: connections }, connect))
