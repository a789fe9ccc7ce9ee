import net from 'node:net'
import { encodeFrame, type Frame, FrameDecoder } from '@sluice/remoting'
import type { Agent, Heard, Sent } from './agent.ts'

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
  /** It ignores what the broker says of its group, and looks every ten seconds. */
  readonly looksItself: boolean
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
 * Clients look for their queues when they start, when the broker tells them, and every 20 s. What they miss at the start
 * (Java: two heartbeats at once) they find then.
 */
export const REBALANCED_MS = 30_000

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
