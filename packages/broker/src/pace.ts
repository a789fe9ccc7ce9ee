/** Bytes of a share, unless one record is longer: to check, copy and answer them takes less than a millisecond. */
export const SHARE = 256 * 1024
/** While others write, of this many times as long as a share took nothing is read. */
export const YIELD = 3
/** Longest rest, ms: a disk that stalls does not stop the reader for thrice as long. */
export const REST_MAX = 50
/** Who wrote within so many ms, writes. */
export const LATELY = 1_000

export interface Rests {
  /** Monotonic, ms. */
  now(): number
  /** Longer than `ms`, or with 0 until the next turn of the loop. */
  pause(ms: number): Promise<void>
}

/** A share takes less than a millisecond, which no clock of ours tells. */
export const realRests: Rests = {
  now: () => performance.now(),
  pause: (ms) => new Promise((resolve) => void (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve))),
}

/**
 * How fast those may go who are behind, so that those who are not do not feel them. Nobody writes: as fast as they can, with
 * a turn of the loop after each share. Somebody does: a quarter of the time is theirs. It is the time that passed until they
 * had what they asked for, so that they give way to all that keeps the loop, the core or the disk busy, whatever it is.
 */
export class Pace {
  readonly #written: () => number
  readonly #rests: Rests
  #wrote: number
  #wroteAt = Number.NEGATIVE_INFINITY
  /** Of the share that is being read. */
  #bytes = 0
  #took = 0
  /** No share begins before. */
  #freeAt = 0

  /** @param written moves whenever something is written */
  constructor(written: () => number, rests: Rests) {
    this.#written = written
    this.#rests = rests
    this.#wrote = written()
  }

  /** Runs `read` of about so many bytes when its time has come. One at a time. */
  async run(bytes: number, read: () => Promise<void>): Promise<void> {
    if (this.#bytes > 0 && this.#bytes + bytes > SHARE) await this.#rest()
    const began = this.#rests.now()
    try {
      await read()
    } finally {
      const now = this.#rests.now()
      this.#bytes += bytes
      this.#took += now - began
      this.#freeAt = now + Math.min(this.#took * YIELD, REST_MAX)
    }
  }

  async #rest(): Promise<void> {
    this.#bytes = this.#took = 0
    const left = this.#freeAt - this.#rests.now()
    await this.#rests.pause(this.#isWritten() ? Math.max(0, Math.ceil(left)) : 0)
  }

  #isWritten(): boolean {
    const now = this.#rests.now()
    const written = this.#written()
    if (written !== this.#wrote) this.#wroteAt = now
    this.#wrote = written
    return now - this.#wroteAt < LATELY
  }
}
