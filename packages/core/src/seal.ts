import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { Fault, type Half, type Lease, type Slot } from './model.ts'

/**
 * Receipts and halves as text for clients that hold them themselves. Self-contained: any process with the cluster's
 * key opens what any other sealed.
 *   text = base64url( version u8 · kind u8 · fields · HMAC-SHA-256 of all before, first 16 bytes )
 *   field = string: u16 length + UTF-8 · number: f64 big-endian
 */
export interface Seal {
  /** @throws Fault 'tooLarge': names beyond what a text holds (2,048 characters in all) */
  lease(lease: Lease): string
  half(half: Half): string
  /** A delivery out of an inbox to a client that settles by text (gRPC lite consumers). */
  slot(slot: Slot): string
  /** What a backend gave to call a delayed message of a topic back by. */
  recall(recall: Recall): string
  /** @throws Fault 'receiptExpired' about 'receipt': not one of ours, or changed on the way */
  openLease(text: string): Lease
  /** @throws Fault 'receiptExpired' about 'receipt' */
  openHalf(text: string): Half
  /** Of a lease or a slot. @throws Fault 'receiptExpired' about 'receipt' */
  openReceipt(text: string): Lease | Slot
  /** @throws Fault 'receiptExpired' about 'receipt' */
  openRecall(text: string): Recall
}

export interface Recall {
  readonly topic: string
  readonly handle: string
}

const VERSION = 1
const LEASE = 1
const HALF = 2
const SLOT = 3
const RECALL = 4
const MAC_BYTES = 16
/** Longest text: four names of 255 bytes, the numbers and the code leave room to spare. */
const TEXT_MAX = 2048

const refused = () => new Fault('receiptExpired', 'receipt handle is not valid', { about: 'receipt' })

class Writer {
  #bytes = Buffer.allocUnsafe(256)
  #at = 0
  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const bigger = Buffer.allocUnsafe((this.#at + bytes) * 2)
    this.#bytes.copy(bigger, 0, 0, this.#at)
    this.#bytes = bigger
  }
  byte(value: number): this {
    this.#room(1)
    this.#at = this.#bytes.writeUInt8(value, this.#at)
    return this
  }
  text(value: string): this {
    const length = Buffer.byteLength(value)
    if (length > TEXT_MAX) throw new Fault('tooLarge', 'name too long for a receipt handle', { about: 'receipt' })
    this.#room(2 + length)
    this.#at = this.#bytes.writeUInt16BE(length, this.#at)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }
  number(value: number): this {
    this.#room(8)
    this.#at = this.#bytes.writeDoubleBE(value, this.#at)
    return this
  }
  done(key: KeyObject): string {
    const body = this.#bytes.subarray(0, this.#at)
    const mac = createHmac('sha256', key).update(body).digest().subarray(0, MAC_BYTES)
    const text = Buffer.concat([body, mac]).toString('base64url')
    if (text.length > TEXT_MAX) throw new Fault('tooLarge', 'names too long for a receipt handle', { about: 'receipt' })
    return text
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0
  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }
  byte(): number {
    const value = this.#bytes.readUInt8(this.#at)
    this.#at += 1
    return value
  }
  text(): string {
    const length = this.#bytes.readUInt16BE(this.#at)
    const value = this.#bytes.toString('utf8', this.#at + 2, this.#at + 2 + length)
    this.#at += 2 + length
    return value
  }
  number(): number {
    const value = this.#bytes.readDoubleBE(this.#at)
    this.#at += 8
    return value
  }
}

/** The fields after the kind. @throws Fault 'receiptExpired' about 'receipt' */
const open = (
  text: string,
  key: KeyObject,
  ...kinds: readonly number[]
): { readonly kind: number; readonly r: Reader } => {
  const bytes = text.length > TEXT_MAX ? Buffer.alloc(0) : Buffer.from(text, 'base64url')
  // A lenient base64 decoder lets several texts mean the same bytes; only the one we wrote is ours.
  if (bytes.length <= MAC_BYTES || bytes.toString('base64url') !== text) throw refused()
  const body = bytes.subarray(0, -MAC_BYTES)
  const mac = createHmac('sha256', key).update(body).digest().subarray(0, MAC_BYTES)
  if (!timingSafeEqual(mac, bytes.subarray(-MAC_BYTES))) throw refused()
  const reader = new Reader(body)
  if (reader.byte() !== VERSION) throw refused()
  const kind = reader.byte()
  if (!kinds.includes(kind)) throw refused()
  return { kind, r: reader }
}

const leaseOf = (r: Reader): Lease => ({
  of: 'group',
  node: r.text(),
  topic: r.text(),
  group: r.text(),
  queue: r.number(),
  offset: r.number(),
  place: r.number(),
  first: r.number(),
  poppedAt: r.number(),
  invisible: r.number(),
  revive: r.number(),
  retry: r.number() as Lease['retry'],
  attempt: r.number(),
})

const slotOf = (r: Reader): Slot => ({
  of: 'inbox',
  node: r.text(),
  inbox: r.text(),
  epoch: r.number(),
  way: 'out',
  slot: r.number(),
})

/** `secret`: the cluster's, at least 16 bytes. */
export const createSeal = (secret: Buffer): Seal => {
  if (secret.length < 16) throw new Fault('invalid', 'a sealing key has at least 16 bytes')
  // Made once: a code by the bare bytes costs five times as much.
  const key = createSecretKey(secret)
  return {
    lease: (lease) =>
      new Writer()
        .byte(VERSION)
        .byte(LEASE)
        .text(lease.node)
        .text(lease.topic)
        .text(lease.group)
        .number(lease.queue)
        .number(lease.offset)
        .number(lease.place)
        .number(lease.first)
        .number(lease.poppedAt)
        .number(lease.invisible)
        .number(lease.revive)
        .number(lease.retry)
        .number(lease.attempt)
        .done(key),
    half: (half) =>
      new Writer()
        .byte(VERSION)
        .byte(HALF)
        .text(half.node)
        .text(half.topic)
        .text(half.group)
        .text(half.id)
        .number(half.place)
        .number(half.offset)
        .done(key),
    slot: (slot) =>
      new Writer()
        .byte(VERSION)
        .byte(SLOT)
        .text(slot.node)
        .text(slot.inbox)
        .number(slot.epoch)
        .number(slot.slot)
        .done(key),
    recall: ({ topic, handle }) => new Writer().byte(VERSION).byte(RECALL).text(topic).text(handle).done(key),
    openLease: (text) => leaseOf(open(text, key, LEASE).r),
    openReceipt(text) {
      const { kind, r } = open(text, key, LEASE, SLOT)
      return kind === LEASE ? leaseOf(r) : slotOf(r)
    },
    openRecall(text) {
      const { r } = open(text, key, RECALL)
      return { topic: r.text(), handle: r.text() }
    },
    openHalf(text) {
      const { r } = open(text, key, HALF)
      return { node: r.text(), topic: r.text(), group: r.text(), id: r.text(), place: r.number(), offset: r.number() }
    },
  }
}
