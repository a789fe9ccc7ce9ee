import type { EpochMs } from '@sluice/core'
import type { Core } from './core.ts'

/** Does something when the first of what waits is due, one run after the other. */
export class Alarm {
  readonly #core: Core
  readonly #name: string
  readonly #due: () => EpochMs | undefined
  readonly #run: () => Promise<void>
  #cancel: (() => void) | undefined
  #at = Number.POSITIVE_INFINITY
  #running: Promise<void> | undefined
  isClosed = false

  /**
   * @param name of the log line of a run that fails
   * @param due when the first is due; undefined: nothing waits
   * @param run leaves nothing that is due, or what is to be looked at in another run
   */
  constructor(core: Core, name: string, due: () => EpochMs | undefined, run: () => Promise<void>) {
    this.#core = core
    this.#name = name
    this.#due = due
    this.#run = run
  }

  /** To be called when something was added that waits, and once after recovery. */
  schedule(): void {
    const due = this.#due()
    if (due === undefined || this.isClosed || this.#running || due >= this.#at) return
    this.#cancel?.()
    this.#at = due
    this.#cancel = this.#core.wheel.at(due, () => {
      this.#at = Number.POSITIVE_INFINITY
      this.#running = this.#run()
        .catch((error) => this.#core.lines.error(this.#name, { error: String(error) }))
        .finally(() => {
          this.#running = undefined
          if (!this.#core.log.fault) this.schedule()
        })
    })
  }

  /** When the run that is under way has ended. */
  async close(): Promise<void> {
    this.isClosed = true
    this.#cancel?.()
    await this.#running
  }
}
