import type { Log as Lines } from '@sluice/core'
import type { OpenFile } from './files.ts'

/** Zeros laid at first, so that a broker with ten messages stays small. Each further step is twice the last. */
const FIRST = 256 * 1024
const STEP_MAX = 8 * 1024 * 1024
/** Written and synced at a time: what a batch waits for at most, and what its own sync may have to carry along. */
const PIECE = 1024 * 1024
/** A piece is this part of a segment at most. */
const PIECES_LEAST = 8

const zeros = Buffer.alloc(PIECE)

export interface AheadOptions {
  /** A handle of its own on the file: the system tells an error of a late write once a handle, and the log's is to hear of it. */
  open(): Promise<OpenFile>
  /** Length of the file. */
  readonly from: number
  /** No zeros are laid beyond: a segment that is full has none. */
  readonly most: number
  /** Bytes of the last step in the file before. */
  readonly step: number
  readonly lines: Lines
}

/**
 * Zeros ahead of the end of the file that is written, durable before bytes take their place: a sync of what makes the
 * file no longer and needs no new blocks is one write to the disk without its journal. Laid in the background, and done
 * without where the disk refuses.
 */
export class Ahead {
  readonly #options: AheadOptions
  readonly #piece: number
  #file: OpenFile | undefined
  #laying: Promise<void> | undefined
  /** What is being laid ends with its piece. */
  #isStopping = false
  /** The disk has refused, or the file is done with. */
  #isOff = false
  /** Bytes of the last step. */
  step: number
  /** The file has bytes below it. Nothing of what is being laid lies there. */
  laid: number

  constructor(options: AheadOptions) {
    this.#options = options
    this.#piece = Math.min(PIECE, Math.ceil(options.most / PIECES_LEAST))
    this.step = options.step
    this.laid = options.from
  }

  /** Before bytes are written that end at `to`. A promise: zeros are being laid in their place, which ends first. */
  room(to: number): Promise<void> | undefined {
    if (to <= this.laid || !this.#laying) return
    return this.#stop()
  }

  /** The file was written up to here; more zeros are laid where little of the last step is left. */
  wrote(to: number): void {
    if (to > this.laid) this.laid = to
    if (this.#laying || this.#isOff) return
    if (this.laid >= this.#options.most || this.laid - to > this.step / 2) return
    this.#laying = this.#lay()
  }

  /** Nothing is laid from here. */
  async end(): Promise<void> {
    this.#isOff = true
    await this.#stop()
    await this.#file?.close()
    this.#file = undefined
  }

  async #stop(): Promise<void> {
    this.#isStopping = true
    await this.#laying
    this.#isStopping = false
  }

  async #lay(): Promise<void> {
    try {
      const file = (this.#file ??= await this.#options.open())
      this.step = Math.min(STEP_MAX, Math.max(FIRST, this.step * 2))
      const until = Math.min(this.#options.most, this.laid + this.step)
      while (this.laid < until && !this.#isStopping) {
        const bytes = Math.min(this.#piece, until - this.laid)
        await file.write([zeros.subarray(0, bytes)], this.laid)
        this.laid += bytes
        await file.sync()
      }
    } catch (error) {
      this.#isOff = true
      this.#options.lines.warn('log.ahead', { error: String(error) })
    } finally {
      this.#laying = undefined
    }
  }
}
