import type { Filter, GroupSpec, Ms, Start } from '@sluice/core'
import { Cursor, type Held } from './cursor.ts'
import type { Place } from './park.ts'
import type { Ask } from './popSelect.ts'
import { SmallMap, SmallSet } from './small.ts'
import { Waiters } from './waiters.ts'

/** RocketMQ's back-off of push consumers: delay levels 3 to 18. */
export const defaultBackoff: readonly Ms[] = [
  10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
].map((seconds) => seconds * 1000)

/** 16 retries. */
export const defaultAttempts = 17

export const defaultGroup = (group: string): GroupSpec => ({
  group,
  fifo: false,
  maxAttempts: defaultAttempts,
  backoff: defaultBackoff,
})

/** How long after a failed attempt the next one comes. */
export const backoffOf = ({ backoff }: GroupSpec, attempt: number): Ms => {
  if ('initial' in backoff) return Math.min(backoff.max, backoff.initial * backoff.times ** (attempt - 1))
  return backoff[Math.min(attempt, backoff.length) - 1] ?? 0
}

/** A message that a pop with an attempt id was given. */
interface Attempted {
  readonly queue: number
  readonly held: Held
  readonly poppedAt: number
}

/** What one group has of one topic. */
export class GroupTopic {
  readonly group: GroupState
  readonly topic: string
  readonly cursors = new SmallMap<number, Cursor>()
  /** Pops that wait, the longest first. */
  readonly parked = new Waiters()
  /** Where they wait, once one has. */
  bench: Place | undefined
  /** Batches by attempt id, so that a pop repeated after a lost answer gets the same messages. */
  attempts: Map<string, readonly Attempted[]> | undefined
  /** What was asked last. */
  last: Ask | undefined
  turn = 0
  /** When the parked pops are to be looked at because a held message comes back. */
  wakeAt = Number.POSITIVE_INFINITY
  unwake: (() => void) | undefined

  constructor(group: GroupState, topic: string) {
    this.group = group
    this.topic = topic
  }

  cursor(queue: number): Cursor {
    let cursor = this.cursors.get(queue)
    if (!cursor) this.cursors.set(queue, (cursor = new Cursor()))
    return cursor
  }

  get held(): number {
    let held = 0
    for (const cursor of this.cursors.values()) held += cursor.held.size
    return held
  }
}

/** What the members of a group said of one topic last. */
export interface Subscription {
  readonly filter: Filter | undefined
  readonly from: Start
  readonly version: number
}

export class GroupState {
  spec: GroupSpec
  /** Put by an administrator, not made on first use. */
  explicit = false
  readonly topics = new SmallMap<string, GroupTopic>()
  readonly subscriptions = new SmallMap<string, Subscription>()
  /** Sessions that consume in it. */
  readonly members = new SmallSet<string>()

  constructor(spec: GroupSpec) {
    this.spec = spec
  }

  topic(topic: string): GroupTopic {
    let found = this.topics.get(topic)
    if (!found) this.topics.set(topic, (found = new GroupTopic(this, topic)))
    return found
  }
}
