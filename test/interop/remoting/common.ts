import net from 'node:net'
import { encodeFrame, type Frame, FrameDecoder } from '@sluice/remoting'
import type { Agent, Heard, Listening, Sent } from './agent.ts'

/** What a behaviour needs of a client; one that its API does not have is n/a for it. */
export type Feature =
  | 'sync'
  | 'modes'
  | 'compressed'
  | 'tags'
  | 'sql'
  | 'thousand'
  | 'return'
  | 'idle'
  | 'share'
  | 'early'
  | 'delay'
  | 'drain'
  | 'timer'
  | 'ordered'
  | 'retry'
  | 'dead'
  | 'binary'
  | 'litePull'
  | 'pop'
  | 'transaction'
  | 'broadcast'
  | 'request'
  | 'topics'
  | 'stats'
  | 'groups'
  | 'lookup'
  | 'recall'
  | 'probes'

export interface Bench {
  readonly agent: Agent
  readonly port: number
  readonly nameserver: string
  /** Where the broker keeps its log. */
  readonly logDir: string
  readonly full: boolean
  /** It understands GO_AWAY. */
  readonly told: boolean
  /** Another agent of the same client, with options of its own. */
  another(options: readonly string[]): Promise<Agent>
  /** Whoever is to be another consumer of a group: this agent, or one more where a process is one client. */
  mate(): Promise<Agent>
}

export interface Behaviour {
  readonly feature: Feature
  readonly name: string
  /** Only in the full run. */
  readonly long?: true
  run(bench: Bench): Promise<void>
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64')
export const textOf = ({ body }: Heard): string => Buffer.from(body, 'base64').toString()
export const numbered = (count: number, prefix = 'm') =>
  Array.from({ length: count }, (_, n) => ({ body: base64(`${prefix}${n}`) }))

/**
 * How long a client may take to its queues when everything goes wrong once: its first heartbeat is lost (Java lets go the
 * second of two at once) and comes again after 30 s, its look for its queues after 20 s, and an answer took 3 s too long
 * beside others on a machine of two cores.
 */
export const REBALANCED_MS = 75_000

/** Before a pull that waits ends by itself (15 s): whoever hears of a message so soon was told of it. */
export const TOLD_MS = 10_000

export const must = (so: boolean, why: () => string): void => {
  if (!so) throw new Error(why())
}
export const allSent = (results: readonly Sent[]): void => {
  const bad = results.find(({ status }) => status !== 'SEND_OK')
  must(bad === undefined, () => `a send came to ${JSON.stringify(bad)}`)
}
/** Exactly these, each once, in whatever order. */
export const sameTexts = (heard: readonly string[], wanted: readonly string[]): void => {
  const got = [...heard].sort()
  const want = [...wanted].sort()
  const missing = want.filter((one) => !got.includes(one)).slice(0, 10)
  must(
    got.join() === want.join(),
    () =>
      `heard ${got.length}: ${got.slice(0, 20)} instead of ${want.length}: ${want.slice(0, 20)}; missing ${missing}`,
  )
}
export const same = (heard: readonly Heard[], wanted: readonly string[]): void => sameTexts(heard.map(textOf), wanted)

let names = 0
export const fresh = (what: string): string => `${what}-${++names}`

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Whether it became so in time. */
export const until = async (so: () => boolean | Promise<boolean>, ms: number): Promise<boolean> => {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await so()) return true
  return so()
}

/** Each heard all of a round. */
const allHeard = (heard: readonly (readonly Heard[])[]): boolean => heard.every(({ length }) => length >= ROUND)

/** Two for each queue that a topic has. */
const ROUND = 8

/**
 * Sends to all queues of a topic, round after round, until the consumers heard of one round what they should. That they
 * have their queues is nothing that every client tells. The texts begin with `warm`.
 * @returns how many were sent
 */
export const warmUp = async (
  { agent, nameserver }: Bench,
  topic: string,
  consumers: readonly Listening[],
  so: (heard: readonly (readonly Heard[])[]) => boolean = allHeard,
): Promise<number> => {
  const end = Date.now() + REBALANCED_MS
  for (let round = 0; Date.now() < end; round++) {
    const prefix = `warm${round}.`
    allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(ROUND, prefix) }))
    const heard = () => consumers.map((one) => one.heard.filter((message) => textOf(message).startsWith(prefix)))
    if (await until(() => so(heard()), 1_000)) return (round + 1) * ROUND
  }
  throw new Error(`${consumers.length} consumers have not found their queues`)
}

/** A message that is to come after `delay` ms: not before, and not with the next pull only. */
export const late = async (bench: Bench, how: object, delay: number): Promise<void> => {
  const { agent, nameserver, full } = bench
  const topic = fresh('late')
  allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: numbered(1, 'warm') }))
  const consumer = await agent.consume({ nameserver, group: fresh('CG'), topic, from: 'first' })
  await warmUp(bench, topic, [consumer])
  const before = consumer.heard.length
  const sentAt = Date.now()
  allSent(await agent.produce({ nameserver, group: 'PG', topic, messages: [{ body: base64('late'), ...how }] }))
  const inTime = await consumer.has(before + 1, delay + TOLD_MS)
  must(inTime, () => `not heard ${Date.now() - sentAt} ms after it was sent`)
  await consumer.stop()
  const took = (consumer.heard.at(-1)?.at ?? 0) - sentAt
  must(took >= delay - 100 && (!full || took < delay + 3_500), () => `came after ${took} ms`)
}

export const isWarm = (message: Heard): boolean => textOf(message).startsWith('warm')

/** One request on a connection of its own. */
export const ask = (port: number, code: number, ext: Record<string, string>, body?: Buffer): Promise<Frame> =>
  new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    const decoder = new FrameDecoder(1 << 24)
    socket.on('error', reject)
    socket.on('data', (chunk: Buffer) =>
      decoder.decode(chunk, (frame) => {
        socket.destroy()
        resolve(frame)
      }),
    )
    const frame = {
      code,
      language: 'JAVA',
      version: 479,
      opaque: 1,
      flag: 0,
      ext,
      binary: false,
      ...(body && { body }),
    }
    const encoded = encodeFrame(frame)
    for (const part of Buffer.isBuffer(encoded) ? [encoded] : encoded) socket.write(part)
  })
