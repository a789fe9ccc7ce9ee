import type { Clock, Ms, Protocol } from '@sluice/core'
import type { FakeGatewayOptions } from '../gateway.ts'
import type { Wire } from '../wire.ts'

/**
 * What a protocol may lack:
 *   refusal: a word for a publish that failed; without one the client sees no acknowledgement
 *   retry, dead: the two outcomes beside accept
 *   credit: the server pushes, and never more than was asked for
 *   push: the server sends without being asked each time; without it the reader that does not read cannot be tried
 *   told: a word for "go away, I still serve"
 *   held: deliveries that stay with their connection and come back when it ends
 *   pipelining: several publishes of one connection at once
 */
export type Feature = 'refusal' | 'retry' | 'dead' | 'credit' | 'push' | 'told' | 'held' | 'pipelining'

/** A minimal client of one protocol, for the contract suite. */
export interface Driver {
  readonly name: string
  /** A new one each time. */
  protocol(): Protocol
  /** Greets the server over this byte stream; resolves when the connection can be used. */
  greet(wire: Wire): Promise<Client>
  /** First bytes after which no server of this protocol can go on. */
  readonly garbage: Buffer
  /** The beginning of a request larger than `frameBytes`, as far as a server must read to know that. */
  oversize(frameBytes: number): Buffer
  /** What is not there, and why. Each is tried nevertheless: what works must not be declared missing. */
  readonly declared?: Readonly<Partial<Record<Feature, string>>>
  /** A topic name that the protocol can say. Default `orders`. */
  readonly topic?: string
  /** `systemClock` where a library has timers of its own. Default: the fake one. */
  readonly clock?: Clock
  /** How long the protocol may take in real time until everything it can do is done. Default 0: some turns of the event loop. */
  readonly settleMs?: Ms
  /** Further options of the gateway. */
  readonly gateway?: FakeGatewayOptions<Clock>
}

/** A delivery as a driver sees it; `handle` is the driver's own. */
export interface Incoming {
  readonly body: Buffer
  readonly handle: unknown
}

export interface Client {
  /** Resolves when the server has acknowledged it. @throws Refusal */
  publish(topic: string, body: Buffer): Promise<void>
  /** Takes part in the group, at most `credit` deliveries without a settlement. @throws Refusal */
  subscribe(topic: string, group: string, credit: number): Promise<void>
  /** The next delivery. */
  next(): Promise<Incoming>
  /** Deliveries that came and were not taken with `next`. */
  readonly waiting: number
  /** Resolves when the server has taken the word. @throws Refusal, NotSupported */
  settle(incoming: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void>
  /** The server has asked to go away. */
  readonly told: boolean
  /** Says goodbye as a polite client does. */
  close(): void
}

/** The server said no. */
export class Refusal extends Error {
  constructor(word: string) {
    super(`refused: ${word}`)
    this.name = 'Refusal'
  }
}

/** The protocol or its driver cannot do that. */
export class NotSupported extends Error {
  constructor(what: string) {
    super(`not supported: ${what}`)
    this.name = 'NotSupported'
  }
}
