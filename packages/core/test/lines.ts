import { type Duplex, duplexPair } from 'node:stream'
import { type FakeClock, fakeClock, turns } from '@sluice/testkit'
import {
  type Codec,
  type Connection,
  type Conversation,
  defaultLimits,
  Fault,
  type FrameProtocol,
  frameProtocol,
  type Gateway,
  type Limits,
  type Link,
  type Peer,
  type ProtocolServer,
} from '../src/index.ts'

/** The smallest protocol there is: a frame is a line. A line that begins with `!` breaks it. */
export const lines = (limits: Limits): Codec<string> => ({
  decoder() {
    let rest = ''
    return {
      decode(chunk, emit) {
        const all = (rest + chunk.toString('latin1')).split('\n')
        rest = all.pop() as string
        for (const line of all) {
          if (line.startsWith('!')) throw new Fault('malformed', 'a line that begins with !')
          emit(line)
        }
        if (rest.length > limits.frameBytes) throw new Fault('tooLarge', 'line too long')
      },
      get buffered() {
        return rest.length
      },
    }
  },
  encode: (frame) => Buffer.from(`${frame}\n`, 'latin1'),
})

export type Talk = Conversation<string> & { readonly link: Link<string> }
export type Script = { [Name in keyof Conversation<string>]?: Conversation<string>[Name] } & {
  spec?: Partial<FrameProtocol<string>>
  converse?(link: Link<string>): void
}

export const peer: Peer = {
  address: '192.0.2.1',
  port: 4711,
  secure: false,
  local: { address: '192.0.2.2', port: 1883 },
}

/** A frame for each number. */
export const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `${from + index}\n`).join('')

export interface Logged {
  readonly level: string
  readonly event: string
  readonly fields: Record<string, unknown>
}

export interface Stage {
  readonly server: ProtocolServer
  readonly clock: FakeClock
  readonly limits: { -readonly [Name in keyof Limits]: Limits[Name] }
  readonly logs: Logged[]
  readonly talks: Talk[]
  /** How often `closed` of any conversation was called. */
  closed: number
  events(event: string): Logged[]
  connect(): Duplex
  connection(): Connection
}

/** A server of the lines protocol whose conversations do what `script` says, without ports. */
export const stage = async (script: Script = {}, limits: Partial<Limits> = {}): Promise<Stage> => {
  const clock = fakeClock()
  const logs: Logged[] = []
  const log =
    (level: string) =>
    (event: string, fields: object = {}) =>
      void logs.push({ level, event, fields: fields as Record<string, unknown> })
  const bounds = { ...defaultLimits, ...limits }
  // Frames need no more of a gateway than this.
  const gateway = {
    clock,
    limits: bounds,
    log: { info: log('info'), warn: log('warn'), error: log('error') },
  } as unknown as Gateway
  const talks: Talk[] = []
  const { spec, converse, ...parts } = script
  const protocol = frameProtocol<string>({
    name: 'lines',
    codec: lines,
    converse(link) {
      const talk: Talk = {
        link,
        receive: (frame) => void link.send(frame),
        refuse: (fault) => `refused ${fault.code}`,
        goAway: () => void link.send('go away'),
        farewell: () => 'farewell',
        unsettled: 0,
        ...parts,
        closed() {
          it.closed++
          return parts.closed?.()
        },
      }
      talks.push(talk)
      converse?.(link)
      return talk
    },
    ...spec,
  })
  const it: Stage = {
    server: await protocol.start(gateway),
    clock,
    limits: bounds,
    logs,
    talks,
    closed: 0,
    events: (event) => logs.filter((line) => line.event === event),
    connect() {
      const [client, socket] = duplexPair()
      client.on('error', () => undefined)
      it.server.accept(socket, peer)
      return client
    },
    connection: () => [...it.server.connections()][0]!,
  }
  return it
}

/** Everything that came until the stream ended or was cut. */
export const rest = (stream: Duplex): Promise<string> =>
  new Promise((resolve) => {
    let all = ''
    stream.on('data', (chunk: Buffer) => {
      all += chunk.toString('latin1')
    })
    stream.on('end', () => resolve(all)).on('close', () => resolve(all))
  })

/** What is there now. */
export const taken = async (stream: Duplex): Promise<string> => {
  await turns()
  let all = ''
  for (let chunk: Buffer | null = stream.read(); chunk !== null; chunk = stream.read()) {
    all += chunk.toString('latin1')
    await turns(2)
  }
  return all
}

export interface Gate {
  readonly promise: Promise<void>
  open(): void
  fail(error: unknown): void
}

export const gate = (): Gate => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  return { promise, open: resolve, fail: reject }
}
