import type { Ack } from './packets.ts'

/** One packet's place in the row. One of both, once. */
export interface Place {
  answer(ack: Ack): void
  /** Ends the connection: after all before it have been answered, and instead of all behind it. */
  end(how: () => void): void
}

interface Waiting {
  ready: (() => void) | undefined
  last: boolean
}

/**
 * PUBACK, PUBREC and PUBCOMP leave in the order of the packets that they answer [MQTT-4.6.0-2, -3, -4], however the
 * broker's replies come in.
 */
export class Answers {
  readonly #send: (ack: Ack) => void
  readonly #row: Waiting[] = []

  constructor(send: (ack: Ack) => void) {
    this.#send = send
  }

  /** Packets whose answer has not left. */
  get size(): number {
    return this.#row.length
  }

  next(): Place {
    const waiting: Waiting = { ready: undefined, last: false }
    this.#row.push(waiting)
    return {
      answer: (ack) => {
        waiting.ready = () => this.#send(ack)
        this.#leave()
      },
      end: (how) => {
        waiting.ready = how
        waiting.last = true
        this.#leave()
      },
    }
  }

  #leave(): void {
    for (let ready = this.#row[0]?.ready; ready; ready = this.#row[0]?.ready) {
      if (this.#row.shift()!.last) this.#row.length = 0
      ready()
    }
  }
}
