import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import { asking } from '../../../protocols/grpc/test/harness.ts'
import { RawClient } from '../../../protocols/grpc/test/raw.ts'
import { reportOf } from './collect.ts'

/** Telemetry streams, each on a connection of its own, opened and closed again in rounds; then polls that wait. */
interface Options {
  readonly port: number
  /** Of the server whose memory and time are looked at. */
  readonly pid: number
  readonly count: number
  readonly rounds: number
  readonly settleMs: number
  /** Receives of 20 s that wait at the same time, and for how long that is looked at; 0: none. */
  readonly polls: number
  readonly pollsMs: number
  /** All of it ends within so long, or fails. */
  readonly boundMs: number
}

/** Client processes: each stays well below the number of files that it may have open. */
const PROCESSES = 4
const AT_ONCE = 32
/** Rounds until the heap has been filled with garbage once. */
const FILLING = 2
const POLLS_A_CONNECTION = 50

const options = JSON.parse(process.argv[2] ?? '{}') as Options
const settled = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

// ── One of the client processes ────────────────────────────────────────────────────────────────

const connect = async (name: string): Promise<{ readonly socket: net.Socket; readonly client: RawClient }> => {
  const socket = net.connect({ port: options.port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return { socket, client: new RawClient(socket, name) }
}

const settings = { settings: { client_type: 'PRODUCER', publishing: { topics: [{ name: 'orders' }] } } }

const openOne = async (name: string): Promise<net.Socket> => {
  const { socket, client } = await connect(name)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  client.onFrame = ({ type }) => {
    if (type === 'DATA') resolve()
  }
  socket.once('close', () => reject(new Error('the connection was closed')))
  client.ask('Telemetry', settings, true)
  await promise
  client.onFrame = undefined
  client.frames.length = 0
  return socket
}

const part = async (index: number): Promise<void> => {
  let sockets: net.Socket[] = []
  const orders: Readonly<Record<string, (count: number) => Promise<unknown>>> = {
    async open(count) {
      let next = 0
      const worker = async () => {
        while (next < count) sockets.push(await openOne(`c${index}-${next++}`))
      }
      await Promise.all(Array.from({ length: AT_ONCE }, worker))
    },
    async close() {
      await Promise.all(sockets.map((socket) => once(socket.destroy(), 'close')))
      sockets = []
    },
    async poll(count) {
      for (let begun = 0; begun < count; begun += POLLS_A_CONNECTION) {
        const { client } = await connect(`poller-${index}-${begun}`)
        for (let n = 0; n < POLLS_A_CONNECTION; n++) void poll(client)
      }
    },
  }
  process.on('disconnect', () => process.exit(1))
  process.on('message', ({ order, count }: { order: string; count: number }) => {
    orders[order]!(count).then(
      () => process.send!('done'),
      (error: Error) => process.send!(error.message),
    )
  })
}

const poll = async (client: RawClient): Promise<never> => {
  for (;;) {
    await client.ask('ReceiveMessage', asking('polled', 'g', { long_polling_timeout: { seconds: 20 } })).answer
    client.frames.length = 0
  }
}

// ── The one that orders and measures ───────────────────────────────────────────────────────────

const rssKiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${options.pid}/status`, 'utf8'))?.[1])
const cpuMs = (): number => {
  const text = readFileSync(`/proc/${options.pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** The farthest from the mean, as a part of it. */
const swingOf = (values: readonly number[]): number => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.max(...values.map((value) => Math.abs(value - mean))) / mean
}

/** In use after a collection. */
const usedKiB = async (): Promise<number> => {
  const file = reportOf(options.pid)
  process.kill(options.pid, 'SIGUSR2')
  while (!existsSync(file)) await settled(20)
  const used = Number(readFileSync(file, 'utf8'))
  rmSync(file)
  return used
}

const whole = async (): Promise<void> => {
  setTimeout(() => {
    console.error(`not over in ${options.boundMs} ms`)
    process.exit(1)
  }, options.boundMs)
  const { count, rounds, settleMs, polls, pollsMs } = options
  const parts = Array.from({ length: PROCESSES }, (_, index) =>
    fork(new URL(import.meta.url), [process.argv[2]!, String(index)]),
  )
  const order = (order: string, all: number) => Promise.all(parts.map((one) => tell(one, order, all / PROCESSES)))
  await order('open', PROCESSES) // what the first ones alone bring in
  await order('close', 0)
  await settled(settleMs)
  const before = rssKiB()
  const idle = rounds > 0 ? await usedKiB() : 0
  const each: number[] = []
  const used: number[] = []
  for (let round = 0; round < rounds; round++) {
    await order('open', count)
    await settled(settleMs)
    each.push((rssKiB() - before) / count)
    if (round === 0 || round === rounds - 1) used.push(((await usedKiB()) - idle) / count)
    console.log(`round ${round + 1}: ${each[round]!.toFixed(1)} KiB a client`)
    await order('close', 0)
    await settled(settleMs)
  }
  const streams = rounds > 0 && {
    kibEach: each[0],
    kibEachLast: each.at(-1),
    grewKib: each.at(-1)! - each[0]!,
    ...(rounds > FILLING && { swing: swingOf(each.slice(FILLING)) }),
    usedEach: used[0],
    usedGrew: used.at(-1)! / used[0]!,
  }
  let pollCpuPercent: number | undefined
  if (polls > 0) {
    await order('poll', polls)
    await settled(2_000)
    const spent = cpuMs()
    await settled(pollsMs)
    pollCpuPercent = ((cpuMs() - spent) * 100) / pollsMs
  }
  for (const one of parts) one.kill()
  console.log(JSON.stringify({ ...streams, ...(pollCpuPercent !== undefined && { pollCpuPercent }) }))
  process.exit(0)
}

const tell = async (child: ChildProcess, order: string, count: number): Promise<void> => {
  child.send({ order, count: Math.ceil(count) })
  const [answer] = await once(child, 'message')
  if (answer !== 'done') throw new Error(String(answer))
}

await (process.argv[3] === undefined ? whole() : part(Number(process.argv[3])))
