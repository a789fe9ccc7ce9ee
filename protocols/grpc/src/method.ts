import type { Connection, EpochMs, Peer } from '@sluice/core'
import type { Wire } from './clients.ts'
import type { Exchange } from './exchange.ts'
import type { Gate } from './gate.ts'
import type { Fields } from './http2/hpack.ts'
import type { Owed } from './owed.ts'

/** Statuses of gRPC itself, for what is no request of the service at all. */
export const grpcStatus = {
  OK: 0,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
} as const

/** How its stream ended: whether everything that was said has left for a peer that still wanted it. */
export type Ending = 'whole' | 'broken'

/** One method of a service. */
export interface Method {
  /** As long as its client: telemetry, a health watch. Never work. */
  readonly lasting: boolean
  /** Served when its stream opens, and then reads messages; the others are served with their one whole request. */
  readonly reads: boolean
  /** @throws anything that is no message */
  decode(bytes: Buffer): object
  /** Valid until the next one is made. */
  encode(message: object): Buffer
  serve(exchange: Exchange, request: object): void
}

/** What is served, by path; there is an answer for every path. */
export type Methods = (path: string) => Method

/** The stream of HTTP/2 that a call came on. */
export interface Channel {
  /** Headers of the answer. */
  respond(): void
  /** A message, which is copied. `written`: it has left under the peer's flow control. */
  write(message: Buffer, written?: () => void): void
  /** Headers, a message, which is copied, and the end with OK. */
  reply(message: Buffer): void
  /** Ends our half with a status; without headers before it, it is all there is. */
  finish(status: number, text: string): void
  /** CANCEL. */
  reset(): void
  /** Told when the peer gives the stream up although all was said on it: it had not seen the end. */
  recalled?(undo: () => void): void
  /** Whether the peer may go on sending. */
  flow(open: boolean): void
}

/** The connection of a call. */
export interface Place extends Wire, Pick<Connection, 'state'> {
  readonly peer: Peer
  /** Calls that are worked on: `limits.inflight`. */
  readonly gate: Gate
  /** A call of it started or stopped being work. */
  worked(change: 1 | -1): void
  /** Bytes of a request that is not worked on yet came, or are not held any more. */
  held(change: number, exchange: Exchange): void
  /** Messages on their way to it. */
  readonly owed: Owed
  /** Resolves when the peer's system has what was said. False: its connection is gone instead. */
  taken(): Promise<boolean>
  /** What went wrong is ours to mend. */
  report(error: unknown): void
}

export interface Opening {
  readonly method: Method
  readonly fields: Fields
  readonly channel: Channel
  readonly place: Place
  readonly now: EpochMs
  /** Bytes of one message. */
  readonly max: number
}
