import { Fault } from '@sluice/core'
import { malformed } from './cursor.ts'

/** Type and flags, then a remaining length of 1 to 4 bytes. */
const HEADER_MAX = 5
const FIRST_HOLD = 64
const none = Buffer.alloc(0)

/** What is asked and told while packets are cut out. */
export interface Cutting {
  /** Bytes of a packet; asked anew for each. */
  max(): number
  /** Looks at the first byte of a packet before anything else of it is taken. @throws Fault */
  opening(first: number): void
  /** A packet in `bytes`, which are the chunk or a buffer that is not used again: it begins at `from`, its body at `body`. */
  packet(bytes: Buffer, from: number, body: number, to: number): void
}

/**
 * Cuts a byte stream into packets. What is not complete is gathered in one buffer that doubles, so that single bytes
 * cost no more than a copy each and an announcement alone costs nothing.
 */
export class Framing {
  #held: Buffer = none
  #have = 0
  /** Of the packet that was measured last. */
  #header = 0
  #total = 0

  get buffered(): number {
    return this.#have
  }

  /** @throws Fault 'malformed', 'tooLarge', and what `opening` and `packet` throw */
  cut(chunk: Buffer, cutting: Cutting): void {
    let at = 0
    if (this.#have > 0) {
      const took = this.#complete(chunk, cutting)
      if (took === undefined) return
      at = took
    }
    while (at < chunk.length) {
      cutting.opening(chunk[at]!)
      const known = this.#measure(chunk, at, chunk.length, cutting.max())
      const total = known ? this.#total : FIRST_HOLD
      if (!known || chunk.length - at < total) return this.#hold(chunk, at, chunk.length, total)
      cutting.packet(chunk, at, at + this.#header, at + total)
      at += total
    }
  }

  /**
   * u8 type and flags · remaining length, 1 to 4 bytes of 7 bits, lowest first, in the shortest form [MQTT-1.5.5-1] · body
   * @returns false: the length is not complete
   * @throws Fault 'malformed', 'tooLarge'
   */
  #measure(bytes: Buffer, from: number, to: number, max: number): boolean {
    let remaining = 0
    for (let at = from + 1; at < to; at++) {
      const byte = bytes[at]!
      const index = at - from - 1
      remaining += (byte & 0x7f) << (7 * index)
      // Bytes of a length only add: what is too much already stays too much.
      if (remaining > max) throw new Fault('tooLarge', `a packet has at most ${max} bytes`)
      if (byte & 0x80) {
        if (index === 3) throw malformed('a remaining length of five bytes')
        continue
      }
      if (byte === 0 && index > 0) throw malformed('a remaining length is not in its shortest form')
      this.#header = index + 2
      this.#total = this.#header + remaining
      if (this.#total > max) throw new Fault('tooLarge', `a packet has at most ${max} bytes`)
      return true
    }
    return false
  }

  /** How many bytes of the chunk the held packet took; undefined: all, and it is still not complete. */
  #complete(chunk: Buffer, cutting: Cutting): number | undefined {
    const max = cutting.max()
    let at = 0
    while (!this.#measure(this.#held, 0, Math.min(this.#have, HEADER_MAX), max)) {
      if (at === chunk.length) return undefined
      this.#hold(chunk, at, at + 1, FIRST_HOLD)
      at++
    }
    const total = this.#total
    const take = Math.min(total - this.#have, chunk.length - at)
    this.#hold(chunk, at, at + take, total)
    if (this.#have < total) return undefined
    const held = this.#held
    this.#held = none
    this.#have = 0
    cutting.packet(held, 0, this.#header, total)
    return at + take
  }

  /** `whole`: bytes that the packet will have; room grows towards it, never beyond. */
  #hold(chunk: Buffer, from: number, to: number, whole: number): void {
    const need = this.#have + to - from
    if (need > this.#held.length) {
      const bigger = Buffer.allocUnsafe(Math.max(need, Math.min(whole, Math.max(FIRST_HOLD, this.#held.length * 2))))
      this.#held.copy(bigger, 0, 0, this.#have)
      this.#held = bigger
    }
    chunk.copy(this.#held, this.#have, from, to)
    this.#have = need
  }
}
