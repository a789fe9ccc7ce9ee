import type { StoredMessage } from '@sluice/core'
import { isRecord, readLong, recordAt, type StoredRecord, viewRecord } from '@sluice/remoting'
import { malformed, type Reader } from './reader.ts'
import type { Writer } from './writer.ts'

/** Records that both ends remember, the newest so many, none larger than so much: 4 MiB a connection at the most. */
const REMEMBERED = 64
const REMEMBERED_BYTES = 64 * 1024

/** Counted since the connection was made. */
export interface RecordCounts {
  /** Records that travelled, and their bytes. */
  sent: number
  bytes: number
  /** Deliveries of a record that had travelled just before: by its number alone. */
  repeated: number
}

export const noRecords = (): RecordCounts => ({ sent: 0, bytes: 0, repeated: 0 })

/**
 * A record that many sessions of one gateway get travels once: number 0 and the bytes, or how many records ago it was
 * sent. Both ends count alike, so that nothing is said about what is forgotten.
 */
export class RecordWriter {
  readonly counts: RecordCounts
  /** By place in the log. */
  readonly #known = new Map<number, { readonly record: Buffer; readonly at: number }>()
  readonly #ring: number[] = []
  #at = 0

  constructor(counts: RecordCounts) {
    this.counts = counts
  }

  write(writer: Writer, record: Buffer): void {
    const place = readLong(record, recordAt.place)
    const known = this.#known.get(place)
    // Of two logs, or of a log and its copy, one place may be of two records.
    if (known?.record.equals(record)) {
      this.counts.repeated++
      return void writer.number(this.#at - known.at)
    }
    this.counts.sent++
    this.counts.bytes += record.length
    writer.byte(0).bytes(record)
    if (record.length > REMEMBERED_BYTES) return
    const slot = this.#at++ % REMEMBERED
    const before = this.#ring[slot]
    if (before !== undefined && this.#known.get(before)?.at === this.#at - 1 - REMEMBERED) this.#known.delete(before)
    this.#ring[slot] = place
    this.#known.set(place, { record, at: this.#at - 1 })
  }
}

export class RecordReader {
  readonly #node: string
  readonly #ring: StoredRecord[] = []
  #at = 0

  /** @param node whose records they are */
  constructor(node: string) {
    this.#node = node
  }

  /** One view a record, however many get it: its properties are parsed once. @throws Fault 'malformed' */
  read(reader: Reader): StoredRecord {
    const ago = reader.number()
    if (ago > 0) {
      const known = ago > REMEMBERED ? undefined : this.#ring[(this.#at - ago) % REMEMBERED]
      if (!known) throw malformed('a record like none before')
      return known
    }
    const record = reader.bytes()
    if (!isRecord(record)) throw malformed('no record')
    const view = viewRecord(record, this.#node)
    if (record.length <= REMEMBERED_BYTES) this.#ring[this.#at++ % REMEMBERED] = view
    return view
  }
}

export const recordOf = (message: StoredMessage): Buffer | undefined =>
  message.record && isRecord(message.record) ? message.record : undefined
