import type { Ack, Outbound } from './packets.ts'

/** One packet's place in the row. One of the three, once. */
export interface Place {
  answer(ack: Ack): void
  /** As {@link Place.answer}, but leaves only with the next one that does, or {@link Answers.leave}. */
  prepare(ack: Ack): void
  /** Ends the connection: after all before it have been answered, and instead of all behind it. */
  end(how: () => void): void
}

/** Of those to whom nothing has been answered yet. */
const none: Waiting[] = []

/**
 * PUBACK, PUBREC and PUBCOMP leave in the order of the packets that they answer [MQTT-4.6.0-2, -3, -4], however the
 * broker's replies come in. Those that may leave together do.
 */
export class Answers {
  readonly #mouth: { send(packet: Outbound): void }
  #row: Waiting[] = none

  constructor(mouth: { send(packet: Outbound): void }) {
    this.#mouth = mouth
  }

  /** Packets whose answer has not left. */
  get size(): number {
    return this.#row.length
  }

  next(): Place {
    const waiting = new Waiting(this)
    if (this.#row === none) this.#row = []
    this.#row.push(waiting)
    return waiting
  }

  leave(): void {
    const ready = this.#ready()
    if (ready === 0) return
    const leaving = this.#row.splice(0, ready)
    const { how } = leaving.at(-1)!
    const acks: Ack[] = []
    for (const { ack } of leaving) if (ack) acks.push(ack)
    if (acks.length > 0) this.#mouth.send(acks.length === 1 ? acks[0]! : { cmd: 'acks', acks })
    if (!how) return
    this.#row.length = 0
    how()
  }

  /** From the front, up to the first that waits and not beyond the one that ends all. */
  #ready(): number {
    let ready = 0
    for (const { ack, how } of this.#row) {
      if (!ack && !how) break
      ready++
      if (how) break
    }
    return ready
  }
}

class Waiting implements Place {
  readonly #answers: Answers
  ack: Ack | undefined
  how: (() => void) | undefined

  constructor(answers: Answers) {
    this.#answers = answers
  }

  answer(ack: Ack): void {
    this.ack = ack
    this.#answers.leave()
  }

  prepare(ack: Ack): void {
    this.ack = ack
  }

  end(how: () => void): void {
    this.how = how
    this.#answers.leave()
  }
}
