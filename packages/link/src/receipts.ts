import type { Lease, Receipt, Slot } from '@sluice/core'
import { malformed, type Reader } from './reader.ts'
import { readValue, writeValue } from './values.ts'
import type { Writer } from './writer.ts'

/** Bits of a receipt's first byte. */
const slot = 1
const in_ = 2
/** Node, and topic and group or inbox, are those of the receipt before it in the frame. */
const same = 4
const retryShift = 3
/** Some number of it is none that a broker gives out: what a client made up is for the broker to judge. */
const odd = 32

const isUsual = ({ queue, offset, place, first, poppedAt, invisible, revive, attempt }: Lease): boolean =>
  isCount(queue) &&
  isCount(offset) &&
  isCount(place) &&
  isCount(first) &&
  isCount(poppedAt) &&
  isCount(invisible) &&
  isCount(revive) &&
  isCount(attempt)
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= -1 && value < MAX
const MAX = Number.MAX_SAFE_INTEGER

const readOdd = (reader: Reader): Receipt => {
  const value = readValue(reader)
  if (typeof value === 'object' && value !== null && 'of' in value && value.of === 'group') return value as Lease
  throw malformed('no receipt')
}

/** Writes receipts of one frame: what they have in common is said once. */
export class ReceiptWriter {
  readonly #writer: Writer
  #lease: Lease | undefined
  #slot: Slot | undefined

  constructor(writer: Writer) {
    this.#writer = writer
  }

  write(receipt: Receipt): void {
    if (receipt.of === 'inbox') this.#writeSlot(receipt)
    else this.#writeLease(receipt)
  }

  #writeLease(lease: Lease): void {
    const writer = this.#writer
    if (!isUsual(lease)) return writeValue(writer.byte(odd), lease)
    const before = this.#lease
    const again = before?.topic === lease.topic && before.group === lease.group && before.node === lease.node ? same : 0
    writer.byte(again | (lease.retry << retryShift))
    if (again === 0) writer.text(lease.node).text(lease.topic).text(lease.group)
    writer.offset(lease.queue).offset(lease.offset).offset(lease.place).offset(lease.first)
    writer.offset(lease.poppedAt).offset(lease.invisible).offset(lease.revive).offset(lease.attempt)
    this.#lease = lease
  }

  #writeSlot(one: Slot): void {
    const before = this.#slot
    const again = before?.inbox === one.inbox && before.node === one.node && before.epoch === one.epoch ? same : 0
    this.#writer.byte(slot | (one.way === 'in' ? in_ : 0) | again)
    if (again === 0) this.#writer.text(one.node).text(one.inbox).offset(one.epoch)
    this.#writer.number(one.slot)
    this.#slot = one
  }
}

/** @throws Fault 'malformed' */
export class ReceiptReader {
  readonly #reader: Reader
  #lease: Lease | undefined
  #slot: Slot | undefined

  constructor(reader: Reader) {
    this.#reader = reader
  }

  read(): Receipt {
    const bits = this.#reader.byte()
    if (bits === odd) return readOdd(this.#reader)
    return bits & slot ? this.#readSlot(bits) : this.#readLease(bits)
  }

  #readLease(bits: number): Lease {
    const reader = this.#reader
    const retry = bits >> retryShift
    if (retry > 2) throw malformed('no such retry')
    const names = bits & same ? this.#lease : { node: reader.text(), topic: reader.text(), group: reader.text() }
    if (!names) throw malformed('a receipt like none before')
    return (this.#lease = {
      of: 'group',
      node: names.node,
      topic: names.topic,
      group: names.group,
      queue: reader.offset(),
      offset: reader.offset(),
      place: reader.offset(),
      first: reader.offset(),
      poppedAt: reader.offset(),
      invisible: reader.offset(),
      revive: reader.offset(),
      retry: retry as 0 | 1 | 2,
      attempt: reader.offset(),
    })
  }

  #readSlot(bits: number): Slot {
    const reader = this.#reader
    const names = bits & same ? this.#slot : { node: reader.text(), inbox: reader.text(), epoch: reader.offset() }
    if (!names) throw malformed('a receipt like none before')
    const { node, inbox, epoch } = names
    return (this.#slot = { of: 'inbox', node, inbox, epoch, way: bits & in_ ? 'in' : 'out', slot: reader.number() })
  }
}
