import type { Log } from './log.ts'

/** Bytes of a share, unless one record is longer: to check, copy and answer them takes a quarter of a millisecond. */
export const SHARE = 64 * 1024
/** While others write, for this many times as long as a share took nothing is read. */
export const YIELD = 5
/** Shortest rest, ms: what timers tell apart. What is shorter is added up, with a turn of the loop meanwhile. */
export const REST_MIN = 2
/** Longest rest, ms: a disk that stalls does not stop the reader for twice as long again. */
export const REST_MAX = 50
/** Longest wait for what is on its way to the disk, ms: one that is slow and always busy does not stop the reader. */
export const QUIET_MAX = 2
/** Who wrote within so many ms, writes. */
export const LATELY = 1_000

export interface Rests {
  /** Monotonic, ms. */
  now(): number
  /** Longer than `ms`, or with 0 until the next turn of the loop. */
  pause(ms: number): Promise<void>
}

/** A share takes a part of a millisecond, which no clock of ours tells. */
export const realRests: Rests = {
  now: () => performance.now(),
  pause: (ms) => new Promise((resolve) => void (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve))),
}

/** What those who write have written. */
export type Written = Pick<Log, 'end' | 'synced' | 'done'>

const ignore = () => undefined

/**
 * How fast those may go who are behind, so that those who are not do not feel them. Nobody writes: as fast as they can, with
 * a turn of the loop after each share. Somebody does: a sixth of the time is theirs. It is the time that passed until they
 * had what they asked for, so that they give way to all that keeps the loop, the core or the disk busy, whatever it is.
 * What is on its way to the disk goes first: a read would stand before it there, and a loop that is busy with a share keeps
 * the core from the thread that waits for its sync.
 */
export class Pace {
  readonly #log: Written
  readonly #rests: Rests
  #wrote: number
  #wroteAt = Number.NEGATIVE_INFINITY
  /** Of the share that is being read. */
  #bytes = 0
  /** Of the time that the share takes. */
  #waited = 0
  /** When all that was read has had its rest. */
  #restedAt = 0

  constructor(log: Written, rests: Rests) {
    this.#log = log
    this.#rests = rests
    this.#wrote = log.end
  }

  /** Runs `read` of about so many bytes when its time has come. One at a time. */
  async run(bytes: number, read: () => Promise<void>): Promise<void> {
    if (this.#bytes > 0 && this.#bytes + bytes > SHARE) await this.#rest()
    await this.quiet()
    const began = this.#rests.now()
    this.#waited = 0
    try {
      await read()
    } finally {
      const now = this.#rests.now()
      this.#bytes += bytes
      const rested = Math.max(this.#restedAt, began) + (now - began - this.#waited) * (1 + YIELD)
      this.#restedAt = Math.min(rested, now + REST_MAX)
    }
  }

  /** Resolves when nothing is on its way to the disk, or after {@link QUIET_MAX}. It is not the reader's time. */
  async quiet(): Promise<void> {
    if (this.#log.synced === this.#log.end) return
    const began = this.#rests.now()
    await Promise.race([this.#log.done().catch(ignore), this.#rests.pause(QUIET_MAX)])
    this.#waited += this.#rests.now() - began
  }

  async #rest(): Promise<void> {
    this.#bytes = 0
    const left = this.#restedAt - this.#rests.now()
    await this.#rests.pause(this.#isWritten() && left >= REST_MIN ? Math.ceil(left) : 0)
  }

  #isWritten(): boolean {
    const now = this.#rests.now()
    const written = this.#log.end
    if (written !== this.#wrote) this.#wroteAt = now
    this.#wrote = written
    return now - this.#wroteAt < LATELY
  }
}
