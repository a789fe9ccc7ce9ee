import type { Column } from '@sluice/core'
import type { Received, Sample } from './samples.ts'

/** Where the gateway is, and how to get in. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

export interface Producer {
  /** Resolves when the gateway has confirmed every one, in order. */
  send(samples: readonly Sample[]): Promise<void>
  /** Tries an empty body: true when it was taken, false when the client or the gateway refused it. */
  sendEmpty(): Promise<boolean>
  close(): Promise<void>
}

export interface Consumer {
  /** Every delivery, in order of arrival; settled by the client in its own way. */
  readonly received: readonly Received[]
  /** Resolves when so many have come, or after `ms` with what is there. */
  wait(count: number, ms: number): Promise<void>
  close(): Promise<void>
}

/** An unmodified public client of one protocol. */
export interface MatrixClient {
  readonly name: string
  readonly column: Column
  /** What its producer refuses by itself or is refused. */
  readonly refusesEmpty: boolean
  /** Path below the topic that its producer publishes to, where the protocol has one. */
  readonly path?: string
  /** What its producer says of the body, where its wire has a field for that. */
  readonly contentType?: string
  /** Its consumer looks for a topic that is not there only every 30 seconds. */
  readonly wantsTopicFirst?: true
  /** Whether its API and its wire keep the order of user properties. */
  readonly keepsOrder: boolean
  /** Whether its producer's API says the id and the birth of a message. */
  readonly givesId: boolean
  producer(target: Target, topic: string): Promise<Producer>
  /** Resolves once it would get what is published from now on. */
  consumer(target: Target, topic: string, group: string): Promise<Consumer>
  /** Ends what all its producers and consumers share. */
  close?(): Promise<void>
}

/** Collects deliveries and wakes who waits for them. */
export class Inbox implements Pick<Consumer, 'received' | 'wait'> {
  readonly received: Received[] = []
  #waiting: { count: number; done: () => void }[] = []

  push(received: Received): void {
    this.received.push(received)
    this.#waiting = this.#waiting.filter(({ count, done }) => {
      if (this.received.length < count) return true
      done()
      return false
    })
  }

  wait(count: number, ms: number): Promise<void> {
    if (this.received.length >= count) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#waiting.push({
        count,
        done: () => {
          clearTimeout(timer)
          resolve()
        },
      })
    })
  }
}
