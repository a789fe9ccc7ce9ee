import {
  compileFilter,
  type Delivered,
  type EpochMs,
  Fault,
  type Filter,
  type GroupSpec,
  type Lease,
  type Ms,
  type Outcome,
  type Queue,
  type Session,
  type StoredMessage,
} from '@sluice/core'
import { NODE } from './log.ts'

interface Item {
  readonly message: StoredMessage
  readonly attempt: number
  readonly visibleAt: EpochMs
}

interface Held {
  readonly item: Item
  readonly lease: Lease
  readonly until: EpochMs
  /** Whether coming back by the clock is another attempt. */
  readonly counts: boolean
  readonly session: Session | undefined
}

export interface Take {
  readonly max: number
  readonly invisible: number | 'session'
  readonly fifo: boolean
  readonly filter: Filter | undefined
  readonly queue: Queue | undefined
  readonly session: Session
}

export interface Hooks {
  readonly now: () => EpochMs
  readonly wakeAt: (at: EpochMs) => void
  readonly dead: (group: string, message: StoredMessage) => void
  /** Of a consumer that keeps its own offsets: it finds the message in its retry topic after so long. */
  readonly sendBack: (group: string, message: StoredMessage, after: Ms) => void
}

export const backoffOf = (spec: GroupSpec, attempt: number): number => {
  const { backoff } = spec
  if ('initial' in backoff) return Math.min(backoff.max, backoff.initial * 2 ** (attempt - 1))
  return backoff[Math.min(attempt, backoff.length) - 1] ?? 0
}

/** The messages of one topic as one group shares them out: ready, or leased to somebody. */
export class Pool {
  readonly #topic: string
  readonly #spec: () => GroupSpec
  readonly #hooks: Hooks
  #ready: Item[] = []
  readonly #held = new Map<number, Held>()
  /** When each was held last, so that two leases of one message are told apart. */
  readonly #heldAt = new Map<number, EpochMs>()

  constructor(topic: string, spec: () => GroupSpec, hooks: Hooks) {
    this.#topic = topic
    this.#spec = spec
    this.#hooks = hooks
  }

  get leased(): number {
    return this.#held.size
  }

