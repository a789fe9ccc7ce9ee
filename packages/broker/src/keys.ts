import type { Log as Lines } from '@sluice/core'
import { viewRecord } from '@sluice/remoting'
import type { Checkpoints } from './checkpoints.ts'
import { isRecordPayload } from './entry.ts'
import { type Facts, factsOf } from './facts.ts'
import { findKeys, hashKey, KeyList, writeKeys } from './keyList.ts'
import { scanSegment } from './scan.ts'
import type { Segment, Segments } from './segments.ts'

/** Keys of one message that it is found by. */
const KEYS_MAX = 128

const addAll = (list: KeyList, topic: string, { id, keys }: Facts, place: number): void => {
  if (id !== undefined) list.add(hashKey(topic, id), place)
  if (!keys) return
  for (const key of keys.slice(0, KEYS_MAX)) if (key !== id) list.add(hashKey(topic, key), place)
}

/**
 * Where the messages are that have a key or an id: of the segment that is being written in memory, of each other one in a
 * file beside it. What is not there, after a crash or because a file is damaged, is made again of the segment itself when
 * somebody asks.
 */
export class Keys {
  readonly #segments: Segments
  readonly #checkpoints: Checkpoints
  readonly #lines: Lines
  #current: KeyList
  /** Full, and not in their files yet. */
  readonly #sealed = new Map<number, KeyList>()
  /** One segment is read at a time. */
  #reading: Promise<unknown> = Promise.resolve()

  /** @param end of the log: what is below it is not known yet */
  constructor(segments: Segments, checkpoints: Checkpoints, lines: Lines, end: number) {
    this.#segments = segments
    this.#checkpoints = checkpoints
    this.#lines = lines
    this.#current = new KeyList(segments.list.at(-1)?.start ?? end, end)
  }

  /** A message was appended to a queue. */
  add(topic: string, facts: Facts, place: number): void {
    addAll(this.#current, topic, facts, place)
  }

  /** The segment ends here. @returns what is to be done when it is durable */
  rolled(end: number): () => Promise<void> {
    const list = this.#current
    this.#current = new KeyList(end, end)
    this.#sealed.set(list.start, list)
    return async () => {
      try {
        if (list.from <= list.start) await this.#save(list)
      } finally {
        this.#sealed.delete(list.start)
      }
    }
  }

  /** Places of messages in this segment that may have this key, the newest first. */
  async find(segment: Segment, topic: string, key: string): Promise<readonly number[]> {
    const hash = hashKey(topic, key)
    const { start } = segment
    const list = this.#current.start === start ? this.#current : this.#sealed.get(start)
    if (!list) return (await this.#inFile(start, hash)) ?? (await this.#alone(() => this.#readAgain(segment, hash)))
    if (list.from > start) await this.#alone(() => this.#complete(segment, list))
    return list.find(hash)
  }

  async #inFile(start: number, hash: number): Promise<number[] | undefined> {
    const file = await this.#checkpoints.openKeys(start)
    if (!file) return undefined
    try {
      const places = await findKeys(file, start, hash)
      if (!places) this.#lines.warn('keys.damaged', { segment: start })
      return places
    } finally {
      await file.close()
    }
  }

  async #alone<T>(run: () => Promise<T>): Promise<T> {
    const running = this.#reading.then(run)
    this.#reading = running.catch(() => undefined)
    return running
  }

  /** Somebody else may have waited for the same. */
  async #readAgain(segment: Segment, hash: number): Promise<number[]> {
    const found = await this.#inFile(segment.start, hash)
    if (found) return found
    const list = await this.#scan(segment, segment.end)
    await this.#save(list)
    return list.find(hash)
  }

  async #complete(segment: Segment, list: KeyList): Promise<void> {
    if (list.from > list.start) list.complete(await this.#scan(segment, list.from))
  }

  async #scan(segment: Segment, end: number): Promise<KeyList> {
    const list = new KeyList(segment.start, segment.start)
    const damaged = () => undefined
    await scanSegment(
      this.#segments,
      { ...segment, end },
      segment.start,
      ({ payload, place }) => {
        if (!isRecordPayload(payload)) return
        const message = viewRecord(payload, '')
        addAll(list, message.topic, factsOf(message), place)
      },
      damaged,
    )
    return list
  }

  async #save(list: KeyList): Promise<void> {
    // Its segment may have been deleted meanwhile.
    if (this.#segments.at(list.start)) await this.#checkpoints.saveKeys(list.start, writeKeys(list))
  }
}
