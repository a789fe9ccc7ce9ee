import { Fault, type Queue, type TopicSpec, type TopicType } from '@sluice/core'
import type { Facts } from './facts.ts'
import type { Touched } from './log.ts'
import { newShelf, QueueIndex } from './queueIndex.ts'
import type { Shelf } from './shelf.ts'
import { type Waiter, Waiters } from './waiters.ts'

export const QUEUES_MAX = 1024
export const NODE_NAME = /^[A-Za-z0-9._-]{1,64}$/
const NAME = /^[%|a-zA-Z0-9_-]+$/
const NAME_MAX = 127
/** A retry or dead-letter topic carries a group's name. */
const SYSTEM_NAME_MAX = 255

export const retryTopic = (group: string): string => `%RETRY%${group}`
export const deadTopic = (group: string): string => `%DLQ%${group}`
export const isSystemTopic = (topic: string): boolean => topic.startsWith('%RETRY%') || topic.startsWith('%DLQ%')

/** @throws Fault 'invalid' about 'topic' */
export const checkTopicName = (topic: string): void => {
  const max = isSystemTopic(topic) ? SYSTEM_NAME_MAX : NAME_MAX
  if (topic.length > max) throw new Fault('invalid', `topic name is over ${max} characters`, { about: 'topic' })
  if (!NAME.test(topic))
    throw new Fault('invalid', 'topic name has characters other than letters, digits, %, |, _ and -', {
      about: 'topic',
    })
}

/** @throws Fault 'invalid' about 'group' */
export const checkGroupName = (group: string): void => {
  if (group.length === 0 || group.length > NAME_MAX || !NAME.test(group))
    throw new Fault('invalid', `group name is not 1 to ${NAME_MAX} letters, digits, %, |, _ and -`, { about: 'group' })
}

/** One object with its index: a message finds both at once. */
export class QueueState extends QueueIndex implements Touched {
  readonly topic: TopicState
  readonly queue: Queue
  readonly index: number
  /** Readers see offsets below it: what is durable. */
  visible = 0
  touchedIn = 0
  readers: Waiters | undefined
  /** The segment that it was written into last, and its number there: see Standing. */
  segment = 0
  number = 0
  #sealed = 0

  constructor(topic: TopicState, queue: Queue, shelf: Shelf) {
    super(shelf)
    this.topic = topic
    this.queue = queue
    this.index = queue.index
  }

  /** Where its messages are. */
  get records(): QueueIndex {
    return this
  }

  join(waiter: Waiter): void {
    this.readers ??= new Waiters()
    this.readers.add(waiter)
  }

  leave(waiter: Waiter): void {
    this.readers?.delete(waiter)
  }

  sealed(): void {
    this.#sealed = this.max
  }

  shown(): void {
    if (this.#sealed <= this.visible) return
    this.visible = this.#sealed
    this.topic.arrived(this)
  }
}

export class TopicState {
  /** Its queue, if it has no other. */
  #only: QueueState | undefined
  /** It takes every type of message. */
  isMixed = true
  #turn = 0
  #waiting: Waiters | undefined
  /** Always the same array: pops that wait hold it. */
  readonly queues: QueueState[]
  readonly name: string
  spec: TopicSpec
  /** Position in the log from which on its name means this topic. */
  readonly created: number
  /** Its name means nothing any more, or another topic. */
  deleted = false
  readonly #shelf: Shelf

  constructor(spec: TopicSpec, created: number, node: string, shelf = newShelf()) {
    this.name = spec.topic
    this.spec = spec
    this.created = created
    this.#shelf = shelf
    // Made with its length, it has room for no more.
    this.queues = Array.from({ length: spec.queues }, (_, at) => this.#queue(at, node))
    this.grow(spec, node)
  }

  #queue(index: number, node: string): QueueState {
    return new QueueState(this, { topic: this.name, node, index }, this.#shelf)
  }

  /** Queues are only added: an offset once given stays readable. */
  grow(spec: TopicSpec, node: string): void {
    const { queues } = this
    while (queues.length < spec.queues) queues.push(this.#queue(queues.length, node))
    this.spec = { ...spec, queues: queues.length }
    this.isMixed = spec.type === 'mixed'
    this.#only = queues.length === 1 ? queues[0] : undefined
  }

  /** Pops that wait for messages of this topic. */
  get waiting(): Waiters {
    return (this.#waiting ??= new Waiters())
  }

  /** The queue for a message that names none: a FIFO group's own, else each in turn. */
  pick(group: string | undefined): QueueState {
    if (this.#only) return this.#only
    const { queues } = this
    if (group === undefined) return queues[this.#turn++ % queues.length]!
    let hash = 0
    for (let at = 0; at < group.length; at++) hash = (Math.imul(hash, 31) + group.charCodeAt(at)) | 0
    return queues[(hash >>> 0) % queues.length]!
  }

  arrived(queue: QueueState): void {
    queue.readers?.wake()
    this.#waiting?.wake()
  }
}

/** What a message is, by what it asks for. */
const typeOf = (facts: Facts, spec: TopicSpec, deliverAt: number | undefined): TopicType => {
  if (facts.half) return 'transaction'
  if (deliverAt !== undefined) return 'delay'
  if (facts.group !== undefined) return 'fifo'
  if (facts.priority !== undefined) return 'priority'
  return spec.type === 'lite' && facts.path !== undefined ? 'lite' : 'normal'
}

/**
 * Not asked of topics that take every type.
 * @throws Fault 'conflict' about 'type'
 */
export const checkType = (facts: Facts, spec: TopicSpec, chosenQueue: boolean, deliverAt: number | undefined): void => {
  const type = typeOf(facts, spec, deliverAt)
  if (type === spec.type) return
  // A producer that chooses the queue itself keeps its order itself.
  if (spec.type === 'fifo' && type === 'normal' && chosenQueue) return
  throw new Fault('conflict', `topic ${spec.topic} takes ${spec.type} messages, this one is ${type}`, { about: 'type' })
}
