import { type Context, type EpochMs, Fault, type Gateway, type Ms, type Queue, type TopicInfo } from '@sluice/core'

/** Topics whose queues are remembered. */
export const TOPICS_MAX = 10_000
/** Numbers of queues are never given to others, so an old list is right; it only misses the newest queues. */
const FRESH_MS: Ms = 30_000

/** A topic's queues by the numbers that clients know. */
export class Numbered {
  readonly info: TopicInfo
  readonly at: EpochMs
  readonly #queues: (Queue | undefined)[] = []

  constructor(info: TopicInfo, at: EpochMs) {
    this.info = info
    this.at = at
    for (const { number, queue } of info.routes) this.#queues[number] = queue
  }

  queue(number: number): Queue | undefined {
    return this.#queues[number]
  }

  number(queue: Queue): number | undefined {
    // One node numbers its queues as clients do.
    const same = this.#queues[queue.index]
    if (same && same.index === queue.index && same.node === queue.node) return queue.index
    const number = this.#queues.findIndex((one) => one?.index === queue.index && one.node === queue.node)
    return number < 0 ? undefined : number
  }
}

/** Which queue a number means, for sends and pulls, which name nothing else. */
export class Topics {
  readonly #gateway: Gateway
  readonly #known = new Map<string, Numbered>()

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  get size(): number {
    return this.#known.size
  }

  /** Without a promise when it is known. @throws Fault 'topicNotFound' and what `topic` is refused with */
  get(topic: string, context: Context): Numbered | Promise<Numbered> {
    return this.#fresh(topic, context) ?? this.ask(topic, context)
  }

  /** @throws as {@link get} */
  async ask(topic: string, context: Context): Promise<Numbered> {
    const key = keyOf(topic, context)
    try {
      const info = await this.#gateway.handle({ kind: 'topic', topic }, context)
      const numbered = new Numbered(info, this.#gateway.clock.now())
      this.#known.delete(key)
      this.#known.set(key, numbered)
      if (this.#known.size > TOPICS_MAX) this.#known.delete(this.#known.keys().next().value as string)
      return numbered
    } catch (error) {
      this.#known.delete(key)
      throw error
    }
  }

  /** The queue of this number. @throws Fault 'notFound' about 'queue', and as {@link get} */
  queue(topic: string, number: number, context: Context): Queue | Promise<Queue> {
    return this.#fresh(topic, context)?.queue(number) ?? this.#newest(topic, number, context)
  }

  #fresh(topic: string, context: Context): Numbered | undefined {
    const known = this.#known.get(keyOf(topic, context))
    return known && this.#gateway.clock.now() - known.at < FRESH_MS ? known : undefined
  }

  async #newest(topic: string, number: number, context: Context): Promise<Queue> {
    const queue = (await this.ask(topic, context)).queue(number)
    if (!queue) throw new Fault('notFound', `topic ${topic} has no queue ${number}`, { about: 'queue' })
    return queue
  }

  /** A command found the topic otherwise than it is remembered. */
  forget(topic: string, context: Context): void {
    this.#known.delete(keyOf(topic, context))
  }
}

/** Names are a tenant's own. */
const keyOf = (topic: string, { principal }: Context): string =>
  principal.tenant === '' ? topic : `${principal.tenant}\n${topic}`
