import { type Broker, type FileLayer, openBroker } from '@sluice/broker'
import type { Clock, Context, EpochMs, Log, Ms } from '@sluice/core'
import { contextOf, fakeClock, sessionOf } from '@sluice/testkit'
import type { Settings } from './site.ts'

/** Time that passes as it is told, and can leap: then periodic work is done once and not once a period. */
export class LeapClock implements Clock {
  readonly #clock
  #leapt = 0

  constructor(start?: EpochMs) {
    this.#clock = fakeClock(start)
  }

  now(): EpochMs {
    return this.#clock.now() + this.#leapt
  }
  after(delay: Ms, run: () => void): () => void {
    return this.#clock.after(delay, run)
  }
  every(period: Ms, run: () => void): () => void {
    return this.#clock.every(period, run)
  }
  pass(ms: Ms): Promise<void> {
    return this.#clock.pass(ms)
  }
  leap(ms: Ms): void {
    this.#leapt += ms
  }
}

interface Parts {
  readonly dir: string
  readonly files: FileLayer
  readonly clock: Clock
  readonly log: Log
}

/** In this process. Small segments and a small cache: all that a large log does, a small one does too. */
export const openHere = ({ flush, segmentBytes, retainBytes }: Settings, parts: Parts): Promise<Broker> =>
  openBroker({
    ...parts,
    flush,
    segmentBytes,
    cacheBytes: 64 * 1024,
    retain: { bytes: retainBytes, ms: Number.POSITIVE_INFINITY },
    defaultQueues: 2,
    // Time is not real here, and a seed is to do the same each time.
    rests: { now: () => 0, pause: () => new Promise((resolve) => setImmediate(resolve)) },
  })

/** Of every command. */
export const context: Context = contextOf(sessionOf('chaos/1', 'chaos'))
