import { type EpochMs, Fault, type Ms } from '@sluice/core'
import type { Frame } from '@sluice/remoting'

/** Requests of ours that wait for their client's answer, a connection. */
export const INQUIRIES_MAX = 256
/** How long its answer is waited for. A thread dump takes its time. */
const PATIENCE: Ms = 10_000

interface Asked {
  readonly until: EpochMs
  readonly resolve: (frame: Frame) => void
  readonly reject: (fault: Fault) => void
}

/** What a client is asked over its connection, by opaque. */
export class Inquiries {
  readonly #now: () => EpochMs
  readonly #asked = new Map<number, Asked>()
  #opaque = 0

  constructor(now: () => EpochMs) {
    this.#now = now
  }

  get size(): number {
    return this.#asked.size
  }

  /** The number of a request that wants no answer. */
  next(): number {
    this.#opaque = (this.#opaque + 1) & 0x7fff_ffff
    return this.#opaque
  }

  /** @param send is given the number. @returns the answer. @throws Fault 'limit', 'unavailable' */
  ask(send: (opaque: number) => void): Promise<Frame> {
    if (this.#asked.size >= INQUIRIES_MAX) throw new Fault('limit', `over ${INQUIRIES_MAX} questions wait for a client`)
    const opaque = this.next()
    return new Promise((resolve, reject) => {
      this.#asked.set(opaque, { until: this.#now() + PATIENCE, resolve, reject })
      send(opaque)
    })
  }

  /** An answer; one that nobody waits for any more is dropped. */
  answered(frame: Frame): void {
    this.#asked.get(frame.opaque)?.resolve(frame)
    this.#asked.delete(frame.opaque)
  }

  tick(now: EpochMs): void {
    for (const [opaque, { until, reject }] of this.#asked) {
      if (now < until) continue
      this.#asked.delete(opaque)
      reject(new Fault('outcomeUnknown', 'the client did not answer'))
    }
  }

  close(): void {
    for (const { reject } of this.#asked.values()) reject(new Fault('unavailable', 'the client is gone'))
    this.#asked.clear()
  }
}
