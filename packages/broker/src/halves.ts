import type { EpochMs, Half, Ms, Offset } from '@sluice/core'
import type { StoredRecord } from '@sluice/remoting'
import type { Prelude } from './events.ts'
import { Heap } from './heap.ts'

/** Source: RocketMQ's transactionTimeOut */
export const CHECK_AFTER_MS: Ms = 6_000

/** A message that nobody sees before its producer has decided. */
export interface HalfState {
  /** The place where it was first stored, which clients name it by; it stays when the record is written again elsewhere. */
  readonly key: Offset
  place: Offset
  size: number
  readonly topic: string
  /** Of its producer; empty: nobody can be asked. */
  readonly group: string
  readonly id: string
  /** Chosen by its producer; −1: any. */
  readonly queue: number
  /** Whose message it is, for noLocal. */
  readonly publisher: string | undefined
  readonly storedAt: EpochMs
  /** How often its producer was asked. */
  checks: number
  /** When it is asked next. */
  checkAt: EpochMs
  /** The question was due and nobody was there to answer it. */
  wanted: boolean
  /** Its record is being read to be committed or parked. */
  ending: boolean
}

export const halfOf = (message: StoredRecord, place: Offset, size: number, prelude: Prelude): HalfState => ({
  key: place,
  place,
  size,
  topic: message.topic,
  group: prelude.half?.group ?? '',
  id: message.id,
  queue: prelude.queue ?? -1,
  publisher: prelude.publisher,
  storedAt: message.storedAt,
  checks: 0,
  checkAt: message.storedAt + (prelude.half?.checkAfter ?? CHECK_AFTER_MS),
  wanted: false,
  ending: false,
})

/** As clients hold it. */
export const handleOf = (node: string, { topic, group, id, key }: HalfState): Half => ({
  node,
  topic,
  group,
  id,
  place: key,
  offset: 0,
})

const groupKey = (topic: string, group: string): string => `${topic}\x00${group}`

/** Every transaction without a decision: by key, by topic and group, and by when its producer is asked. */
export class Halves {
  readonly #all = new Map<Offset, HalfState>()
  readonly #groups = new Map<string, Set<HalfState>>()
  readonly #due = new Heap<HalfState>()

  get size(): number {
    return this.#all.size
  }

  get(key: Offset): HalfState | undefined {
    return this.#all.get(key)
  }

  all(): Iterable<HalfState> {
    return this.#all.values()
  }

  /** In the order they were stored. */
  of(topic: string, group: string): Iterable<HalfState> {
    return this.#groups.get(groupKey(topic, group)) ?? []
  }

  /** In place of one with the same key. */
  add(half: HalfState): void {
    this.delete(half.key)
    this.#all.set(half.key, half)
    const key = groupKey(half.topic, half.group)
    const known = this.#groups.get(key)
    if (known) known.add(half)
    else this.#groups.set(key, new Set([half]))
    this.#due.push(half.checkAt, half)
  }

  delete(key: Offset): void {
    const half = this.#all.get(key)
    if (!half) return
    this.#all.delete(key)
    const group = groupKey(half.topic, half.group)
    const others = this.#groups.get(group)
    others?.delete(half)
    if (others?.size === 0) this.#groups.delete(group)
  }

  checked(key: Offset, checks: number, checkAt: EpochMs): void {
    const half = this.#all.get(key)
    if (!half) return
    half.checks = checks
    half.wanted = false
    this.later(half, checkAt)
  }

  later(half: HalfState, checkAt: EpochMs): void {
    half.checkAt = checkAt
    this.#due.push(checkAt, half)
  }

  /** The half that is asked about first. */
  get first(): HalfState | undefined {
    return this.#due.first((time, half) => half.checkAt === time && this.#all.get(half.key) === half)
  }
}
