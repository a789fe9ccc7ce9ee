import { join } from 'node:path'
import type { FileLayer, OpenFile } from './files.ts'

/** One file of the log, named by the position of its first byte, 20 digits. */
export interface Segment {
  readonly start: number
  /** Where the next one starts. Of the last one it moves. */
  end: number
  /** When it was sealed; of the last one, when it was opened. Retention counts from here. */
  newest: number
}

export const segmentName = (start: number): string => String(start).padStart(20, '0')
const SEGMENT = /^\d{20}$/
/** Sealed segments that are kept open for cold reads, and as many again for direct ones. */
const OPEN_MAX = 64

/** The segment files of a directory: which there are, reading them, adding and removing whole ones. */
export class Segments {
  readonly list: Segment[] = []
  readonly dir: string
  readonly #files: FileLayer
  readonly #open: Handles
  /** Read past the system's memory. */
  readonly #direct: Handles
  isClosed = false

  constructor(files: FileLayer, dir: string) {
    this.#files = files
    this.dir = dir
    this.#open = new Handles((start) => files.open(join(dir, segmentName(start)), 'read'))
    this.#direct = new Handles((start) => files.open(join(dir, segmentName(start)), 'direct'))
  }

  get first(): number {
    return this.list[0]?.start ?? 0
  }

  /** Looks what is there. Ends are as the files are long; in that of the last one, zeros may have been laid ahead. */
  async load(): Promise<void> {
    const names = (await this.#files.list(this.dir)).filter((name) => SEGMENT.test(name)).sort()
    for (const name of names) {
      const start = Number(name)
      const file = await this.file(start)
      this.list.push({ start, end: start + (await file.size()), newest: 0 })
    }
  }

  /** A new last segment; durable with its name when this resolves. */
  async create(start: number, now: number): Promise<OpenFile> {
    const file = await this.#files.open(join(this.dir, segmentName(start)), 'create')
    await file.sync()
    await this.#files.syncDir(this.dir)
    await this.#open.put(start, file)
    this.list.push({ start, end: start, newest: now })
    return file
  }

  /** The last segment for writing on, cut to `end` if it is longer. */
  async reopen(segment: Segment, end: number): Promise<OpenFile> {
    await this.#open.close(segment.start)
    const file = await this.#files.open(join(this.dir, segmentName(segment.start)), 'write')
    if (segment.end > end) {
      await file.truncate(end - segment.start)
      await file.sync()
    }
    segment.end = end
    await this.#open.put(segment.start, file)
    return file
  }

  /** One more handle on the file of a segment that is written, to be closed by who asked. */
  again(start: number): Promise<OpenFile> {
    return this.#files.open(join(this.dir, segmentName(start)), 'write')
  }

  /** The open file of a segment; sealed ones are closed again when many are open. */
  file(start: number): Promise<OpenFile> {
    return this.#open.get(start, this.list.at(-1)?.start)
  }

  /** The same for direct reads only, of what is aligned. Rejects where the system has no such thing. */
  direct(start: number): Promise<OpenFile> {
    return this.#direct.get(start)
  }

  /** The segment that holds this position; undefined: none does. */
  at(position: number): Segment | undefined {
    let low = 0
    let high = this.list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.list[middle]!.start <= position) low = middle + 1
      else high = middle
    }
    const segment = this.list[low - 1]
    return segment && position < segment.end ? segment : undefined
  }

  /** @param into memory to read into, as long as `length` or longer; absent: new memory */
  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    const segment = this.at(position)
    if (!segment) return Buffer.alloc(0)
    const file = await this.file(segment.start)
    return file.read(position - segment.start, Math.min(length, segment.end - position), into)
  }

  /**
   * Removes the first segment. After a power cut its name may be back, but never before that of one removed earlier:
   * the log has no hole.
   */
  async removeFirst(): Promise<void> {
    const [segment] = this.list.splice(0, 1)
    if (!segment) return
    await this.#direct.close(segment.start)
    await this.#open.close(segment.start)
    await this.#files.unlink(join(this.dir, segmentName(segment.start)))
    await this.#files.syncDir(this.dir)
  }

  async close(): Promise<void> {
    this.isClosed = true
    await this.#direct.end()
    await this.#open.end()
  }
}

/** Open files by the start of their segment. */
class Handles {
  readonly #make: (start: number) => Promise<OpenFile>
  readonly #open = new Map<number, Promise<OpenFile>>()

  constructor(make: (start: number) => Promise<OpenFile>) {
    this.#make = make
  }

  /** @param keep is not closed when another one is where many are open */
  get(start: number, keep?: number): Promise<OpenFile> {
    let file = this.#open.get(start)
    if (file) return file
    file = this.#make(start)
    this.#open.set(start, file)
    file.catch(() => this.#open.delete(start))
    if (this.#open.size > OPEN_MAX) this.#closeOne(start, keep)
    return file
  }

  /** In place of what was open. */
  async put(start: number, file: OpenFile): Promise<void> {
    await this.close(start)
    this.#open.set(start, Promise.resolve(file))
  }

  async close(start: number): Promise<void> {
    const file = this.#open.get(start)
    this.#open.delete(start)
    await file?.then((opened) => opened.close())
  }

  async end(): Promise<void> {
    const open = [...this.#open.values()]
    this.#open.clear()
    for (const file of open) await (await file).close()
  }

  #closeOne(...except: (number | undefined)[]): void {
    for (const start of this.#open.keys()) {
      if (except.includes(start)) continue
      void this.close(start).catch(() => undefined)
      return
    }
  }
}
