import { once } from 'node:events'
import net from 'node:net'
import { Latencies } from '../statistics.ts'
import {
  accepted,
  bool,
  DELIVERY_ID,
  described,
  frame,
  HEADER,
  nothing,
  performative,
  Reader,
  type Said,
  text,
  transfer,
  uint,
} from './wire.ts'

interface Options {
  readonly port: number
  /** `send`: messages without their outcome are counted out; `relay`: those that have not come back. */
  readonly kind: 'send' | 'relay'
  readonly inflight: number
  readonly target: string
  readonly source: string
  readonly warmMs: number
  readonly runMs: number
}

const { port, kind, inflight, target, source, warmMs, runMs } = JSON.parse(process.argv[2] ?? '{}') as Options
const [OUT, IN] = [0, 1]
const WINDOW = 0x7fff_ffff
const CREDIT = 64
const RING = 4_096

const socket = net.connect(port, '127.0.0.1')
socket.setNoDelay(true)
await once(socket, 'connect')

const attach = (handle: number, receives: boolean, from: string, to: string): Buffer =>
  frame(
    described(
      performative.attach,
      text(`bench-${handle}-${process.pid}`),
      uint(handle),
      bool(receives),
      nothing,
      nothing,
      described(0x28, text(from)),
      described(0x29, text(to)),
      nothing,
      nothing,
      uint(0),
    ),
  )

const grant = (): Buffer =>
  frame(
    described(
      performative.flow,
      uint(received),
      uint(WINDOW),
      uint(sent),
      uint(WINDOW),
      uint(IN),
      uint(received),
      uint(CREDIT),
    ),
  )

const from = performance.now() + warmMs
const until = from + runMs
setTimeout(() => console.log('measuring'), warmMs)
const latencies = new Latencies()
const sentAt = new Float64Array(RING)
const message = transfer(OUT, Buffer.alloc(1_024, 'sluice '))
let measured = 0
let now = performance.now()
/** Deliveries so far, and how many the peer allows. */
let sent = 0
let allowed = 0
let outcomes = 0
let received = 0
let receiving = false

const count = (delivery: number): void => {
  if (now < from) return
  measured++
  latencies.record((now - sentAt[delivery % RING]!) * 1_000)
}

const fill = (): void => {
  const back = kind === 'send' ? outcomes : Math.min(received, outcomes)
  const some = Math.min(inflight - (sent - back), allowed - sent)
  if (some <= 0) return
  const all = Buffer.allocUnsafe(some * message.length)
  for (let index = 0; index < some; index++) {
    message.copy(all, index * message.length)
    all.writeUInt32BE(sent, index * message.length + DELIVERY_ID)
    sentAt[sent++ % RING] = now
  }
  socket.write(all)
}

const outcome = ([role, first, last, settled, state]: Said['fields']): void => {
  if (role !== true) return
  if (state !== 0x24) throw new Error(`outcome ${state}`)
  if (settled !== true) throw new Error('an outcome that is not settled')
  const to = typeof last === 'number' ? last : (first as number)
  for (let delivery = first as number; delivery <= to; delivery++) if (kind === 'send') count(delivery)
  outcomes += to - (first as number) + 1
  if (kind === 'relay' && !receiving) {
    receiving = true
    socket.write(attach(IN, true, source, 'bench'))
    socket.write(grant())
  }
}

let firstUnsettled = 0
const settle = (): void => {
  if (received === firstUnsettled) return
  socket.write(
    frame(
      described(performative.disposition, bool(true), uint(firstUnsettled), uint(received - 1), bool(true), accepted),
    ),
  )
  firstUnsettled = received
  socket.write(grant())
}

const finish = (): void => {
  const took = (performance.now() - from) / 1_000
  socket.destroy()
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

const reader = new Reader(({ code, fields }) => {
  if (code === performative.disposition) outcome(fields)
  else if (code === performative.transfer) count(received++)
  else if (code === performative.flow && fields[4] === OUT)
    allowed = ((fields[5] as number | undefined) ?? 0) + (fields[6] as number)
})
socket.on('data', (chunk: Buffer) => {
  now = performance.now()
  socket.cork()
  reader.read(chunk)
  settle()
  if (now < until) fill()
  else finish()
  socket.uncork()
})

socket.write(
  Buffer.concat([
    HEADER,
    frame(described(performative.open, text(`bench-${process.pid}`), text('localhost'), uint(65_536))),
    frame(described(performative.begin, nothing, uint(0), uint(WINDOW), uint(WINDOW))),
    attach(OUT, false, 'bench', target),
  ]),
)
