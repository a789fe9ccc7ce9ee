import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Clock, Log as Lines } from '@sluice/core'
import type { FileLayer, OpenFile } from './files.ts'
import { type Segments, segmentName } from './segments.ts'
import { openSidecar, sliceSidecar } from './sidecar.ts'
import { positionOf, sealOf, sliceSnapshot } from './snapshot.ts'
import type { State } from './state.ts'

const SNAPSHOT = /^snapshot-(\d{20})$/
const KEPT = 2
/**
 * A snapshot is due when the log has grown by so many times what the last one took: a byte of a snapshot costs as much as a
 * few of the log, and all snapshots together a few in a hundred of what the log costs, however much there is.
 */
const LOG_A_BYTE = 64
/** A start reads no more of the log than this and a segment. */
const READ_MAX = 256 * 1024 * 1024

export interface Checkpoint {
  /** Everything below it is in the checkpoint. */
  readonly position: number
  /** It may speak of what lies below this: it counts only once the log is durable up to there. */
  readonly until: number
  readonly parts: readonly Buffer[]
}

export interface TakenSidecar {
  readonly start: number
  readonly parts: Iterable<Buffer>
}

/** A snapshot as it is found. */
export interface Found {
  readonly position: number
  readonly bytes: Buffer
}

/**
 * The files beside the log that make a start short: snapshots of the state and a sidecar for each segment. All of it can
 * be made again from the log, as long as the log is whole.
 */
export class Checkpoints {
  readonly #files: FileLayer
  readonly #dir: string
  readonly #segments: Segments
  readonly #clock: Clock
  readonly #lines: Lines
  /** Positions of the snapshots on the disk, oldest first. */
  readonly positions: number[] = []
  /** Of the snapshot that was taken last, which may still be on its way to the disk. */
  #lastBytes = 0
  #lastPosition = 0
  #isTaking = false
  #saving: Promise<void> = Promise.resolve()

  constructor(files: FileLayer, segments: Segments, clock: Clock, lines: Lines) {
    this.#files = files
    this.#dir = segments.dir
    this.#segments = segments
    this.#clock = clock
    this.#lines = lines
  }

  /** The newest snapshot that is whole; half-written ones of a life before are removed. */
  async load(): Promise<Found | undefined> {
    const names = await this.#files.list(this.#dir)
    for (const name of names) if (name.endsWith('.tmp')) await this.#files.unlink(join(this.#dir, name))
    const positions = names.flatMap((name) => SNAPSHOT.exec(name)?.[1] ?? []).sort()
    let newest: Found | undefined
    for (const digits of positions.reverse()) {
      const bytes = await this.#readAll(`snapshot-${digits}`)
      const position = positionOf(bytes)
      if (position === Number(digits)) {
        this.positions.unshift(position)
        newest ??= { position, bytes }
        continue
      }
      this.#lines.warn('snapshot.damaged', { position: Number(digits) })
      await this.#files.unlink(join(this.#dir, `snapshot-${digits}`))
    }
    this.#lastBytes = newest?.bytes.length ?? 0
    this.#lastPosition = newest?.position ?? 0
    return newest
  }

  async sidecar(start: number) {
    const bytes = await this.#readAll(sidecarName(start))
    if (bytes.length === 0) return undefined
    const opened = openSidecar(bytes, start)
    if (!opened) this.#lines.warn('sidecar.damaged', { segment: start })
    return opened
  }

  /** Whether so much was written since the last snapshot that the next is worth its size. */
  isDue(position: number): boolean {
    if (this.#isTaking) return false
    return position - this.#lastPosition >= Math.min(this.#lastBytes * LOG_A_BYTE, READ_MAX)
  }

  /**
   * The state as it is now, taken slice by slice: others run between them. One after the other.
   * @param log its end now; everything below it is in the state
   */
  async takeSnapshot(state: State, log: { readonly end: number }): Promise<Checkpoint> {
    while (this.#isTaking) await new Promise((resolve) => setImmediate(resolve))
    this.#isTaking = true
    try {
      const position = log.end
      let crc = 0
      const parts = await madeOf(
        sliceSnapshot(state, () => log.end),
        (part) => {
          crc = crc32(part, crc)
        },
      )
      this.#lastPosition = position
      this.#lastBytes = parts.reduce((sum, { length }) => sum + length, 0)
      return { position, until: log.end, parts: [...parts, sealOf(crc)] }
    } finally {
      this.#isTaking = false
    }
  }

  takeSidecar(state: State, end: number, start = this.#segments.list.at(-1)!.start): TakenSidecar {
    const { stood } = state.standing
    return { start, parts: stood.isPart ? [] : sliceSidecar(stood, { start, end, newest: this.#clock.now() }) }
  }

  /** Its parts are made now, and others run between them. */
  async saveSidecar({ start, parts }: TakenSidecar): Promise<void> {
    const made = await madeOf(parts)
    if (made.length > 0) await this.#save(sidecarName(start), made)
  }

  /** One after the other. The log must be durable by now up to where it speaks of. */
  saveSnapshot(checkpoint: Checkpoint): Promise<void> {
    const saving = this.#saving.then(() => this.#saveSnapshot(checkpoint))
    this.#saving = saving.catch(() => undefined)
    return saving
  }

  async #saveSnapshot({ position, parts }: Checkpoint): Promise<void> {
    const newest = this.positions.at(-1) ?? -1
    if (position < newest) return
    await this.#save(`snapshot-${segmentName(position)}`, parts)
    if (position > newest) this.positions.push(position)
    while (this.positions.length > KEPT) {
      const oldest = this.positions.shift()!
      await this.#files.unlink(join(this.#dir, `snapshot-${segmentName(oldest)}`))
    }
  }

  async saveKeys(start: number, bytes: Buffer): Promise<void> {
    await this.#save(keysName(start), [bytes])
  }

  /** The file of {@link Keys} of a segment, to be closed by who asked. */
  async openKeys(start: number): Promise<OpenFile | undefined> {
    return this.#files.open(join(this.#dir, keysName(start)), 'read').catch(() => undefined)
  }

  /** What stands beside a segment that is gone. */
  async removeBeside(start: number): Promise<void> {
    for (const name of [sidecarName(start), keysName(start)])
      await this.#files.unlink(join(this.#dir, name)).catch(() => undefined)
  }

  /** Whole under its name, or not there. */
  async #save(name: string, parts: readonly Buffer[]): Promise<void> {
    const path = join(this.#dir, name)
    const file = await this.#files.open(`${path}.tmp`, 'create')
    try {
      await file.write(parts, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await this.#files.rename(`${path}.tmp`, path)
    await this.#files.syncDir(this.#dir)
  }

  async #readAll(name: string): Promise<Buffer> {
    try {
      const file = await this.#files.open(join(this.#dir, name), 'read')
      try {
        return await file.read(0, await file.size())
      } finally {
        await file.close()
      }
    } catch {
      return Buffer.alloc(0)
    }
  }
}

/** All parts; the first is made at once, and others run before each further one. */
const madeOf = async (parts: Iterable<Buffer>, made: (part: Buffer) => void = ignore): Promise<readonly Buffer[]> => {
  const all: Buffer[] = []
  for (const part of parts) {
    all.push(part)
    made(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return all
}
const ignore = () => undefined

const sidecarName = (start: number): string => `${segmentName(start)}.index`
const keysName = (start: number): string => `${segmentName(start)}.keys`
