import { type Clock, Fault, type Log as Lines } from '@sluice/core'
import { type Room, roomOf, type Summed } from '@sluice/remoting'
import { Ahead } from './ahead.ts'
import { Durations } from './durations.ts'
import { CONTROL, HEADER, sealEntry } from './entry.ts'
import { SYNCED } from './events.ts'
import type { OpenFile } from './files.ts'
import type { Segments } from './segments.ts'

/** What becomes visible to readers only once its batch is as durable as asked. */
export interface Touched {
  /** Number of the batch in which it is already; 0: none. */
  touchedIn: number
  /** The batch is closed: remember how far it reaches. */
  sealed(): void
  /** The batch is durable: show it. */
  shown(): void
}

export interface LogOptions {
  readonly flush: 'sync' | 'async'
  readonly segmentBytes: number
  /** Newest bytes of the log that are kept in memory for readers. */
  readonly cacheBytes: number
  readonly clock: Clock
  readonly lines: Lines
  /**
   * Called when a segment is full, with everything below `end` applied and nothing above it. What it returns runs once
   * the log below `end` is durable and the next segment stands.
   */
  rolled(end: number): () => Promise<void>
}

const resolved = Promise.resolve()
const ignore = () => undefined

interface Chunk {
  /** Position of the first byte. */
  readonly start: number
  readonly room: Room
  used: number
  /** Slices of it were given away: its memory is theirs as long as they live. */
  lent: boolean
}

interface Batch {
  /**
   * What is touched remembers the number until the batch is shown, so that it may come again. A pointer from an old object
   * to each new batch would have every collection of the young generation look at that object.
   */
  readonly number: number
  readonly from: number
  readonly touched: Touched[]
  /** Told when the batch has been written, before it is synced. */
  readonly keepers: (() => void)[]
  readonly done: Promise<void>
  resolve(): void
  reject(fault: Fault): void
}

const CHUNK_MIN = 16 * 1024
const CHUNK_MAX = 1024 * 1024
/** Flush async: what is written when the callback that appended it ends. A read of a socket is 64 KiB. */
const EARLY = 48 * 1024
/** Flush async: how often the disk is asked to catch up. */
const LAZY_SYNC_MS = 500
/** Bytes that may wait for the disk. */
export const PENDING_MAX = 256 * 1024 * 1024
const MARKER = 16
/** Numbers of batches, before the first comes again. */
const NUMBERS = 2 ** 30

const newBatch = (from: number, number: number): Batch => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(ignore)
  return { number, from, touched: [], keepers: [], done: promise, resolve, reject }
}

/**
 * The append side. One writer: `reserve`, fill `room`, `commit`, all in one turn. Everything appended in a turn of the
 * loop, and while a sync is under way, goes out in one write and one fdatasync. Under flush async a read's worth goes out
 * at once: those whose answers it makes are busy with them while the next read is taken in.
 */
export class Log {
  readonly #options: LogOptions
  readonly #segments: Segments
  #file: OpenFile
  /** Flush sync only: an unsynced write gains nothing by it. */
  #ahead: Ahead | undefined
  #chunks: Chunk[] = []
  #chunk: Chunk
  /** Memory of a chunk that nobody reads any more: what is written next goes there. */
  #spare: Room | undefined
  #cached = 0
  /** What is appended now goes into it. */
  #batch: Batch
  /** Being written and synced. */
  #flying: Batch | undefined
  #at = 0
  #size = 0
  #chaining = false
  #scheduled = false
  #early = false
  /** Cleared in the turn that finds nothing more to write: what is appended after it schedules the next run. */
  #busy = false
  #running: Promise<void> = resolved
  #lazy: Promise<void> | undefined
  #uncatch: (() => void) | undefined
  #background: Promise<void> = Promise.resolve()
  #fault: Fault | undefined
  /** Position after the last entry. */
  end: number
  /** Everything below it is in the file. */
  written: number
  /** Everything below it is known to be synced. */
  synced: number
  /** Segments that were filled since start. */
  syncs = 0
  readonly syncTimes = new Durations()

  constructor(options: LogOptions, segments: Segments, file: OpenFile, end: number) {
    this.#options = options
    this.#segments = segments
    this.#file = file
    this.end = this.written = this.synced = end
    this.#ahead = this.#newAhead()
    this.#chunk = this.#newChunk(0)
    this.#batch = newBatch(end, 1)
  }

  get fault(): Fault | undefined {
    return this.#fault
  }

  /** It holds what {@link reserve} gave. */
  get room(): Room {
    return this.#chunk.room
  }

  /** Position of the payload that was reserved last. */
  get place(): number {
    return this.#chunk.start + this.#at
  }

