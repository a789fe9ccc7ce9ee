import { type Clock, type EpochMs, Fault, type Ms } from '@sluice/core'

/** How long a publish over quota waits for its answer before it is refused. */
export const QUOTA_WAIT: Ms = 5_000

/** And it is said when it may be tried again. */
export const isOver = (error: unknown): error is Fault =>
  Fault.is(error) && error.code === 'throttled' && error.retryAfter !== undefined

/** Over quota the answer of a publish waits, and with it the client's window; those behind it wait too, as order demands. */
export class Quota {
  readonly #clock: Clock
  readonly #connection: { pause(ms: Ms): Promise<boolean> }
  /** Of the last one that waits. */
  held: Promise<unknown> | undefined

  /** `pause`: resolves with false at the end of the connection. */
  constructor(clock: Clock, connection: { pause(ms: Ms): Promise<boolean> }) {
    this.#clock = clock
    this.#connection = connection
  }

  /** Resolves when nobody waits any more. */
  async turn(): Promise<void> {
    while (this.held) await this.held
  }

  /** @throws what the work throws; Fault 'throttled' once the wait is too long */
  async within(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!isOver(error)) throw error
      await this.#hold(work, error)
    }
  }

  /**
   * What was over quota as a whole, piece by piece and in order: the first after the wait that was asked for.
   * @returns each one's end, as {@link Quota.within}
   */
  apart(works: readonly (() => Promise<void>)[], error: Fault): readonly Promise<void>[] {
    return works.map((work, at) => this.#hold(work, at === 0 ? error : undefined))
  }

  /** `error`: of the try before; undefined: it has had none. */
  async #hold(work: () => Promise<void>, error: Fault | undefined): Promise<void> {
    const until = this.#clock.now() + QUOTA_WAIT
    const before = this.held
    const insisting = before ? before.then(() => this.#insist(work, error, until)) : this.#insist(work, error, until)
    const held = insisting.catch(() => undefined)
    this.held = held
    await insisting.finally(() => {
      if (this.held === held) this.held = undefined
    })
  }

  async #insist(work: () => Promise<void>, error: Fault | undefined, until: EpochMs): Promise<void> {
    for (let fault = error; ; ) {
      if (fault) {
        const wait = fault.retryAfter!
        if (this.#clock.now() + wait > until || !(await this.#connection.pause(wait))) throw fault
      }
      try {
        return await work()
      } catch (again) {
        if (!isOver(again)) throw again
        fault = again
      }
    }
  }
}
