import {
  type Batch,
  type Delivered,
  Fault,
  type Half,
  type Kind,
  type Replies,
  type ReplyTo,
  type Stored,
  type StoredMessage,
} from '@sluice/core'
import { numberOf, readQueue, writeQueue } from './commands.ts'
import { writeSpecial } from './messages.ts'
import { malformed, type Reader } from './reader.ts'
import { ReceiptReader, ReceiptWriter } from './receipts.ts'
import { type RecordReader, type RecordWriter, recordOf } from './records.ts'
import { type ReadSpecial, readFault, readValue, writeFault, writeValue } from './values.ts'
import type { Writer } from './writer.ts'

/** What a reply has beside its messages, which travel before it. */
export const writeReply = <K extends Kind>(writer: Writer, kind: K, reply: ReplyTo<K>): void => {
  switch (kind) {
    case 'publish':
      return writeStored(writer, (reply as Replies['publish']).stored)
    case 'pop':
      return void writer.byte((reply as Replies['pop']).more ? 1 : 0)
    case 'read': {
      const { next, min, max } = reply as Replies['read']
      return void writer.offset(next).offset(min).offset(max)
    }
    case 'settle': {
      const { renewed, failed } = reply as Replies['settle']
      if (renewed === undefined && failed.length === 0) return void writer.byte(0)
      return writeValue(writer.byte(1), reply)
    }
    default:
      return writeValue(writer, reply, writeSpecial)
  }
}

const settled: Replies['settle'] = Object.freeze({ failed: Object.freeze([]) })

/** @param items of the frames before it. @throws Fault 'malformed' */
export const readReply = <K extends Kind>(
  reader: Reader,
  kind: K,
  items: readonly Delivered[],
  special: ReadSpecial,
): ReplyTo<K> => readReplyOf(reader, kind, items, special) as ReplyTo<K>

const readReplyOf = (reader: Reader, kind: Kind, items: readonly Delivered[], special: ReadSpecial): unknown => {
  switch (kind) {
    case 'publish':
      return { stored: readStored(reader) }
    case 'pop':
      return { batch: new LinkBatch(items), more: reader.byte() === 1 }
    case 'read':
      return { batch: new LinkBatch(items), next: reader.offset(), min: reader.offset(), max: reader.offset() }
    case 'settle':
      if (reader.byte() === 0) return settled
  }
  const value = readValue(reader, special)
  if (typeof value !== 'object' || value === null) throw malformed('no reply')
  return value
}

export const hasBatch = (kind: Kind): kind is 'pop' | 'read' => kind === 'pop' || kind === 'read'

// ── stored ────────────────────────────────────────────────────────────────────────────────────
const REFUSED = 1
const QUEUE = 2
const MORE = 4

const writeStored = (writer: Writer, stored: readonly (Stored | Fault)[]): void => {
  writer.number(stored.length)
  let before: Stored | undefined
  for (const one of stored) {
    if (Fault.is(one)) {
      writeFault(writer.byte(REFUSED), one)
      continue
    }
    const { queue, half, recallHandle, durable } = one
    const again = before?.queue.topic === queue.topic && before.queue.node === queue.node
    const more = half !== undefined || recallHandle !== undefined || durable !== undefined
    writer.byte((again ? 0 : QUEUE) | (more ? MORE : 0)).text(one.id)
    if (again) writeValue(writer, queue.index)
    else writeQueue(writer, queue)
    writer.offset(one.offset).offset(one.place)
    if (more) for (const value of [half, recallHandle, durable]) writeValue(writer, value)
    before = one
  }
}

const readStored = (reader: Reader): (Stored | Fault)[] => {
  const stored: (Stored | Fault)[] = []
  let before: Stored | undefined
  for (let left = reader.count(); left > 0; left--) {
    const bits = reader.byte()
    if (bits & REFUSED) {
      stored.push(readFault(reader))
      continue
    }
    const id = reader.text()
    const queue = bits & QUEUE ? readQueue(reader) : before && { ...before.queue, index: numberOf(reader) }
    if (!queue) throw malformed('a queue like none before')
    const plain = { id, queue, offset: reader.offset(), place: reader.offset() }
    before = bits & MORE ? { ...plain, ...readMore(reader) } : plain
    stored.push(before)
  }
  return stored
}

const readMore = (reader: Reader): Pick<Stored, 'half' | 'recallHandle' | 'durable'> => {
  const [half, recallHandle, durable] = [readValue(reader), readValue(reader), readValue(reader)]
  return {
    ...(half !== undefined && { half: half as Half }),
    ...(recallHandle !== undefined && { recallHandle: recallHandle as string }),
    ...(durable !== undefined && { durable: durable as NonNullable<Stored['durable']> }),
  }
}

// ── batches ───────────────────────────────────────────────────────────────────────────────────
/** Messages as they came over the link. */
class LinkBatch implements Batch {
  readonly count: number
  readonly #items: readonly Delivered[]

  constructor(items: readonly Delivered[]) {
    this.count = items.length
    this.#items = items
  }

  /** One record each. */
  get bytes(): readonly Buffer[] {
    return this.#items.map(({ message }) => message.record!)
  }

  [Symbol.iterator](): Iterator<Delivered> {
    return this.#items[Symbol.iterator]()
  }
}

/** Bits of a delivery's first byte, which is never 0. */
const there = 1
const again = 2
const withReceipt = 4
const withHalf = 8
const received = 16
const retained = 32
const withNotes = 64

/** Deliveries of one frame. @throws Fault 'internal' for a message that is no record */
export class DeliveryWriter {
  readonly #writer: Writer
  readonly #records: RecordWriter
  readonly #receipts: ReceiptWriter

  constructor(writer: Writer, records: RecordWriter) {
    this.#writer = writer
    this.#records = records
    this.#receipts = new ReceiptWriter(writer)
  }

  write(one: Delivered): void {
    const writer = this.#writer
    const { message, attempt, receipt, half, notes } = one
    writer.byte(
      there |
        (attempt === 1 ? 0 : again) |
        (receipt ? withReceipt : 0) |
        (half ? withHalf : 0) |
        (one.received ? received : 0) |
        (one.retained ? retained : 0) |
        (notes ? withNotes : 0),
    )
    const record = recordOf(message)
    if (!record) throw new Fault('internal', 'link: a message without its record cannot travel')
    this.#records.write(writer, record)
    if (attempt !== 1) writer.offset(attempt)
    if (receipt) this.#receipts.write(receipt)
    if (half) writeValue(writer, half)
    if (notes) {
      writer.number(notes.length)
      for (const note of notes) writer.text(note)
    }
  }
}

/** All deliveries of a frame, to its end. @throws Fault 'malformed' */
export const readDeliveries = (reader: Reader, records: RecordReader): Delivered[] => {
  const receipts = new ReceiptReader(reader)
  const items: Delivered[] = []
  while (reader.left > 0) {
    const bits = reader.byte()
    if (!(bits & there)) throw malformed('no delivery')
    const message: StoredMessage = records.read(reader)
    items.push({
      message,
      attempt: bits & again ? reader.offset() : 1,
      ...(bits & withReceipt && { receipt: receipts.read() }),
      ...(bits & withHalf && { half: readValue(reader) as Half }),
      ...(bits & received && { received: true }),
      ...(bits & retained && { retained: true }),
      ...(bits & withNotes && { notes: readNotes(reader) }),
    })
  }
  return items
}

const readNotes = (reader: Reader): string[] => {
  const notes: string[] = []
  for (let left = reader.count(); left > 0; left--) notes.push(reader.text())
  return notes
}
