import { crc32 } from 'node:zlib'
import type { EpochMs, Half, Lease, StoredMessage } from '@sluice/core'
import { inboxBoxes, sharedBoxes } from './boxes.ts'
import { Doomed } from './doomed.ts'
import { Keyed } from './keyed.ts'
import { Ordered } from './ordered.ts'
import { Retained } from './retained.ts'
import { Wills } from './wills.ts'

/** What clients were told, and so may rely on. */
export interface Told {
  readonly body: string
  readonly place: number
}

export interface Decision {
  readonly half: Half
  asked: 'nothing' | 'commit' | 'rollback'
  acknowledged: boolean
}

/** Offset of a group in a queue: acknowledged, −1 if never, and asked for since then without an answer. */
export interface Committed {
  sure: number
  maybe: number[]
}

export interface Timer {
  readonly handle: string
  recall: 'no' | 'tried' | 'done'
}

/** A delivery that is out, as its receipt says. */
interface Out {
  readonly from: EpochMs
  readonly to: EpochMs
}

/** Topic of what is put into the inbox directly. */
export const REPLIES = 'R'

export const keyOf = (topic: string, queue: number): string => `${topic}/${queue}`

/** Bookkeeping of one seed over all its power cuts. */
export class Model {
  /** Acknowledged or shown to a reader, by queue and offset. */
  readonly told = new Map<string, Map<number, Told>>()
  /** Accepted and acknowledged, by queue. */
  readonly settled = new Map<string, Set<number>>()
  /** Sent to the dead letters and acknowledged, by body. */
  readonly dead = new Set<string>()
  /** Bodies that a settlement without an answer may have ended. */
  readonly unsure = new Set<string>()
  /** By queue; no two at a time. */
  readonly committed = new Map<string, Committed>()
  readonly committing = new Set<string>()
  readonly topics = new Set<string>()
  /** Delayed messages that were acknowledged. */
  readonly delayed = new Set<string>()
  readonly inbox = inboxBoxes()
  readonly shared = sharedBoxes()
  readonly ordered = new Ordered()
  readonly keyed = new Keyed()
  readonly retained = new Retained()
  readonly wills = new Wills()
  readonly doomed = new Doomed()
  /** Publishes that may be repeated: slot to body and offset. */
  readonly once = new Map<number, { readonly body: string; readonly place: number }>()
  /** Transactions by body: what was asked of each last, and whether that was acknowledged. */
  readonly halves = new Map<string, Decision>()
  /** Messages for a day far ahead, by body. */
  readonly timers = new Map<string, Timer>()
  /** Pulled messages that were sent back or given up, by body: acknowledged so often, and tried. */
  readonly sentBack = new Map<string, { acknowledged: number; tried: number }>()
  /** Stored in one write with the end of another message: body of the new one to that of the other. */
  readonly swapped = new Map<string, { readonly ended: string; acknowledged: boolean }>()
  /** Deliveries of a group that nobody has asked to settle. */
  readonly #out = new Map<string, Out>()
  #counter = 0

  body(length: number): string {
    const head = `m${this.#counter++}.`
    return head.padEnd(Math.max(head.length, length), String(this.#counter % 10))
  }

  tell(topic: string, queue: number, offset: number, told: Told): void {
    const key = keyOf(topic, queue)
    let queueTold = this.told.get(key)
    if (!queueTold) this.told.set(key, (queueTold = new Map()))
    const before = queueTold.get(offset)
    if (before && (before.body !== told.body || before.place !== told.place))
      throw new Error(
        `${key} offset ${offset} was ${head(before.body)} at ${before.place}, now ${head(told.body)} at ${told.place}`,
      )
    queueTold.set(offset, told)
  }

  /** Whatever is shown is whole. */
  show(message: StoredMessage): void {
    const body = message.body.toString()
    if ((crc32(message.body) & 0x7fffffff) !== message.record!.readInt32BE(8))
      throw new Error(`CRC of ${head(body)} is wrong`)
    // An empty one ends what is retained.
    if (body !== '' && !/^m\d+\./.test(body)) throw new Error(`a body that nobody wrote: ${head(body)}`)
    // What is for an inbox alone stands in no queue.
    if (message.topic !== REPLIES)
      this.tell(message.topic, message.queue.index, message.offset, { body, place: message.place })
  }

  /** Nobody else holds it. */
  lease(receipt: Lease): void {
    const key = leaseKey(receipt)
    const { poppedAt: from, invisible } = receipt
    const out = this.#out.get(key)
    if (out && from < out.to && out.from < from + invisible)
      throw new Error(`${key} is out from ${out.from} to ${out.to}, and again from ${from}`)
    if (!out || from > out.from) this.#out.set(key, { from, to: from + invisible })
  }

  /** Its consumer has said something of it, heard or not. */
  unlease(receipt: Lease): void {
    this.#out.delete(leaseKey(receipt))
  }

  /** Another offset of the same queue that is out when this one begins to be. */
  outBeside({ group, topic, queue, poppedAt }: Lease, isSame: (offset: number) => boolean): number | undefined {
    const prefix = `${group} ${keyOf(topic, queue)} `
    for (const [key, { from, to }] of this.#out) {
      if (!key.startsWith(prefix) || from > poppedAt || to <= poppedAt) continue
      const offset = Number(key.slice(prefix.length))
      if (!isSame(offset)) return offset
    }
    return undefined
  }

  /** A power cut may let go of everything that is out, and of numbers that were only given. */
  forgetHeld(): void {
    this.#out.clear()
    for (const { slots, received } of [this.inbox, this.shared])
      for (const body of [...slots.keys()]) if (!received.get(body)) slots.delete(body)
  }

  settle(topic: string, queue: number, offset: number): void {
    const key = keyOf(topic, queue)
    const settled = this.settled.get(key)
    if (settled) settled.add(offset)
    else this.settled.set(key, new Set([offset]))
  }
}

const leaseKey = ({ group, topic, queue, offset }: Lease): string => `${group} ${keyOf(topic, queue)} ${offset}`

export const head = (body: string): string => body.slice(0, 12)
