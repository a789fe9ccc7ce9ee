import { once } from 'node:events'
import net from 'node:net'
import { Latencies } from '../statistics.ts'
import { Answers, countRecords, pull, send } from './frames.ts'

interface Options {
  readonly port: number
  readonly topic: string
  readonly kind: 'send' | 'pull'
  readonly inflight: number
  readonly warmMs: number
  readonly runMs: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as Options
const { port, topic, kind, inflight, warmMs, runMs } = options
/** SYSTEM_BUSY: a broker that has no time drops what waited for 200 ms. */
const BUSY = 2
const QUEUES = 4
const PULLED = 32
const BODY_BYTES = 1_024

const socket = net.connect(port, '127.0.0.1')
socket.setNoDelay(true)
await once(socket, 'connect')
socket.on('error', (error) => {
  throw error
})

const began = performance.now()
const from = began + warmMs
const until = from + runMs
const latencies = new Latencies()
let measured = 0
let refused = 0
setTimeout(() => console.log('measuring'), warmMs)

const count = (messages: number, now: number, sentAt: number): void => {
  if (now < from) return
  measured += messages
  latencies.record((now - sentAt) * 1_000)
}

const finish = (): void => {
  socket.destroy()
  const took = (performance.now() - from) / 1_000
  console.log(
    JSON.stringify({
      messages: measured,
      ...(refused > 0 && { refusedPercent: (100 * refused) / (measured + refused) }),
      perSecond: measured / took,
      p50Ms: latencies.percentile(0.5) / 1_000,
      p99Ms: latencies.percentile(0.99) / 1_000,
    }),
  )
}

/** Frames stand ready in one piece, so that whatever may be sent next leaves in one write. */
const sending = (): void => {
  const body = Buffer.alloc(BODY_BYTES, 'sluice ')
  const RING = 1_024
  const frames = Array.from({ length: RING }, (_, opaque) => send(topic, opaque % QUEUES, opaque, body))
  const starts: number[] = [0]
  for (const { length } of frames) starts.push(starts.at(-1)! + length)
  const ring = Buffer.concat(frames)
  const sentAt = new Float64Array(RING)
  let next = 0
  let open = 0
  const fill = (now: number): void => {
    while (open < inflight) {
      const some = Math.min(inflight - open, RING - next)
      sentAt.fill(now, next, next + some)
      socket.write(ring.subarray(starts[next]!, starts[next + some]!))
      next = (next + some) % RING
      open += some
    }
  }
  let now = 0
  const answers = new Answers(({ code, opaque, text, body: said }) => {
    open--
    if (code === BUSY) {
      if (now >= from) refused++
      return
    }
    if (code !== 0) throw new Error(`a send was answered ${text} ${said}`)
    count(1, now, sentAt[opaque]!)
  })
  socket.on('data', (chunk) => {
    now = performance.now()
    answers.read(chunk)
    if (now < until) fill(now)
    else if (open === 0) finish()
  })
  fill(performance.now())
}

/** One pull a queue at a time, from its beginning to its end and again. */
const pulling = (): void => {
  const sentAt = new Float64Array(QUEUES)
  let open = QUEUES
  const ask = (queue: number, offset: number, now: number): void => {
    sentAt[queue] = now
    socket.write(pull(topic, queue, offset, PULLED, queue))
  }
  let now = 0
  const answers = new Answers(({ code, opaque: queue, text, body }) => {
    if (code !== 0 && code !== 19) throw new Error(`a pull was answered ${text}`)
    count(countRecords(body), now, sentAt[queue]!)
    if (now >= until) {
      if (--open === 0) finish()
      return
    }
    const next = /"nextBeginOffset":"?(\d+)/.exec(text)?.[1]
    ask(queue, code === 0 ? Number(next) : 0, now)
  })
  socket.on('data', (chunk) => {
    now = performance.now()
    socket.cork()
    answers.read(chunk)
    socket.uncork()
  })
  for (let queue = 0; queue < QUEUES; queue++) ask(queue, 0, performance.now())
}

if (kind === 'send') sending()
else pulling()
