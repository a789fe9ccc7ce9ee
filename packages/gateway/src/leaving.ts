import type { Log } from '@sluice/core'
import type { DrainController, DrainPlan, Verdict } from '@sluice/drain'

export interface LeavingParts {
  /** Of the configuration. */
  readonly plan: DrainPlan
  readonly drain: DrainController
  readonly log: Log
  /** Closes what is left when every connection is gone. */
  shutDown(): Promise<void>
}

const NOW: DrainPlan = { leavingMs: 0, announceMs: 0, settleMs: 0 }

/** The one way out, whoever asks for it: a signal, the admin port, or the program around. */
export class Leaving {
  readonly #parts: LeavingParts
  readonly #drained = Promise.withResolvers<Verdict>()
  #ended: Promise<Verdict> | undefined

  constructor(parts: LeavingParts) {
    this.#parts = parts
    // Whoever asked hears of a failure; that nobody else listens is no second one.
    this.#drained.promise.catch(() => undefined)
  }

  get drained(): Promise<Verdict> {
    return this.#drained.promise
  }

  /** A second call hurries the first. */
  drain(plan: Partial<DrainPlan> = {}): Promise<Verdict> {
    if (this.#ended) {
      this.#parts.drain.hurry()
      return this.#ended
    }
    this.#ended = this.#end({ ...this.#parts.plan, ...plan })
    this.#drained.resolve(this.#ended)
    return this.#ended
  }

  /** Cuts a drain that is under way short. */
  async close(): Promise<void> {
    const ended = this.#ended ?? this.drain(NOW)
    this.#parts.drain.hurry(0)
    await ended
  }

  async #end(plan: DrainPlan): Promise<Verdict> {
    const { drain, log, shutDown } = this.#parts
    const verdict = await drain.drain(plan)
    await shutDown()
    log.info('drained', verdict)
    return verdict
  }
}
