import { type EpochMs, Fault, type Message, type Stored, type TopicSpec } from '@sluice/core'
import { Bindings } from './bindings.ts'
import type { Prelude } from './events.ts'
import { type Facts, factsOf, fullTopic } from './facts.ts'
import { defaultGroup, GroupState } from './groups.ts'
import { Halves } from './halves.ts'
import { Heap } from './heap.ts'
import { InboxState, ShareState } from './inboxes.ts'
import type { Touched } from './log.ts'
import { flagsOf, hashTag, newShelf } from './queueIndex.ts'
import { RetainedTopics } from './retained.ts'
import { Standing } from './standing.ts'
import { checkGroupName, type QueueState, TopicState } from './topics.ts'

export interface Bounds {
  readonly topics: number
  readonly groups: number
  readonly parked: number
  /** Popped and not settled, of one group in one topic. */
  readonly leases: number
  readonly inboxes: number
  /** Waiting in one inbox or share. */
  readonly inboxLength: number
  /** Of one inbox. */
  readonly bindings: number
  readonly retained: number
  readonly delayed: number
  /** Transactions without a decision. */
  readonly halves: number
  readonly onceKeys: number
}

export const defaultBounds: Bounds = {
  topics: 100_000,
  groups: 50_000,
  parked: 100_000,
  leases: 100_000,
  inboxes: 100_000,
  inboxLength: 10_000,
  bindings: 10_000,
  retained: 100_000,
  delayed: 1_000_000,
  halves: 100_000,
  onceKeys: 100_000,
}

/** A record that waits for its time. */
export interface Delayed {
  /** The place where it was first stored: it stays the same when the record is written again because its segment goes. */
  readonly key: number
  place: number
  size: number
  readonly at: EpochMs
  /** Chosen by its producer; −1: any. */
  readonly queue: number
}

/** The first answer to a publish that may be repeated. `durable`: it may not be said before. */
export interface Answer {
  readonly stored: readonly Stored[]
  readonly durable?: Promise<void>
}
/** Kept under a key. */
export interface Kept extends Answer {
  readonly until: EpochMs
}

export interface PendingWill {
  readonly record: Buffer
  readonly client: string
  readonly fireAt: EpochMs
}

export interface Pointed {
  readonly place: number
  readonly size: number
}

/**
 * Everything that is known, rebuilt from the log: the same methods change it while serving, right after an entry was
 * appended, and in recovery, when the entry is read again.
 */
export class State {
  readonly node: string
  readonly bounds: Bounds
  readonly topics = new Map<string, TopicState>()
  /** Topics that keep less than the log does. */
  readonly trimmed = new Set<TopicState>()
  readonly groups = new Map<string, GroupState>()
  readonly inboxes = new Map<string, InboxState>()
  readonly shares = new Map<string, ShareState>()
  readonly bindings = new Bindings()
  readonly retained = new RetainedTopics()
  /** By key. */
  readonly delayed = new Map<number, Delayed>()
  readonly halves = new Halves()
  readonly #due = new Heap<Delayed>()
  readonly once = new Map<string, Kept>()
  readonly #onceDue = new Heap<string>()
  /** Wills of inboxes that are gone, by the inbox's name. */
  readonly wills = new Map<string, PendingWill>()
  readonly standing = new Standing()
  readonly #shelf = newShelf()
  epoch = 0
  storedAt: EpochMs = 0
  /** In recovery: the place of the entry that is read, and what knows already of all below some place. */
  at = Number.POSITIVE_INFINITY
  readonly #since = new Map<object, number>()
  /** Told of what readers must not see before it is durable. */
  touch: (what: Touched) => void = ignore
  /** Told of each message that some binding wants, and for how many inboxes and shares it is. */
  matched: (message: Message, place: number, size: number, readers: number) => void = ignore
  /** Told of each message in a queue. */
  keyed: (topic: string, facts: Facts, place: number) => void = ignore

  constructor(node: string, bounds: Bounds) {
    this.node = node
    this.bounds = bounds
  }

