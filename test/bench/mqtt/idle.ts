import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { Client } from './client.ts'

/** Connections that are opened, at most 200 at a time, and then say nothing. */
interface Options {
  readonly port: number
  /** Of the server whose memory is looked at. */
  readonly pid: number
  readonly count: number
  /** Before the silence: CONNECT and its answer, then also a SUBSCRIBE and its. */
  readonly says: 'nothing' | 'connect' | 'subscribe'
  readonly settleMs: number
}

const { port, pid, count, says, settleMs } = JSON.parse(process.argv[2] ?? '{}') as Options
const AT_ONCE = 200

const rssKiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, settleMs))

const open = async (n: number): Promise<net.Socket> => {
  if (says !== 'nothing') {
    const client = new Client(port)
    await client.enter(`idle-${process.pid}-${n}`)
    if (says === 'subscribe') await client.subscribe(`idle/${n}`, 1)
    return client.socket
  }
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

await open(-1) // what the first one alone brings in
await settled()
const before = rssKiB()
const began = performance.now()
const sockets: net.Socket[] = []
let next = 0
const worker = async (): Promise<void> => {
  while (next < count) sockets.push(await open(next++))
}
await Promise.all(Array.from({ length: AT_ONCE }, worker))
const took = (performance.now() - began) / 1_000
await settled()
const lost = sockets.filter(({ destroyed, readableEnded }) => destroyed || readableEnded).length
if (lost > 0) throw new Error(`${lost} of ${count} connections did not stay`)
console.log(JSON.stringify({ kibEach: (rssKiB() - before) / count, connectsPerSecond: count / took }))
process.exit(0)
