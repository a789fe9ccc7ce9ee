import { type EpochMs, Fault } from '@sluice/core'
import type { Core } from './core.ts'
import type { Reader } from './topics.ts'

/** Where a poll waits and is woken from. */
export interface Place {
  join(reader: Reader): void
  leave(reader: Reader): void
}

/** Polls whose time is over together share one entry of the wheel. */
const TOGETHER_MS = 50

/** A poll that may wait: one object and two memberships, for there may be a hundred thousand. */
export abstract class Poll implements Reader {
  readonly core: Core
  readonly until: EpochMs
  readonly signal: AbortSignal | undefined

  constructor(core: Core, until: EpochMs, signal: AbortSignal | undefined) {
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

/** All polls that wait, by when their time is over. */
export class Parking {
  readonly #core: Core
  readonly #slots = new Map<number, { readonly polls: Set<Poll>; readonly cancel: () => void }>()
  size = 0
  #isClosed = false

  constructor(core: Core) {
    this.#core = core
  }

  /** Every poll ends, and none waits any more. */
  close(): void {
    this.#isClosed = true
    for (const { polls } of [...this.#slots.values()]) for (const poll of [...polls]) poll.end()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  add(poll: Poll): void {
    this.size++
    const key = slotOf(poll)
    const slot = this.#slots.get(key)
    if (slot) {
      slot.polls.add(poll)
      return
    }
    const polls = new Set([poll])
    const end = () => {
      for (const one of [...polls]) one.end()
    }
    this.#slots.set(key, { polls, cancel: this.#core.wheel.at(key * TOGETHER_MS, end) })
  }

  /** @returns whether it was here */
  remove(poll: Poll): boolean {
    const key = slotOf(poll)
    const slot = this.#slots.get(key)
    if (!slot?.polls.delete(poll)) return false
    this.size--
    if (slot.polls.size === 0) {
      slot.cancel()
      this.#slots.delete(key)
    }
    return true
  }
}

const slotOf = ({ until }: Poll): number => Math.ceil(until / TOGETHER_MS)

class Once extends Poll {
  readonly #place: Place
  readonly #resolve: (isWoken: boolean) => void

  constructor(core: Core, until: EpochMs, signal: AbortSignal | undefined, place: Place, resolve: Once['ended']) {
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
export const park = (core: Core, until: EpochMs, signal: AbortSignal | undefined, place: Place): Promise<boolean> =>
  new Promise((resolve) => new Once(core, until, signal, place, resolve).park())