  /**
   * Room for a payload. @returns its index in {@link room}
   * @throws Fault 'unavailable' after a failure of the disk
   */
  reserve(size: number): number {
    if (this.#fault) throw this.#fault
    if (this.end === this.#batch.from) this.mark()
    return this.#reserve(size)
  }

  /** Before a command adds to what waits. @throws Fault 'unavailable' after a failure of the disk, 'busy' when too much waits for it */
  admit(): void {
    if (this.#fault) throw this.#fault
    if (this.end - this.written > PENDING_MAX) throw new Fault('busy', 'too much waits for the disk')
  }

  /**
   * The payload is in its place; `part` of it was summed there already. `chained`: it counts only with the next entry,
   * which follows in the same turn.
   */
  commit(chained = false, part?: Summed): void {
    sealEntry(this.#chunk.room, this.#at, this.#size, this.place, chained || this.#chaining, part)
    this.#chunk.used = this.#at + this.#size
    this.end = this.#chunk.start + this.#chunk.used
    if (this.#busy) return
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flush)
    }
    if (!this.#early && this.#options.flush === 'async' && this.end - this.#batch.from > EARLY) {
      this.#early = true
      process.nextTick(this.#flushEarly)
    }
  }

  /** What `run` appends, all in this turn, counts only as a whole: together with what `end` makes of its result. */
  chain<T>(run: () => T, end: (result: T) => Buffer, broken: () => Buffer): T {
    const { end: before } = this
    this.#chaining = true
    let last = broken
    try {
      const result = run()
      last = () => end(result)
      return result
    } finally {
      this.#chaining = false
      if (this.end > before) this.append(last())
    }
  }

  append(payload: Buffer, chained = false): number {
    const at = this.reserve(payload.length)
    this.#chunk.room.bytes.set(payload, at)
    this.commit(chained)
    return this.place
  }

  /** Readers of this one are told when what was appended until now is durable. */
  touch(what: Touched): void {
    const { number, touched } = this.#batch
    if (what.touchedIn === number) return
    what.touchedIn = number
    touched.push(what)
  }

  /** Resolves when everything appended until now is as durable as the flush mode says. */
  done(): Promise<void> {
    if (this.end > this.#batch.from) return this.#batch.done
    return this.#fault ? Promise.reject(this.#fault) : (this.#flying?.done ?? resolved)
  }

  /** Resolves when everything appended until now is with the operating system: it survives a kill, not a power cut. */
  kept(): Promise<void> {
    if (this.end <= this.written || this.#fault) return resolved
    const batch = this.end > this.#batch.from ? this.#batch : this.#flying!
    return new Promise((resolve) => batch.keepers.push(resolve))
  }

  /** Of the bytes in memory; undefined: they must be read from the file. */
  peek(place: number, size: number): Buffer | undefined {
    const chunks = this.#chunks
    if (chunks.length === 0 || place < chunks[0]!.start) return undefined
    let low = 0
    let high = chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (chunks[middle]!.start <= place) low = middle + 1
      else high = middle
    }
    const chunk = chunks[low - 1]!
    const from = place - chunk.start
    if (from + size > chunk.used) return undefined
    chunk.lent = true
    return chunk.room.bytes.subarray(from, from + size)
  }

  /** Resolves once what stands at this place is in the file. */
  async settled(place: number): Promise<void> {
    while (place >= this.written && place < this.end && !this.#fault) await this.done().catch(ignore)
  }

  /** Resolves once everything below this position is on the disk, whatever the flush mode. */
  async syncedTo(position: number): Promise<void> {
    await this.settled(position - 1)
    while (this.synced < position) {
      if (this.#fault) throw this.#fault
      await this.#sync(this.written)
    }
  }

  /** Waits until everything is written, synced and rolled. */
  async flushed(): Promise<void> {
    while (this.end > this.written && !this.#fault) await this.done().catch(ignore)
    await this.#running
    await this.#lazy
    await this.#background
    if (!this.#fault && this.synced < this.end) await this.#sync(this.end)
  }

  /** Nothing is appended from here; the file stays with the segments, as long as what is in it. */
  async close(): Promise<void> {
    await this.flushed()
    this.#uncatch?.()
    await this.#ahead?.end()
    const length = this.end - this.#segments.list.at(-1)!.start
    if (!this.#fault && this.#ahead && this.#ahead.laid > length) await this.#file.truncate(length)
    this.#fault ??= new Fault('unavailable', 'the broker is closed')
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    if (!this.#busy) this.#running = this.#run()
  }

  readonly #flushEarly = (): void => {
    this.#early = false
    if (!this.#busy) this.#running = this.#run()
  }

  async #run(): Promise<void> {
    this.#busy = true
    while (this.end > this.written && !this.#fault) {
      const batch = this.#batch
      const to = this.end
      this.#batch = newBatch(to, (batch.number % NUMBERS) + 1)
      this.#flying = batch
      try {
        await this.#writeBatch(batch, to)
      } catch (error) {
        this.#fail(batch, error)
      }
    }
    this.#busy = false
  }

  async #writeBatch(batch: Batch, to: number): Promise<void> {
    for (const what of batch.touched) what.sealed()
    const segment = this.#segments.list.at(-1)!
    const after = to - segment.start >= this.#options.segmentBytes ? this.#options.rolled(to) : undefined
    const room = this.#ahead?.room(to - segment.start)
    if (room) await room
    const writing = this.#file.write(this.#parts(batch.from, to), batch.from - segment.start)
    if (writing) await writing
    this.written = segment.end = to
    for (const kept of batch.keepers) kept()
    if (this.#options.flush === 'sync' || after) await this.#sync(to)
    else this.#syncLater()
    for (const what of batch.touched) {
      if (what.touchedIn === batch.number) what.touchedIn = 0
      what.shown()
    }
    this.#flying = undefined
    batch.resolve()
    this.#evict()
    this.#ahead?.wrote(to - segment.start)
    if (after) await this.#roll(segment, to, after)
  }

  async #sync(to: number): Promise<void> {
    const began = performance.now()
    await this.#file.sync()
    this.syncTimes.observe((performance.now() - began) / 1_000)
    this.syncs++
    if (to > this.synced) this.synced = to
  }

  /** Also of what nothing follows. */
  #syncLater(): void {
    this.#uncatch ??= this.#options.clock.after(LAZY_SYNC_MS, () => {
      this.#uncatch = undefined
      if (this.#fault || this.synced >= this.written) return
      this.#lazy = this.#sync(this.written)
        .catch((error) => this.#fail(this.#batch, error))
        .finally(() => {
          this.#lazy = undefined
        })
    })
  }

  async #roll(full: { newest: number }, to: number, after: () => Promise<void>): Promise<void> {
    await this.#lazy
    full.newest = this.#options.clock.now()
    await this.#ahead?.end()
    this.#file = await this.#segments.create(to, full.newest)
    this.#ahead = this.#newAhead()
    this.#background = this.#background.then(after).catch((error) => {
      // The log itself is whole: without this snapshot or sidecar the next start reads more of it.
      this.#options.lines.error('log.roll', { error: String(error) })
    })
  }

  #newAhead(): Ahead | undefined {
    const { flush, segmentBytes, lines } = this.#options
    if (flush !== 'sync') return undefined
    const { start } = this.#segments.list.at(-1)!
    const open = () => this.#segments.again(start)
    return new Ahead({ open, from: this.end - start, most: segmentBytes, step: this.#ahead?.step ?? 0, lines })
  }

  #fail(batch: Batch, error: unknown): void {
    if (this.#fault) return
    this.#options.lines.error('log.failed', { error: String(error) })
    this.#fault = new Fault('unavailable', 'the log cannot be written', { cause: error })
    for (const { keepers, reject } of [batch, this.#batch]) {
      reject(this.#fault)
      for (const kept of keepers) kept()
    }
  }

  /** How far the log is durable stands before each batch: damage below it is loss, above it a torn tail. */
  mark(): void {
    const at = this.#reserve(MARKER)
    const { view } = this.#chunk.room
    view.setUint32(at, SYNCED)
    view.setUint32(at + 4, CONTROL)
    view.setFloat64(at + 8, this.synced)
    this.commit()
  }

  #reserve(size: number): number {
    const chunk = this.#chunk
    if (chunk.used + HEADER + size > chunk.room.bytes.length) this.#chunk = this.#newChunk(HEADER + size)
    this.#at = this.#chunk.used + HEADER
    this.#size = size
    return this.#at
  }

  #newChunk(least: number): Chunk {
    const usual = Math.min(CHUNK_MAX, Math.max(CHUNK_MIN, this.#options.cacheBytes / 8))
    const spare = this.#spare && this.#spare.bytes.length >= least ? this.#spare : undefined
    if (spare) this.#spare = undefined
    const room = spare ?? roomOf(Buffer.allocUnsafeSlow(Math.max(usual, least)))
    const chunk = { start: this.end, room, used: 0, lent: false }
    this.#chunks.push(chunk)
    this.#cached += room.bytes.length
    return chunk
  }

  #evict(): void {
    while (this.#cached > this.#options.cacheBytes && this.#chunks.length > 1) {
      const oldest = this.#chunks[0]!
      if (oldest.start + oldest.used > this.written) return
      const { length } = oldest.room.bytes
      this.#cached -= length
      this.#chunks.shift()
      if (!oldest.lent && length <= CHUNK_MAX) this.#spare = oldest.room
    }
  }

  #parts(from: number, to: number): Buffer[] {
    const parts: Buffer[] = []
    for (let index = this.#chunks.length - 1; index >= 0; index--) {
      const { start, room, used } = this.#chunks[index]!
      if (start + used <= from) break
      const first = Math.max(from, start)
      const last = Math.min(to, start + used)
      if (last > first) parts.push(room.bytes.subarray(first - start, last - start))
    }
    return parts.reverse()
  }
}
