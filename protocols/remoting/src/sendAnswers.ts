import type { Stored } from '@sluice/core'
import { RESPONSE, version } from '@sluice/remoting'

/** Bytes of answers that are written together; one has at most {@link ANSWER_BYTES}. */
const PAGE_BYTES = 128 * 1024
const ANSWER_BYTES = 1024
const ID_MAX = 256
const PLACE_DIGITS = 16
const HEAD_BYTES = 8

const digits = Uint8Array.from('0123456789ABCDEF', (digit) => digit.charCodeAt(0))

/** What one answer differs in from the next: where it stands, from the start of the answer, and how long it is. */
interface Shape {
  readonly store: Buffer
  readonly queue: number
  readonly queueDigits: number
  readonly place: number
  readonly offset: number
  readonly offsetDigits: number
  readonly id: number
  readonly idLength: number
  readonly opaque: number
  readonly opaqueDigits: number
  readonly bytes: number
}

/**
 * Answers with a JSON header to sends that were stored, one behind the other in one buffer. They are alike but for a few
 * digits, so that each is the one before it with these written over.
 *   msgId: upper-case hex of the store's address and the place
 */
export class SendAnswers {
  readonly #page = Buffer.allocUnsafeSlow(PAGE_BYTES)
  #end = 0
  /** Of the last answer, and where it begins. */
  #shape: Shape | undefined
  #last = 0

  /** Whether there is room for one more. */
  get full(): boolean {
    return this.#end + ANSWER_BYTES > PAGE_BYTES
  }

  /** False: it is to be said in another way. @param queue the number that clients know @param store address of the broker */
  add(opaque: number, { id, place, offset }: Stored, queue: number, store: Buffer): boolean {
    if (id.length > ID_MAX || opaque < 0 || this.full) return false
    const shape = this.#shape
    const alike =
      shape !== undefined &&
      shape.store === store &&
      shape.queueDigits === digitsOf(queue) &&
      shape.idLength === id.length &&
      shape.offsetDigits === digitsOf(offset) &&
      shape.opaqueDigits === digitsOf(opaque)
    const from = this.#end
    if (alike && this.#last !== from) this.#page.copyWithin(from, this.#last, this.#last + shape.bytes)
    const now = alike ? shape : this.#write(opaque, offset, id, queue, store)
    this.#shape = now
    this.#last = from
    if (!this.#text(id, from + now.id)) return false
    this.#hex(place, from + now.place)
    if (alike) {
      this.#number(queue, from + now.queue, now.queueDigits)
      this.#number(offset, from + now.offset, now.offsetDigits)
      this.#number(opaque, from + now.opaque, now.opaqueDigits)
    }
    this.#end = from + now.bytes
    return true
  }

  /** What was added since; undefined: nothing. */
  take(): Buffer | undefined {
    if (this.#end === 0) return undefined
    const taken = Buffer.from(this.#page.subarray(0, this.#end))
    this.#end = 0
    return taken
  }

  #write(opaque: number, offset: number, id: string, queue: number, store: Buffer): Shape {
    const page = this.#page
    const from = this.#end
    let at = from + HEAD_BYTES
    const put = (text: string): number => (at += page.write(text, at, 'latin1')) - from
    const place = put(`{"code":0,"extFields":{"msgId":"${store.toString('hex').toUpperCase()}`)
    at += PLACE_DIGITS
    const queueAt = put('","queueId":"')
    put(`${queue}","queueOffset":"`)
    const offsetAt = at - from
    put(String(offset))
    const idAt = put('","transactionId":"')
    at += id.length
    put(`","MSG_REGION":"DefaultRegion","TRACE_ON":"false"},"flag":${RESPONSE},"language":"JAVA","opaque":`)
    const opaqueAt = at - from
    put(String(opaque))
    const bytes = put(`,"serializeTypeCurrentRPC":"JSON","version":${version.ours}}`)
    page.writeUInt32BE(bytes - 4, from)
    page.writeUInt32BE(bytes - HEAD_BYTES, from + 4)
    return {
      store,
      queue: queueAt,
      queueDigits: digitsOf(queue),
      place,
      offset: offsetAt,
      offsetDigits: digitsOf(offset),
      id: idAt,
      idLength: id.length,
      opaque: opaqueAt,
      opaqueDigits: digitsOf(opaque),
      bytes,
    }
  }

  /** False: JSON says it otherwise than it is. */
  #text(text: string, to: number): boolean {
    const page = this.#page
    for (let at = 0; at < text.length; at++) {
      const char = text.charCodeAt(at)
      if (char < 0x20 || char > 0x7e || char === 0x22 || char === 0x5c) return false
      page[to + at] = char
    }
    return true
  }

  #number(value: number, from: number, length: number): void {
    const page = this.#page
    for (let at = from + length - 1, left = value; at >= from; at--) {
      const rest = Math.floor(left / 10)
      page[at] = 0x30 + (left - rest * 10)
      left = rest
    }
  }

  #hex(value: number, from: number): void {
    const page = this.#page
    let high = Math.floor(value / 0x1_0000_0000)
    let low = value >>> 0
    for (let at = from + 7; at >= from; at--, high >>>= 4) page[at] = digits[high & 15]!
    for (let at = from + 15; at > from + 7; at--, low >>>= 4) page[at] = digits[low & 15]!
  }
}

/** Of a number from 0 on. */
const digitsOf = (value: number): number => {
  let count = 1
  for (let least = 10; value >= least; least *= 10) count++
  return count
}
