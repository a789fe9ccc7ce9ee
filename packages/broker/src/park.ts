import { type EpochMs, Fault, type Signal } from '@sluice/core'
import type { Core } from './core.ts'
import { Waiter } from './waiters.ts'

/** Where a poll waits and is woken from. */
export interface Place {
  join(poll: Poll): void
  leave(poll: Poll): void
}

/** A poll that may wait: one object that stands in two lines, for there may be a hundred thousand. */
export abstract class Poll extends Waiter {
  /** Where it stands in the parking; −1: it does not. */
  slot = -1
  index = 0
  readonly core: Core
  readonly until: EpochMs
  readonly signal: Signal | undefined

  constructor(core: Core, until: EpochMs, signal: Signal | undefined) {
    super()
    this.core = core
    this.until = until
    this.signal = signal
  }

  /** Where it waits: always the same. */
  protected abstract get place(): Place
  /** @param isWoken or its time is over, its client gave up or the broker closed */
  protected abstract ended(isWoken: boolean): void

  /**
   * Waits, without a timer of its own, until {@link ended} is called once.
   * @throws Fault 'limit' about 'poll' when too many wait
   */
  park(): void {
    const { core, signal } = this
    const { parking } = core
    if (parking.size >= core.state.bounds.parked)
      throw new Fault('limit', `${parking.size} polls wait already`, { about: 'poll' })
    if (parking.isClosed || signal?.aborted) return this.ended(false)
    signal?.addEventListener('abort', this, once)
    parking.add(this)
    this.place.join(this)
  }

  wake(): void {
    this.leave(true)
  }

  end(): void {
    this.leave(false)
  }

  /** Of the signal: its client gave up. */
  handleEvent(): void {
    this.leave(false)
  }

  protected leave(isWoken: boolean): void {
    if (!this.core.parking.remove(this)) return
    this.place.leave(this)
    this.signal?.removeEventListener('abort', this)
    this.ended(isWoken)
  }
}

const once = { once: true }

/** Polls whose time is over together are ended together. */
const TOGETHER_MS = 50
/** Slots of {@link TOGETHER_MS}; who waits for longer than all of them is passed over in the meantime. */
const SLOTS = 1024

/** All polls that wait, by when their time is over. */
export class Parking {
  readonly #core: Core
  readonly #slots: (Poll[] | undefined)[] = new Array(SLOTS).fill(undefined)
  /** The newest slot that was looked at. */
  #swept = 0
  /** The slot that is looked at next, when its time has come. */
  #next = Number.POSITIVE_INFINITY
  #cancel: (() => void) | undefined
  #isClosed = false
  size = 0

  constructor(core: Core) {
    this.#core = core
  }

  /** Every poll ends, and none waits any more. */
  close(): void {
    this.#isClosed = true
    for (const polls of this.#slots) for (const poll of [...(polls ?? [])]) poll.end()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  add(poll: Poll): void {
    if (this.size++ === 0) this.#swept = Math.floor(this.#core.clock.now() / TOGETHER_MS)
    const slot = Math.max(Math.ceil(poll.until / TOGETHER_MS), this.#swept + 1)
    poll.slot = slot % SLOTS
    let polls = this.#slots[poll.slot]
    if (!polls) this.#slots[poll.slot] = polls = []
    poll.index = polls.push(poll) - 1
    if (slot < this.#next) this.#later(slot)
  }

  /** @returns whether it was here */
  remove(poll: Poll): boolean {
    const { slot, index } = poll
    if (slot < 0) return false
    const polls = this.#slots[slot]!
    const last = polls.pop()!
    if (last !== poll) {
      polls[index] = last
      last.index = index
    }
    poll.slot = -1
    this.size--
    return true
  }

  #later(slot: number): void {
    this.#cancel?.()
    this.#next = slot
    this.#cancel = this.#core.wheel.at(slot * TOGETHER_MS, () => this.#sweep())
  }

  #sweep(): void {
    const now = this.#core.clock.now()
    const to = Math.floor(now / TOGETHER_MS)
    const from = Math.max(this.#swept + 1, to - SLOTS + 1)
    this.#swept = to
    this.#next = Number.POSITIVE_INFINITY
    for (let slot = from; slot <= to; slot++) {
      const over = this.#slots[slot % SLOTS]?.filter(({ until }) => until <= now)
      for (const poll of over ?? []) poll.end()
    }
    let next = to + 1
    while (next <= to + SLOTS && !this.#slots[next % SLOTS]?.length) next++
    if (next < this.#next && next <= to + SLOTS) this.#later(next)
  }
}

class Once extends Poll {
  readonly #place: Place
  readonly #resolve: (isWoken: boolean) => void

  constructor(core: Core, until: EpochMs, signal: Signal | undefined, place: Place, resolve: Once['ended']) {
    super(core, until, signal)
    this.#place = place
    this.#resolve = resolve
  }

  protected get place(): Place {
    return this.#place
  }

  protected ended(isWoken: boolean): void {
    this.#resolve(isWoken)
  }
}

/**
 * Parks a poll.
 * @param place where it is woken from
 * @returns whether it was woken, before its time was over, its client gave up or the broker closed
 * @throws Fault 'limit' about 'poll' when too many wait
 */
export const park = (core: Core, until: EpochMs, signal: Signal | undefined, place: Place): Promise<boolean> =>
  new Promise((resolve) => new Once(core, until, signal, place, resolve).park())