  /** This comes from a slice of a snapshot that was made when the log ended there. */
  isSince(what: object, place: number): void {
    if (place > 0) this.#since.set(what, place)
  }

  /** Whether what is read now is new to this one: always, while serving. */
  applies(what: object): boolean {
    return this.#since.size === 0 || this.at >= (this.#since.get(what) ?? 0)
  }

  putTopic(spec: TopicSpec, place: number): TopicState {
    let topic = this.topics.get(spec.topic)
    if (topic) topic.grow(spec, this.node)
    else this.topics.set(spec.topic, (topic = new TopicState(spec, place, this.node, this.#shelf)))
    if (spec.retain) this.trimmed.add(topic)
    else this.trimmed.delete(topic)
    return topic
  }

  deleteTopic(name: string): void {
    const topic = this.topics.get(name)
    if (!topic) return
    this.topics.delete(name)
    this.trimmed.delete(topic)
    for (const { records } of topic.queues) records.leaveShelf()
    for (const group of this.groups.values()) group.topics.delete(name)
    for (const { full } of this.retained) {
      if (full === name || full.startsWith(`${name}/`)) this.retained.delete(full)
    }
  }

  /** The group, made with the usual settings if it was unknown. @throws Fault 'invalid' about 'group', 'limit' */
  group(name: string): GroupState {
    const group = this.groups.get(name)
    if (group) return group
    checkGroupName(name)
    if (this.groups.size >= this.bounds.groups)
      throw new Fault('limit', `there are ${this.groups.size} groups already`, { about: 'group' })
    return this.groupAgain(name)
  }

  /** Of what is read again: bounds are kept where things are made. */
  groupAgain(name: string): GroupState {
    let group = this.groups.get(name)
    if (!group) this.groups.set(name, (group = new GroupState(defaultGroup(name))))
    return group
  }

  /**
   * A record was appended to a queue.
   * @param offset in recovery the record's own, which leaves holes flagged where records are lost
   */
  indexed(
    queue: QueueState,
    offset: number,
    place: number,
    size: number,
    message: Message,
    facts: Facts,
    publisher?: string,
  ): void {
    this.#push(queue, offset, place, size, hashTag(facts.tag), flagsOf(facts.expires, facts.priority))
    this.touch(queue)
    this.keyed(message.topic, facts, place)
    if (facts.retain) this.#retain(message, facts, place, size)
    this.#fanOut(message, facts, place, size, publisher)
  }

  /** In recovery, of a record that only its queue is to know of: what else it did is in the snapshot. */
  restore(queue: QueueState, offset: number, place: number, size: number, tag: number, flags: number): void {
    if (offset >= queue.max) this.#push(queue, offset, place, size, tag, flags)
  }

  #push(queue: QueueState, offset: number, place: number, size: number, tag: number, flags: number): void {
    const { max } = queue
    if (offset > max) {
      if (max === queue.min) queue.startAt(offset)
      else queue.skipTo(offset)
    }
    this.standing.add(queue, offset, offset > max, place, size, tag, flags)
    queue.push(place, size, tag, flags)
  }

  /** Everything was read: what is there is durable, what lies below `first` is gone, and no session lives any more. */
  recovered(first: number, now: EpochMs): void {
    this.#since.clear()
    this.at = Number.POSITIVE_INFINITY
    this.forget(first)
    for (const { queues } of this.topics.values()) for (const queue of queues) queue.visible = queue.records.max
    for (const inbox of this.inboxes.values()) inbox.showAll()
    for (const share of this.shares.values()) share.showAll()
    for (const group of this.groups.values()) {
      for (const { cursors } of group.topics.values()) {
        for (const cursor of cursors.values()) {
          for (const held of cursor.held.values())
            if (held.session !== undefined) cursor.giveBack(held, now + SESSION_GRACE_MS)
        }
      }
    }
  }

  /** Whatever points below this position of the log. */
  forget(first: number): void {
    for (const [name, topic] of this.topics) {
      for (const { records, queue } of topic.queues) {
        records.dropBelow(first)
        if (records.min === 0) continue
        for (const group of this.groups.values())
          group.topics.get(name)?.cursors.get(queue.index)?.retained(records.min)
      }
    }
    for (const inbox of this.inboxes.values()) inbox.dropBelow(first)
    for (const share of this.shares.values()) share.dropBelow(first)
  }

  /** Whether a noLocal binding leaves this message out because it is its own client's. */
  leavesOut(message: Message, facts: Facts, publisher: string): boolean {
    return !this.bindings.empty && this.bindings.leavesOut(facts.path, message, publisher)
  }

  delay(delayed: Delayed): void {
    this.delayed.set(delayed.key, delayed)
    this.#due.push(delayed.at, delayed)
  }

  /** The record that is due first. */
  get firstDelayed(): Delayed | undefined {
    return this.#due.first((_, delayed) => this.delayed.get(delayed.key) === delayed)
  }

  /** A record was written again because its segment goes: what pointed to it points to the new place. */
  moved({ copy = -1, deliverAt, half }: Prelude, place: number, size: number, message: Message): void {
    if (deliverAt !== undefined || half) {
      const moved = half ? this.halves.get(copy) : this.delayed.get(copy)
      if (moved) Object.assign(moved, { place, size })
      return
    }
    const full = fullTopic(message.topic, factsOf(message))
    this.retained.moved(full, copy, place, size)
  }

  keep(key: string, until: EpochMs, answer: Answer): void {
    if (!this.once.has(key)) this.#onceDue.push(until, key)
    this.once.set(key, { until, ...answer })
  }

  /** Forgets the keys whose time is over. */
  forgetKeys(now: EpochMs): void {
    for (;;) {
      const key = this.#onceDue.first(() => true)
      const kept = key === undefined ? undefined : this.once.get(key)
      if (key === undefined || (kept && kept.until > now)) return
      this.#onceDue.shift()
      this.once.delete(key)
    }
  }

  /** Those whose time has come; they stay known until they are moved. */
  takeDue(now: EpochMs, max: number): Delayed[] {
    const due: Delayed[] = []
    while (due.length < max) {
      const first = this.firstDelayed
      if (!first || first.at > now) break
      this.#due.shift()
      due.push(first)
    }
    return due
  }

  toInbox(name: string, place: number, size: number): void {
    const inbox = this.inboxes.get(name)
    if (!inbox || !this.applies(inbox)) return
    inbox.push(place, size, undefined, this.bounds.inboxLength)
    this.touch(inbox)
  }

  inbox(name: string): InboxState {
    let inbox = this.inboxes.get(name)
    if (!inbox) this.inboxes.set(name, (inbox = new InboxState(name)))
    return inbox
  }

  share(share: string, pattern: string): ShareState {
    const made = new ShareState(share, pattern)
    const known = this.shares.get(made.key)
    if (known) return known
    this.shares.set(made.key, made)
    return made
  }

  #retain(message: Message, facts: Facts, place: number, size: number): void {
    const full = fullTopic(message.topic, facts)
    if (message.body.length === 0) this.retained.delete(full)
    else if (this.retained.get(full) || this.retained.size < this.bounds.retained) this.retained.set(full, place, size)
  }

  #fanOut(message: Message, facts: Facts, place: number, size: number, publisher: string | undefined): void {
    if (this.bindings.empty || message.topic.startsWith('%')) return
    const routes = this.bindings.match(facts.path, message, publisher)
    if (routes.length === 0) return
    this.matched(message, place, size, routes.length)
    for (const { target, notes } of routes) {
      if (!this.applies(target)) continue
      target.push(place, size, notes, this.bounds.inboxLength)
      this.touch(target)
    }
  }
}

/** What a session held when the broker stopped is there again after so long: its client may come back and settle it. */
const SESSION_GRACE_MS = 30_000
const ignore = () => undefined
