import { once } from 'node:events'
import net from 'node:net'
import { type Answer, Answers, pull, send } from '../remoting/frames.ts'
import { Latencies } from '../statistics.ts'

/** A producer at a steady rate and a consumer that is up to date; latency is from the one's write to the other's read. */
interface Options {
  readonly port: number
  readonly topic: string
  readonly perSecond: number
  readonly warmMs: number
  readonly runMs: number
}

const { port, topic, perSecond, warmMs, runMs } = JSON.parse(process.argv[2]!) as Options
const BODY_BYTES = 1_024
const PULLED = 32
const WAIT_MS = 10_000
/** Where the body of a record begins. */
const BODY_AT = 88
const DIGITS = 10

const connect = async (take: (answer: Answer) => void): Promise<net.Socket> => {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  await once(socket, 'connect')
  const answers = new Answers(take)
  socket.on('data', (chunk) => answers.read(chunk))
  socket.on('error', (error) => {
    throw error
  })
  return socket
}

const sentAt = new Map<number, number>()
const latencies = new Latencies()
/** Between two looks of this process at its clock, a millisecond apart at best: what it adds itself. */
const looks = new Latencies()
let counting = false
let received = 0

const hear = (records: Buffer): void => {
  const now = performance.now()
  for (let at = 0; at < records.length; at += records.readInt32BE(at)) {
    const number = Number(records.toString('latin1', at + BODY_AT, at + BODY_AT + DIGITS))
    const sent = sentAt.get(number)
    sentAt.delete(number)
    received++
    if (counting && sent !== undefined) latencies.record((now - sent) * 1_000)
  }
}

const consumer: net.Socket = await connect(({ code, text, body }) => {
  if (code !== 0 && code !== 19 && code !== 20) throw new Error(`a pull was answered ${text}`)
  if (code === 0) hear(body)
  const next = Number(/"nextBeginOffset":"?(\d+)/.exec(text)?.[1])
  consumer.write(pull(topic, 0, next, PULLED, 0, WAIT_MS))
})

let first: (offset: number) => void = () => undefined
const producer = await connect(({ code, text }) => {
  if (code !== 0) throw new Error(`a send was answered ${text}`)
  first(Number(/"queueOffset":"?(\d+)/.exec(text)?.[1]))
})

let number = 0
const sendOne = (): void => {
  const body = Buffer.alloc(BODY_BYTES, 'x')
  body.write(String(number).padStart(DIGITS, '0'), 0, 'latin1')
  const bytes = send(topic, 0, number, body)
  sentAt.set(number, performance.now())
  producer.write(bytes)
  number++
}

const begins = new Promise<number>((resolve) => {
  first = resolve
})
sendOne()
consumer.write(pull(topic, 0, await begins, PULLED, 0, WAIT_MS))

const began = performance.now()
let looked = began
const ticker = setInterval(() => {
  const now = performance.now()
  const since = now - began
  if (counting) looks.record((now - looked) * 1_000)
  looked = now
  if (!counting && since >= warmMs) {
    counting = true
    console.log('measuring')
  }
  if (since < warmMs + runMs) {
    for (const due = (since * perSecond) / 1_000; number < due; ) sendOne()
    return
  }
  clearInterval(ticker)
  setTimeout(finish, 1_000)
}, 1)

const finish = (): void => {
  if (received < number) throw new Error(`${number - received} of ${number} messages did not come`)
  producer.destroy()
  consumer.destroy()
  console.log(
    JSON.stringify({
      messages: latencies.count,
      p50Ms: latencies.percentile(0.5) / 1_000,
      p99Ms: latencies.percentile(0.99) / 1_000,
      maxMs: latencies.max / 1_000,
      lookP99Ms: looks.percentile(0.99) / 1_000,
    }),
  )
}
