import { Fault } from '@sluice/core'
import type { Counters } from './core.ts'
import { HEADER, openEntry } from './entry.ts'
import type { Log } from './log.ts'
import { Pace, type Rests, SHARE } from './pace.ts'
import type { Pointed } from './state.ts'
import { WINDOW, Window, type WindowParts } from './window.ts'

/** Records of other queues between two that are wanted are read with them up to so many bytes. */
const GAP_MAX = 64 * 1024

type Wanted = Pointed & { readonly index: number }

export interface ColdParts extends WindowParts {
  readonly log: Log
  readonly counters: Counters
  readonly rests: Rests
}

/**
 * Records that are in the files only. Who reads them is behind and may wait; who writes, and who waits for what is written,
 * may not. So there is one cold read at a time, which leaves the threads of the process to fdatasync, and it keeps a pace that
 * they do not feel. What was read last is kept and serves its neighbours, for those who follow a topic read all of its queues;
 * what is handed out is a copy, so that this memory is never given away and nothing is made but what is wanted.
 */
export class ColdReads {
  readonly #parts: ColdParts
  readonly #pace: Pace
  readonly #window: Window
  #last: Promise<unknown> = Promise.resolve()

  constructor(parts: ColdParts) {
    this.#parts = parts
    this.#pace = new Pace(parts.log, parts.rests)
    this.#window = new Window(parts, () => this.#pace.quiet())
  }

  /** In the order of the pointers; undefined where one cannot be read, which is logged and counted. */
  read(pointers: readonly Pointed[]): Promise<(Buffer | undefined)[]> {
    const reading = this.#last.then(() => this.#readAll(pointers))
    this.#last = reading.catch(ignore)
    return reading
  }

  /** Resolves when everything that was asked for is read. */
  async ended(): Promise<void> {
    for (let last: unknown; last !== this.#last; ) await (last = this.#last)
  }

  async #readAll(pointers: readonly Pointed[]): Promise<(Buffer | undefined)[]> {
    if (this.#parts.segments.isClosed) throw new Fault('unavailable', 'the broker is closed')
    const order = pointers.map(({ place, size }, index) => ({ place, size, index })).sort((a, b) => a.place - b.place)
    const records: (Buffer | undefined)[] = new Array(pointers.length)
    let total = 0
    for (const { size } of order) total += size
    const copies = new Copies(total)
    for (let from = 0; from < order.length; ) {
      let to = from
      let bytes = 0
      do bytes += order[to++]!.size
      while (
        to < order.length &&
        bytes + order[to]!.size <= SHARE &&
        this.#near(order[from]!, order[to - 1]!, order[to]!)
      )
      const run = order.slice(from, to)
      await this.#pace.run(bytes, () => this.#readRun(run, records, copies))
      from = to
    }
    return records
  }

  #near(first: Pointed, before: Pointed, next: Pointed): boolean {
    if (next.place - (before.place + before.size) > GAP_MAX) return false
    if (next.place + next.size - first.place > WINDOW - HEADER) return false
    const { segments } = this.#parts
    return segments.at(first.place) === segments.at(next.place)
  }

  async #readRun(run: readonly Wanted[], records: (Buffer | undefined)[], copies: Copies): Promise<void> {
    const { log, segments, counters, lines } = this.#parts
    const start = run[0]!.place - HEADER
    const last = run.at(-1)!
    const bytes = await this.#window.bytes(start, last.place + last.size - start)
    for (const { place, size, index } of run) {
      const entry = openEntry(bytes, place - HEADER - start, place - HEADER)
      if (entry?.payload.length === size) {
        records[index] = copies.of(entry.payload)
        continue
      }
      // Not yet written bytes are in memory, always: what is not whole in the file is damaged.
      const memory = log.peek(place, size)
      records[index] = memory
      if (memory || segments.first > place) continue
      counters.unreadableRecords++
      lines.error('log.unreadable', { place, size })
    }
  }
}

const ignore = () => undefined

/** Copies of records in one piece of memory. */
class Copies {
  readonly #buffer: Buffer
  #used = 0

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes)
  }

  of(record: Buffer): Buffer {
    const from = this.#used
    this.#used += record.copy(this.#buffer, from)
    return this.#buffer.subarray(from, this.#used)
  }
}
