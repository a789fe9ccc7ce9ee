import { hash, timingSafeEqual } from 'node:crypto'
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

const BLOCK_BYTES = 64
const HASH_BYTES = 32

/** HMAC-SHA-256 [RFC 2104] by two one-shot hashes, which cost a third of an Hmac object. */
class Mac {
  /** The key in its two guises, each with room for what follows it. */
  readonly #inner = Buffer.alloc(BLOCK_BYTES + TEXT_MAX, 0x36)
  readonly #outer = Buffer.alloc(BLOCK_BYTES + HASH_BYTES, 0x5c)

  constructor(secret: Buffer) {
    const key = secret.length > BLOCK_BYTES ? Buffer.from(hash('sha256', secret, 'hex'), 'hex') : secret
    for (const [at, byte] of key.entries()) {
      this.#inner[at]! ^= byte
      this.#outer[at]! ^= byte
    }
  }

  /** Writes the first bytes of the code of `bytes[0, end)` behind them, `into[at]` on. `end`: TEXT_MAX at most. */
  write(bytes: Buffer, end: number, into: Buffer, at: number): void {
    bytes.copy(this.#inner, BLOCK_BYTES, 0, end)
    const inner = hash('sha256', this.#inner.subarray(0, BLOCK_BYTES + end), 'binary')
    this.#outer.write(inner, BLOCK_BYTES, 'latin1')
    into.write(hash('sha256', this.#outer, 'binary').slice(0, MAC_BYTES), at, 'latin1')
  }
}

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
  done(mac: Mac): string {
    const end = this.#at
    if (Math.ceil(((end + MAC_BYTES) * 4) / 3) > TEXT_MAX) {
      throw new Fault('tooLarge', 'names too long for a receipt handle', { about: 'receipt' })
    }
    this.#room(MAC_BYTES)
    mac.write(this.#bytes, end, this.#bytes, end)
    return this.#bytes.toString('base64url', 0, end + MAC_BYTES)
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

/** The code as it should be, of the text that is opened now. */
const right = Buffer.alloc(MAC_BYTES)

/** The fields after the kind. @throws Fault 'receiptExpired' about 'receipt' */
const open = (text: string, mac: Mac, ...kinds: readonly number[]): { readonly kind: number; readonly r: Reader } => {
  const bytes = text.length > TEXT_MAX ? Buffer.alloc(0) : Buffer.from(text, 'base64url')
  // A lenient base64 decoder lets several texts mean the same bytes; only the one we wrote is ours.
  if (bytes.length <= MAC_BYTES || bytes.toString('base64url') !== text) throw refused()
  const end = bytes.length - MAC_BYTES
  mac.write(bytes, end, right, 0)
  if (!timingSafeEqual(right, bytes.subarray(end))) throw refused()
  const reader = new Reader(bytes.subarray(0, end))
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
  const mac = new Mac(secret)
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
        .done(mac),
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
        .done(mac),
    slot: (slot) =>
      new Writer()
        .byte(VERSION)
        .byte(SLOT)
        .text(slot.node)
        .text(slot.inbox)
        .number(slot.epoch)
        .number(slot.slot)
        .done(mac),
    recall: ({ topic, handle }) => new Writer().byte(VERSION).byte(RECALL).text(topic).text(handle).done(mac),
    openLease: (text) => leaseOf(open(text, mac, LEASE).r),
    openReceipt(text) {
      const { kind, r } = open(text, mac, LEASE, SLOT)
      return kind === LEASE ? leaseOf(r) : slotOf(r)
    },
    openRecall(text) {
      const { r } = open(text, mac, RECALL)
      return { topic: r.text(), handle: r.text() }
    },
    openHalf(text) {
      const { r } = open(text, mac, HALF)
      return { node: r.text(), topic: r.text(), group: r.text(), id: r.text(), place: r.number(), offset: r.number() }
    },
  }
}