  /** The lowest place that is not settled. */
  first(queue: number): number | undefined {
    const open = [...this.#ready, ...[...this.#held.values()].map(({ item }) => item)]
    const offsets = open.filter(({ message }) => message.queue.index === queue).map(({ message }) => message.offset)
    return offsets.length === 0 ? undefined : Math.min(...offsets)
  }

  offer(message: StoredMessage, attempt = 1, visibleAt: EpochMs = 0): void {
    let at = this.#ready.length
    while (at > 0 && this.#ready[at - 1]!.message.place > message.place) at--
    this.#ready.splice(at, 0, { message, attempt, visibleAt })
    if (visibleAt > this.#hooks.now()) this.#hooks.wakeAt(visibleAt)
  }

  /** What a take would give, without taking. */
  peek(max: number): readonly Delivered[] {
    const now = this.#hooks.now()
    return this.#ready
      .filter(({ visibleAt }) => visibleAt <= now)
      .slice(0, max)
      .map(({ message, attempt }) => ({ message, attempt }))
  }

  take(take: Take): readonly Delivered[] {
    this.#expire()
    const now = this.#hooks.now()
    const matches = compileFilter(take.filter)
    const delivered: Delivered[] = []
    const blocked = new Set<string>()
    if (take.fifo) for (const { item } of this.#held.values()) blocked.add(lineOf(item.message))
    this.#ready = this.#ready.filter((item) => {
      const { message } = item
      if (delivered.length >= take.max) return true
      if (take.queue && take.queue.index >= 0 && take.queue.index !== message.queue.index) return true
      if (message.expiresAt !== undefined && message.expiresAt <= now) return false
      if (take.fifo && blocked.has(lineOf(message))) return true
      if (item.visibleAt > now) {
        if (take.fifo) blocked.add(lineOf(message))
        return true
      }
      if (matches(message)) delivered.push(this.#give(item, take, now))
      return false
    })
    return delivered
  }

  /** @returns the new receipt where the lease lives on. @throws Fault 'receiptExpired', 'invalid' */
  settle(lease: Lease, outcome: Outcome, message: StoredMessage | undefined): Lease | undefined {
    this.#expire()
    const held = this.#heldBy(lease)
    const { now, dead } = this.#hooks
    if (lease.poppedAt === 0) return this.#sendBack(lease, outcome, message)
    if (!held || held.lease.poppedAt !== lease.poppedAt) throw expired()
    if (outcome.kind === 'received') throw new Fault('invalid', 'a group has no half-done deliveries')
    if (outcome.kind !== 'retry') {
      this.#held.delete(held.lease.place)
      if (outcome.kind === 'dead') dead(lease.group, held.item.message)
      return undefined
    }
    const spec = this.#spec()
    if (outcome.counts && held.item.attempt >= (outcome.limit ?? spec.maxAttempts)) {
      this.#held.delete(held.lease.place)
      dead(lease.group, held.item.message)
      return undefined
    }
    const after = outcome.after ?? backoffOf(spec, held.item.attempt)
    if (after === 0) {
      this.#held.delete(held.lease.place)
      this.offer(held.item.message, held.item.attempt + (outcome.counts ? 1 : 0))
      return undefined
    }
    return this.#hold(held.item, now(), after, outcome.counts, undefined)
  }

  /** Where a message is said by its place, or by queue and offset alone. */
  #heldBy({ place, queue, offset }: Lease): Held | undefined {
    if (place >= 0) return this.#held.get(place)
    return [...this.#held.values()].find(({ lease }) => lease.queue === queue && lease.offset === offset)
  }

  /** A session is gone: what it held for as long as it lives comes back. */
  release(session: Session): void {
    for (const [place, { item, session: holder }] of this.#held) {
      if (holder !== session) continue
      this.#held.delete(place)
      this.offer(item.message, item.attempt + 1)
    }
  }

  #sendBack(lease: Lease, outcome: Outcome, message: StoredMessage | undefined): undefined {
    if (!message) throw expired()
    const spec = this.#spec()
    const limit = outcome.kind === 'retry' ? (outcome.limit ?? spec.maxAttempts) : 0
    if (outcome.kind === 'dead' || (outcome.kind === 'retry' && lease.attempt >= limit)) {
      this.#hooks.dead(lease.group, message)
    } else if (outcome.kind === 'retry') {
      const after = outcome.after ?? backoffOf(spec, lease.attempt)
      this.#hooks.sendBack(lease.group, message, after)
    } else throw new Fault('invalid', 'what was pulled is settled by its offset', { about: 'receipt' })
  }

  #give(item: Item, { invisible, session }: Take, now: EpochMs): Delivered {
    const { message, attempt } = item
    if (invisible === 0) return { message, attempt }
    const lease =
      invisible === 'session'
        ? this.#hold(item, now, Number.POSITIVE_INFINITY, true, session)
        : this.#hold(item, now, invisible, true, undefined)
    return { message, attempt, receipt: lease }
  }

  #hold(item: Item, now: EpochMs, span: number, counts: boolean, session: Session | undefined): Lease {
    const { message, attempt } = item
    const poppedAt = Math.max(now, (this.#heldAt.get(message.place) ?? 0) + 1)
    this.#heldAt.set(message.place, poppedAt)
    const lease: Lease = {
      of: 'group',
      node: NODE,
      topic: this.#topic,
      group: this.#spec().group,
      queue: message.queue.index,
      offset: message.offset,
      place: message.place,
      first: message.offset,
      poppedAt,
      invisible: Number.isFinite(span) ? span : 0,
      revive: 0,
      retry: 0,
      attempt,
    }
    this.#held.set(message.place, { item, lease, until: now + span, counts, session })
    if (Number.isFinite(span)) this.#hooks.wakeAt(now + span)
    return lease
  }

  #expire(): void {
    const now = this.#hooks.now()
    for (const [place, { item, until, counts, lease }] of this.#held) {
      if (until > now) continue
      this.#held.delete(place)
      if (counts && item.attempt >= this.#spec().maxAttempts) this.#hooks.dead(lease.group, item.message)
      else this.offer(item.message, item.attempt + (counts ? 1 : 0))
    }
  }
}

/** Messages that must follow one another: those of a group, else those of a queue. */
const lineOf = (message: StoredMessage): string => message.group ?? ` ${message.queue.index}`

export const expired = () => new Fault('receiptExpired', 'the receipt is not valid any more', { about: 'receipt' })
