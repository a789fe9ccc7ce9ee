import type { CommandOf, Context, Replies } from '@sluice/core'
import { emptyBatch } from './batch.ts'
import type { Core } from './core.ts'
import { Poll } from './park.ts'

/** Messages of one pop. */
export const POP_MAX = 1024

type Reply = Replies['pop']
/** Undefined: there is nothing. */
export type Look = Reply | undefined
/** Resolves the promise of a pop: with what it answers, or with a rejection. */
export type Answer = (reply: Reply | Promise<never>) => void
export const nothing: Reply = { batch: emptyBatch, more: false }
const resolved = Promise.resolve()

/**
 * A pop that looks until there is something. While it waits there are this object, the promise of its answer and what
 * resolves that, and nothing that is suspended.
 */
export abstract class Pop extends Poll {
  readonly #answer: Answer

  constructor(core: Core, command: CommandOf<'pop'>, context: Context, answer: Answer) {
    super(core, Math.min(core.clock.now() + command.wait, context.deadline), context.signal)
    this.#answer = answer
  }

  /** What is there now. @throws Fault that ends the pop */
  protected abstract look(wasWoken: boolean): Look | Promise<Look>

  /** Whether a look would find something although the last one did not, or not all of it. */
  protected get isThereMore(): boolean {
    return false
  }

  /** Looks, and waits when there is nothing. */
  async run(wasWoken = false): Promise<void> {
    try {
      while (!this.signal?.aborted) {
        const found = this.look(wasWoken)
        const reply = found instanceof Promise ? await found : found
        if (reply) return this.#answer(reply)
        if (this.core.clock.now() >= this.until || this.signal?.aborted) break
        if (!this.isThereMore || this.core.parking.isClosed) return this.park()
        await new Promise((resolve) => setImmediate(resolve))
      }
      this.#answer(nothing)
    } catch (error) {
      this.#answer(Promise.reject(error))
    }
  }

  protected ended(isWoken: boolean): void {
    if (!isWoken) return this.#answer(nothing)
    // Not before everything that became visible together is.
    void resolved.then(() => this.run(true))
  }
}
