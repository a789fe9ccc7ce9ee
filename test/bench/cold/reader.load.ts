import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import { Answers, pull } from '../remoting/frames.ts'

/** A consumer far behind: pulls every queue from its beginning to its end, and again, as fast as it is answered. */
interface Options {
  readonly port: number
  readonly topic: string
  readonly queues: number
  readonly runMs: number
}

const { port, topic, queues, runMs } = JSON.parse(process.argv[2]!) as Options
const PULLED = 32

// The load's core is for who measures: this one takes what is left. Where Linux shares a core among sessions first, and each load
// has its own, that is the session's to say.
os.setPriority(19)
try {
  writeFileSync('/proc/self/autogroup', '19')
} catch {
  // There are no such groups here.
}
const socket = net.connect(port, '127.0.0.1')
await once(socket, 'connect')
socket.on('error', (error) => {
  throw error
})

const began = performance.now()
let open = queues
let bytes = 0
const answers = new Answers(({ code, opaque: queue, text, body }) => {
  if (code !== 0 && code !== 19) throw new Error(`a pull was answered ${text}`)
  bytes += body.length
  if (performance.now() - began < runMs) {
    const next = /"nextBeginOffset":"?(\d+)/.exec(text)?.[1]
    socket.write(pull(topic, queue, code === 0 ? Number(next) : 0, PULLED, queue))
  } else if (--open === 0) {
    socket.destroy()
    console.log(JSON.stringify({ coldMBPerSecond: bytes / 2 ** 20 / ((performance.now() - began) / 1_000) }))
  }
})
socket.on('data', (chunk) => answers.read(chunk))
for (let queue = 0; queue < queues; queue++) socket.write(pull(topic, queue, 0, PULLED, queue))
