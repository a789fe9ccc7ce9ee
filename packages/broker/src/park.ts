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

/** A poll that waits: one object and two memberships, for there may be a hundred thousand. */
class Parked implements Reader {
  readonly #parking: Parking
  readonly #place: Place
  readonly #key: number
  readonly #signal: AbortSignal | undefined
  readonly #resolve: (woken: boolean) => void

  constructor(
    parking: Parking,
    place: Place,
    key: number,
    signal: AbortSignal | undefined,
    resolve: (woken: boolean) => void,
  ) {
    this.#parking = parking
    this.#place = place
    this.#key = key
    this.#signal = signal
    this.#resolve = resolve
    signal?.addEventListener('abort', this, { once: true })
  }

  wake(): void {
    this.#done(true)
  }

  end(): void {
    this.#done(false)
  }

  /** Of the signal: its client gave up. */
  handleEvent(): void {
    this.#done(false)
  }

  #done(woken: boolean): void {
    if (!this.#parking.left(this, this.#key)) return
    this.#place.leave(this)
    this.#signal?.removeEventListener('abort', this)
    this.#resolve(woken)
  }
}

/** All polls that wait, by when their time is over. */
export class Parking {
  readonly #core: Core
  readonly #slots = new Map<number, { readonly polls: Set<Parked>; readonly cancel: () => void }>()
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

  /** See {@link park}. */
  wait(until: EpochMs, signal: AbortSignal | undefined, place: Place): Promise<boolean> {
    if (this.#isClosed || signal?.aborted) return Promise.resolve(false)
    const key = Math.ceil(until / TOGETHER_MS)
    return new Promise((resolve) => {
      const poll = new Parked(this, place, key, signal, resolve)
      this.size++
      const slot = this.#slots.get(key)
      if (slot) slot.polls.add(poll)
      else {
        const polls = new Set([poll])
        const end = () => {
          for (const one of [...polls]) one.end()
        }
        this.#slots.set(key, { polls, cancel: this.#core.wheel.at(key * TOGETHER_MS, end) })
      }
      place.join(poll)
    })
  }

  /** @returns whether it was here */
  left(poll: Parked, key: number): boolean {
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

/**
 * Parks a poll: no timer of its own.
 * @param place where it is woken from
 * @returns whether it was woken, before its time was over, its client gave up or the broker closed
 * @throws Fault 'limit' about 'poll' when too many wait
 */
export const park = (core: Core, until: EpochMs, signal: AbortSignal | undefined, place: Place): Promise<boolean> => {
  const { parking } = core
  if (parking.size >= core.state.bounds.parked)
    throw new Fault('limit', `${parking.size} polls wait already`, { about: 'poll' })
  return parking.wait(until, signal, place)
}
