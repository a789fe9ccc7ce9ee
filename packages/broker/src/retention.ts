import type { Ms } from '@sluice/core'
import { viewRecord } from '@sluice/remoting'
import type { Checkpoints } from './checkpoints.ts'
import type { Core } from './core.ts'
import type { Prelude } from './events.ts'
import { again, appendBeside } from './publish.ts'
import type { Pointed } from './state.ts'
import { trim } from './trim.ts'

export interface Retain {
  readonly ms: Ms
  readonly bytes: number
}

export const defaultRetain: Retain = { ms: 72 * 3_600_000, bytes: Number.POSITIVE_INFINITY }
const LOOK_MS = 60_000
/** Records copied at a time. */
const COPY = 256

/**
 * Deletes whole segments, oldest first, when their newest record is too old or the log too large. Queues then begin
 * later; retained messages and messages that wait for their time are written again before.
 */
export class Retention {
  readonly #core: Core
  readonly #checkpoints: Checkpoints
  readonly #retain: Retain
  readonly #stop: () => void
  #running: Promise<void> | undefined
  #closed = false

  constructor(core: Core, checkpoints: Checkpoints, retain: Retain) {
    this.#core = core
    this.#checkpoints = checkpoints
    this.#retain = retain
    this.#stop = core.clock.every(LOOK_MS, () => void this.run())
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stop()
    await this.#running
  }

  /** One look; a second call while one is under way waits for it. */
  run(): Promise<void> {
    return (this.#running ??= this.#look()
      .catch((error) => {
        if (!this.#core.log.fault) this.#core.lines.error('retention', { error: String(error) })
      })
      .finally(() => {
        this.#running = undefined
      }))
  }

  #isOver(): boolean {
    const { segments, log, clock } = this.#core
    const [first, second] = segments.list
    if (!first || !second || this.#closed || log.fault) return false
    return first.newest + this.#retain.ms < clock.now() || log.end - first.start > this.#retain.bytes
  }

  async #look(): Promise<void> {
    const { segments, lines } = this.#core
    await trim(this.#core)
    while (this.#isOver()) {
      const [first, second] = segments.list
      const { start } = second!
      await this.#copyForward(start)
      if (!(await this.#isSafe(start))) return
      lines.info('segment.deleted', { start: first!.start, bytes: start - first!.start })
      this.#core.state.forget(start)
      await segments.removeFirst()
      await this.#checkpoints.removeBeside(first!.start)
    }
  }

  /** Two snapshots must not need what goes, so that one of them may be damaged. */
  async #isSafe(start: number): Promise<boolean> {
    const { log, state } = this.#core
    const { positions } = this.#checkpoints
    for (let tries = 2; tries > 0 && !(positions.length > 1 && positions[0]! >= start); tries--) {
      // Another position, so that the second is another file than the first.
      if (positions.at(-1) === log.end) log.mark()
      const checkpoint = await this.#checkpoints.takeSnapshot(state, log)
      await log.syncedTo(checkpoint.until)
      await this.#checkpoints.saveSnapshot(checkpoint)
    }
    return positions.length > 1 && positions[0]! >= start
  }

  /** What must not go with its segment, written again at the end. */
  async #copyForward(start: number): Promise<void> {
    const { state } = this.#core
    const retained = [...state.retained].filter(({ place }) => place < start)
    for (let at = 0; at < retained.length; at += COPY)
      await this.#copy(retained.slice(at, at + COPY), ({ place }) => ({ copy: place }))
    const delayed = [...state.delayed.values()].filter(({ place }) => place < start)
    for (let at = 0; at < delayed.length; at += COPY)
      await this.#copy(delayed.slice(at, at + COPY), ({ key, at: deliverAt, queue }) => ({
        copy: key,
        deliverAt,
        ...(queue >= 0 && { queue }),
      }))
    const halves = [...state.halves.all()].filter(({ place }) => place < start)
    for (let at = 0; at < halves.length; at += COPY)
      await this.#copy(halves.slice(at, at + COPY), ({ key, group, queue, publisher }) => ({
        copy: key,
        half: { group, checkAfter: 0 },
        ...(queue >= 0 && { queue }),
        ...(publisher !== undefined && { publisher }),
      }))
    await this.#core.log.done()
  }

  async #copy<T extends Pointed>(pointers: readonly T[], prelude: (pointer: T) => Prelude): Promise<void> {
    const core = this.#core
    const found = core.read(pointers)
    const records = Array.isArray(found) ? found : await found
    pointers.forEach((pointer, at) => {
      const record = records[at]
      if (!record) return
      const message = viewRecord(record, core.settings.node)
      const special = prelude(pointer)
      const { reconsumeTimes } = message
      const { stored, size } = appendBeside(core, message.queue, again(message, message.packed), special, {
        reconsumeTimes,
      })
      core.state.moved(special, stored.place, size, message)
    })
  }
}
