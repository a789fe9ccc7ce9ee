import {
  type EpochMs,
  Fault,
  type Message,
  type Offset,
  type Queue,
  type Start,
  type StoredMessage,
  type TopicInfo,
  type TopicSpec,
} from '@sluice/core'

export const NODE = 'memory'

interface Topic {
  spec: TopicSpec
  readonly queues: StoredMessage[][]
  turn: number
}

/** Topics and their queues, in memory and for ever. */
export class Log {
  readonly #topics = new Map<string, Topic>()
  readonly #autoCreate: boolean
  readonly #queues: number
  readonly #now: () => EpochMs
  #places: StoredMessage[] = []
  #ids = 0

  constructor(options: { autoCreate: boolean; queues: number; now: () => EpochMs; topics: readonly TopicSpec[] }) {
    this.#autoCreate = options.autoCreate
    this.#queues = options.queues
    this.#now = options.now
    for (const spec of options.topics) this.put(spec)
  }

  put(spec: TopicSpec): void {
    const topic = this.#topics.get(spec.topic)
    if (topic) topic.spec = spec
    else
      this.#topics.set(spec.topic, {
        spec,
        queues: Array.from({ length: Math.max(1, spec.queues) }, () => []),
        turn: 0,
      })
  }

  delete(topic: string): boolean {
    return this.#topics.delete(topic)
  }

  has(topic: string): boolean {
    return this.#topics.has(topic)
  }

  list(): readonly TopicSpec[] {
    return [...this.#topics.values()].map(({ spec }) => spec)
  }

  /** @throws Fault 'topicNotFound'; a topic that may be created by a publish is described as it would become */
  info(topic: string): TopicInfo {
    const spec = this.#topics.get(topic)?.spec ?? (this.#autoCreate ? this.#fresh(topic) : undefined)
    if (!spec) throw notFound(topic)
    const routes = Array.from({ length: spec.queues }, (_, index) => ({
      queue: { topic, node: NODE, index },
      number: index,
      readable: true,
      writable: true,
    }))
    return { ...spec, routes }
  }

  /** @throws Fault 'topicNotFound', 'invalid' about 'queue' */
  append(message: Message, into?: Queue): StoredMessage {
    const topic = this.#topicFor(message.topic)
    const index = into && into.index >= 0 ? into.index : this.#choose(topic, message.group)
    const queue = topic.queues[index]
    if (!queue) throw new Fault('invalid', `topic ${message.topic} has no queue ${index}`, { about: 'queue' })
    const stored = this.#stored(message, { topic: message.topic, node: NODE, index }, queue.length)
    queue.push(stored)
    return stored
  }

  /** A message that belongs to no topic: it waits for its time, its decision or one inbox. */
  aside(message: Message): StoredMessage {
    return this.#stored(message, { topic: message.topic, node: NODE, index: 0 }, 0)
  }

  /** Throws what `append` would. */
  check(topic: string): void {
    this.#topicFor(topic)
  }

  /** In order of arrival over all queues. */
  of(topic: string): readonly StoredMessage[] {
    return (this.#topics.get(topic)?.queues ?? []).flat().sort((a, b) => a.place - b.place)
  }

  at(place: Offset): StoredMessage | undefined {
    return this.#places[place]
  }

  /** @throws Fault 'topicNotFound', 'notFound' */
  queue(queue: Queue): readonly StoredMessage[] {
    const topic = this.#topics.get(queue.topic)
    if (!topic) {
      if (this.#autoCreate) return []
      throw notFound(queue.topic)
    }
    const messages = topic.queues[queue.index]
    if (!messages) throw new Fault('notFound', `topic ${queue.topic} has no queue ${queue.index}`, { about: 'queue' })
    return messages
  }

  /** Where a reader begins in a queue. */
  begin(messages: readonly StoredMessage[], start: Start): Offset {
    if (start === 'min') return 0
    if (start === 'max') return messages.length
    if ('offset' in start) return Math.min(start.offset, messages.length)
    if ('last' in start) return Math.max(0, messages.length - start.last)
    const at = messages.findIndex(({ storedAt }) => storedAt >= start.time)
    return at < 0 ? messages.length : at
  }

  #topicFor(name: string): Topic {
    let topic = this.#topics.get(name)
    if (!topic && (this.#autoCreate || name.startsWith('%'))) {
      this.put(this.#fresh(name))
      topic = this.#topics.get(name)
    }
    if (!topic) throw notFound(name)
    return topic
  }

  #fresh(topic: string): TopicSpec {
    return { topic, queues: this.#queues, type: 'mixed' }
  }

  #choose(topic: Topic, group: string | undefined): number {
    if (group === undefined) return topic.turn++ % topic.queues.length
    let sum = 0
    for (const byte of Buffer.from(group)) sum += byte
    return sum % topic.queues.length
  }

  #stored(message: Message, queue: Queue, offset: Offset): StoredMessage {
    const storedAt = this.#now()
    const stored: StoredMessage = {
      ...fieldsOf(message),
      id: message.id ?? (++this.#ids).toString(16).toUpperCase().padStart(32, '0'),
      bornAt: message.bornAt ?? storedAt,
      bornHost: message.bornHost ?? '127.0.0.1:0',
      queue,
      offset,
      place: this.#places.length,
      storedAt,
    }
    this.#places.push(stored)
    return stored
  }
}

const fieldNames: Readonly<Record<keyof Message, true>> = {
  topic: true,
  body: true,
  properties: true,
  id: true,
  path: true,
  tag: true,
  keys: true,
  group: true,
  priority: true,
  deliverAt: true,
  expiresAt: true,
  half: true,
  encoding: true,
  contentType: true,
  correlationId: true,
  replyTo: true,
  retain: true,
  bornAt: true,
  bornHost: true,
  traceparent: true,
  via: true,
  original: true,
  packed: true,
}

/** A copy of its own: the fields of a message may be getters that read its producer's bytes. */
export const fieldsOf = (message: Message): Message =>
  Object.fromEntries(
    (Object.keys(fieldNames) as (keyof Message)[]).flatMap((name) =>
      message[name] === undefined ? [] : [[name, message[name]]],
    ),
  ) as unknown as Message

const notFound = (topic: string) => new Fault('topicNotFound', `no topic ${topic}`, { about: 'topic' })
