import type { EpochMs, Ms, Offset } from '@sluice/core'
import { Heap } from './heap.ts'
import { SmallMap } from './small.ts'

/** One message of a queue that a group has popped and not settled. */
export interface Held {
  readonly offset: Offset
  /** Never twice the same for one message: it tells a stale receipt from the one that counts. */
  poppedAt: EpochMs
  /** When it is there for everybody again. Infinity: as long as the session lives, or while it is being moved. */
  due: EpochMs
  invisible: Ms
  /** Number of the delivery that is out. */
  attempt: number
  /** Number of the next delivery. */
  next: number
  /** Held by a session instead of for a time. */
  session: string | undefined
  /** It comes back because somebody said so, not because nobody said anything. */
  returned: boolean
  /** On its way to the dead letters: no receipt counts any more. */
  dying: boolean
}

/** How a held message is written down. */
export interface HeldFields {
  readonly offset: Offset
  readonly poppedAt: EpochMs
  readonly invisible: Ms
  readonly attempt: number
  readonly next: number
  readonly session: string | undefined
}

/**
 * Where a group stands in one queue. Everything below `next` that is not held is settled: no message costs anything
 * once it is done with.
 */
export class Cursor {
  /** Said by commitOffset; −1: never. */
  committed: Offset = -1
  /** First offset that was never popped; −1: this group has not popped here. */
  next: Offset = -1
  /** In the order of offsets, unless messages were taken by their priority. */
  readonly held = new SmallMap<Offset, Held>()
  /** By priority above 0: every offset of it below this one was popped, even if it is not below `next`. */
  readonly ahead = new SmallMap<number, Offset>()
  #last: Offset = -1
  #isOrdered = true
  /** Held messages by the time they come back; what is out of date is skipped, and swept out when it is the greater part. */
  readonly #dues = new Heap<Held>()

  /** The lowest offset that is not settled; −1: the group has not begun here. */
  get floor(): Offset {
    if (this.next < 0) return this.committed
    let first = this.next
    for (const offset of this.held.keys()) {
      first = Math.min(first, offset)
      if (this.#isOrdered) break
    }
    return Math.max(this.committed, first)
  }

  hold(fields: HeldFields): Held {
    const due = fields.session === undefined ? fields.poppedAt + fields.invisible : Number.POSITIVE_INFINITY
    const { offset, poppedAt, invisible, attempt, next, session } = fields
    const held: Held = { offset, poppedAt, due, invisible, attempt, next, session, returned: false, dying: false }
    if (this.held.size === 0) this.#isOrdered = true
    else if (offset < this.#last) this.#isOrdered = false
    this.#last = offset
    this.held.set(offset, held)
    this.#due(held)
    return held
  }

  /** Popped before its turn. */
  isAhead(offset: Offset, level: number): boolean {
    return level > 0 && offset < (this.ahead.get(level) ?? 0)
  }

  /** Every offset of this priority below `next` was popped. */
  took(level: number, next: Offset): void {
    this.ahead.set(level, Math.max(next, this.ahead.get(level) ?? 0))
  }

  /** What the log has to know of it: the offsets of {@link ahead} that lie beyond `next`. */
  get levels(): { readonly level: number; readonly next: Offset }[] {
    const levels: { level: number; next: Offset }[] = []
    for (const [level, next] of this.ahead) {
      if (next > this.next) levels.push({ level, next })
      else this.ahead.delete(level)
    }
    return levels
  }

  /** The same message handed out again or its time moved: the Map keeps its place. */
  move(held: Held, fields: Omit<HeldFields, 'offset'>): void {
    held.poppedAt = fields.poppedAt
    held.invisible = fields.invisible
    held.attempt = fields.attempt
    held.next = fields.next
    held.session = fields.session
    held.returned = false
    held.due = fields.session === undefined ? fields.poppedAt + fields.invisible : Number.POSITIVE_INFINITY
    this.#due(held)
  }

  /** Out of reach of pops and receipts until it is settled. */
  die(held: Held): void {
    held.dying = true
    held.due = Number.POSITIVE_INFINITY
  }

  /** Back at once: its session is gone, or a move to the dead letters failed. */
  giveBack(held: Held, at: EpochMs): void {
    held.dying = false
    held.returned = true
    held.session = undefined
    held.due = at
    this.#due(held)
  }

  settle(offset: Offset): boolean {
    const was = this.held.delete(offset)
    if (was && this.held.size === 0) this.#dues.clear()
    return was
  }

  /** The soonest held message whose time has come; it stays where it is until it is moved or settled. */
  dueBy(now: EpochMs): Held | undefined {
    const held = this.#first()
    return held && held.due <= now ? held : undefined
  }

  /** When the next held message comes back; Infinity: none does. */
  get nextDue(): EpochMs {
    return this.#first()?.due ?? Number.POSITIVE_INFINITY
  }

  /** Entries that wait for their time, with those that are out of date. */
  get waiting(): number {
    return this.#dues.size
  }

  /** A consumer that keeps its own offsets moved on: what is below is settled for pops too. */
  commit(offset: Offset): void {
    this.committed = offset
    if (this.next < 0) return
    if (this.next < offset) this.next = offset
    this.#dropBelow(offset)
  }

  /** Backwards or forwards, whatever was held is forgotten. */
  reset(offset: Offset): void {
    this.committed = offset
    if (this.next >= 0) this.next = offset
    this.ahead.clear()
    this.held.clear()
    this.#dues.clear()
  }

  /** The queue begins here now. */
  retained(min: Offset): void {
    if (this.next >= 0 && this.next < min) this.next = min
    this.#dropBelow(min)
  }

  #dropBelow(offset: Offset): void {
    for (const held of this.held.keys()) {
      if (held < offset) this.held.delete(held)
      else if (this.#isOrdered) break
    }
  }

  #first(): Held | undefined {
    return this.#dues.first((time, held) => held.due === time && this.held.get(held.offset) === held)
  }

  #due(held: Held): void {
    if (held.due === Number.POSITIVE_INFINITY) return
    if (this.#dues.size > 64 && this.#dues.size > this.held.size * 2) this.#sweep()
    this.#dues.push(held.due, held)
  }

  #sweep(): void {
    this.#dues.clear()
    for (const held of this.held.values()) if (held.due !== Number.POSITIVE_INFINITY) this.#dues.push(held.due, held)
  }
}
