import type { Log as Lines } from '@sluice/core'
import type { Log } from './log.ts'
import type { Segment, Segments } from './segments.ts'

/** Bytes read at a time; what is longer is put together. */
export const WINDOW = 1024 * 1024
/** Who goes on within so many bytes of where the last one ended, goes on. */
const NEAR = 64 * 1024
/** Asked of the disk at a time: what is written stands behind one of them. */
export const PIECE = 128 * 1024
/** No disk wants direct reads to begin and to end at more than this. */
export const ALIGN = 4096

const PAGE = 64 * 1024
const nothing = Buffer.alloc(0)

export interface WindowParts {
  readonly log: Pick<Log, 'end'>
  readonly segments: Segments
  readonly lines: Lines
  /** Newest bytes of the log that the system has in its memory still, if this process wrote them. */
  readonly recentBytes: number
}

/**
 * What was read last of the files, in memory of its own. What the system has not in its memory is read past it, in small
 * pieces: the system would read ahead as much as the disk is set to, often megabytes, each of which a sync stands behind. What
 * this process wrote lately comes from the system's memory, and so does all where reading past it is refused.
 */
export class Window {
  readonly #parts: WindowParts
  /** Below it another process wrote. */
  readonly #began: number
  /** Begins where a page does. */
  #memory: Buffer | undefined
  #window: Buffer = nothing
  /** Position of the first byte of the window. */
  #from = 0
  #isRefused = false

  constructor(parts: WindowParts) {
    this.#parts = parts
    this.#began = parts.log.end
  }

  /** Fewer at the end of the segment, none where they cannot be read. Good until the next call. */
  async bytes(start: number, length: number): Promise<Buffer> {
    if (length > WINDOW) return this.#long(start, length)
    let at = start - this.#from
    if (at < 0 || at + length > this.#window.length) {
      // The rest of the window is read for who goes on still.
      const goesOn = at >= 0 && at <= this.#window.length + NEAR
      await this.#fill(start, goesOn ? WINDOW : length)
      at = start - this.#from
    }
    return this.#window.subarray(at, at + length)
  }

  async #long(start: number, length: number): Promise<Buffer> {
    const whole = Buffer.allocUnsafeSlow(length)
    for (let have = 0; have < length; ) {
      const part = await this.bytes(start + have, Math.min(WINDOW, length - have))
      if (part.length === 0) return whole.subarray(0, have)
      have += part.copy(whole, have)
    }
    return whole
  }

  async #fill(start: number, length: number): Promise<void> {
    const { segments, lines } = this.#parts
    this.#window = nothing
    this.#from = start
    const segment = segments.at(start)
    if (!segment) return
    this.#memory ??= pages(WINDOW + ALIGN)
    try {
      if (!this.#isRecent(start) && (await this.#fillDirectly(segment, start, length))) return
      this.#window = await segments.read(start, length, this.#memory)
    } catch (error) {
      lines.error('log.read', { position: start, error: String(error) })
    }
  }

  #isRecent(start: number): boolean {
    const { log, recentBytes } = this.#parts
    return start >= this.#began && start >= log.end - recentBytes
  }

  /** False where it is refused or not all came: then the system's memory is asked, and its errors count. */
  async #fillDirectly(segment: Segment, start: number, length: number): Promise<boolean> {
    if (this.#isRefused) return false
    const { segments, lines } = this.#parts
    const from = align(start - segment.start)
    const to = Math.min(start + length, segment.end) - segment.start
    try {
      const file = await segments.direct(segment.start)
      let have = 0
      for (let more = PIECE; more === PIECE && from + have < to; have += more) {
        const wanted = Math.min(PIECE, align(to - from - have + ALIGN - 1))
        more = (await file.read(from + have, wanted, this.#memory!.subarray(have))).length
      }
      if (from + have < to) return false
      this.#window = this.#memory!.subarray(0, to - from)
      this.#from = segment.start + from
      return true
    } catch (error) {
      // A segment that was deleted meanwhile says nothing about the others.
      this.#isRefused = segments.at(start) === segment
      if (this.#isRefused) lines.info('log.direct', { error: String(error) })
      return false
    }
  }
}

/** Down to where a direct read may begin. */
const align = (at: number): number => at - (at % ALIGN)

/** The compiler's libraries have it for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (descriptor: { initial: number }) => { readonly buffer: ArrayBuffer }
}

/** Memory that begins where a page does, which no buffer promises; any, where the system has no room for the addresses it takes. */
const pages = (bytes: number): Buffer => {
  try {
    return Buffer.from(new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) }).buffer)
  } catch {
    return Buffer.allocUnsafeSlow(bytes)
  }
}
