import type { Log as Lines } from '@sluice/core'
import type { Log } from './log.ts'
import type { Segment, Segments } from './segments.ts'

/** Most bytes that are looked at together; what is longer is put together. As many that were read last are kept, at least. */
export const WINDOW = 1024 * 1024
/** Who goes on within so many bytes of where the last one ended, goes on. */
const NEAR = 64 * 1024
/** Asked of the disk at a time: what is written stands behind one of them. */
export const PIECE = 128 * 1024
/** No disk wants direct reads to begin and to end at more than this. */
export const ALIGN = 4096
/** What is kept is moved to its beginning when it is full: seldom. */
const ROOM = 4 * WINDOW

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
 * What was read last of a file, in memory of its own: who reads all queues of a topic asks for neighbours, a little before or
 * behind each other, and each byte is read once for all. What the system has not in its memory is read past it, in small
 * pieces: the system would read ahead as much as the disk is set to, often megabytes, each of which a sync stands behind. What
 * this process wrote lately comes from the system's memory, and so does all where reading past it is refused.
 */
export class Window {
  readonly #parts: WindowParts
  /** Resolves when the disk is not wanted by those who write. */
  readonly #quiet: () => Promise<void>
  /** Below it another process wrote. */
  readonly #began: number
  #memory: Buffer = nothing
  #segment: Segment | undefined
  /** Position of the first byte in memory, aligned in its segment. */
  #from = 0
  /** Position after what was read. */
  #end = 0
  #isRefused = false

  constructor(parts: WindowParts, quiet: () => Promise<void>) {
    this.#parts = parts
    this.#quiet = quiet
    this.#began = parts.log.end
  }

  /** Fewer at the end of the segment, none where they cannot be read. Good until the next call. */
  async bytes(start: number, length: number): Promise<Buffer> {
    if (length > WINDOW) return this.#long(start, length)
    if (start < this.#from || start + length > this.#end) await this.#read(start, length)
    return this.#memory.subarray(start - this.#from, Math.min(start + length, this.#end) - this.#from)
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

  async #read(start: number, length: number): Promise<void> {
    const segment = this.#parts.segments.at(start)
    const goesOn = segment === this.#segment && start >= this.#from && start <= this.#end + NEAR
    this.#segment = segment
    if (!goesOn) this.#from = this.#end = segment ? aligned(segment, start) : start
    if (!segment) return
    // Whole pieces for who goes on still, and long ones where the disk has no part in it.
    const isRecent = this.#isRecent(this.#end)
    const piece = isRecent ? WINDOW : PIECE
    const more = start + length - this.#end
    const to = Math.min(segment.end, this.#end + (goesOn ? Math.ceil(more / piece) * piece : more))
    if (to - this.#from > ROOM) this.#move(segment)
    if (this.#memory === nothing) this.#memory = pages(ROOM + ALIGN)
    try {
      if (!isRecent) await this.#readDirectly(segment, to)
      if (this.#end >= to) return
      const into = this.#memory.subarray(this.#end - this.#from)
      this.#end += (await this.#parts.segments.read(this.#end, to - this.#end, into)).length
    } catch (error) {
      this.#parts.lines.error('log.read', { position: start, error: String(error) })
    }
  }

  #move(segment: Segment): void {
    const from = aligned(segment, this.#end - WINDOW)
    this.#memory.copyWithin(0, from - this.#from, this.#end - this.#from)
    this.#from = from
  }

  #isRecent(start: number): boolean {
    const { log, recentBytes } = this.#parts
    return start >= this.#began && start >= log.end - recentBytes
  }

  /** Not all where it is refused or not all comes: then the system's memory is asked, and its errors count. */
  async #readDirectly(segment: Segment, to: number): Promise<void> {
    if (this.#isRefused) return
    const { segments, lines } = this.#parts
    try {
      const file = await segments.direct(segment.start)
      for (let isWhole = true; isWhole && this.#end < to; ) {
        await this.#quiet()
        const at = aligned(segment, this.#end)
        const wanted = Math.min(PIECE, align(to - at + ALIGN - 1))
        const read = await file.read(at - segment.start, wanted, this.#memory.subarray(at - this.#from))
        isWhole = read.length === wanted
        this.#end = Math.max(this.#end, Math.min(to, at + read.length))
      }
    } catch (error) {
      // A segment that was deleted meanwhile says nothing about the others.
      this.#isRefused = segments.at(segment.start) === segment
      if (this.#isRefused) lines.info('log.direct', { error: String(error) })
    }
  }
}

/** The position at or before this one where a direct read of its segment may begin. */
const aligned = ({ start }: Segment, position: number): number => start + align(position - start)

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
