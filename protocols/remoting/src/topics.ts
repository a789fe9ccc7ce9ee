import { type Context, type EpochMs, Fault, type Gateway, type Ms, type Queue, type TopicInfo } from '@sluice/core'

/** Topics whose queues are remembered. */
export const TOPICS_MAX = 10_000
/** How old a list is when the next one is asked for. */
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

/**
 * Which queue a number means, for sends and pulls, which name nothing else. Numbers of queues are never given to others:
 * an old list is right and only misses the newest queues. So nobody waits for a newer one, and requests of a client
 * that come one after the other go on in that order.
 */
export class Topics {
  readonly #gateway: Gateway
  readonly #known = new Map<string, Numbered>()
  /** By topic and asker. Answers of one asker are not another's: they are refused differently. */
  readonly #asking = new Map<string, Promise<Numbered>>()

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  get size(): number {
    return this.#known.size
  }

  /** Without a promise when it is known. @throws Fault 'topicNotFound' and what `topic` is refused with */
  get(topic: string, context: Context): Numbered | Promise<Numbered> {
    const known = this.#known.get(keyOf(topic, context))
    if (!known) return this.#askOnce(topic, context)
    if (this.#gateway.clock.now() - known.at >= FRESH_MS) this.#askOnce(topic, context).catch(() => undefined)
    return known
  }

  /** What it is now. @throws as {@link get} */
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
      if (Fault.is(error) && error.code === 'topicNotFound') this.#known.delete(key)
      throw error
    }
  }

  /** The queue of this number. @throws Fault 'notFound' about 'queue', and as {@link get} */
  queue(topic: string, number: number, context: Context): Queue | Promise<Queue> {
    const numbered = this.get(topic, context)
    if (numbered instanceof Promise) return numbered.then((found) => found.queue(number) ?? missing(topic, number))
    return numbered.queue(number) ?? this.#newest(topic, number, context)
  }

  /** A command found the topic otherwise than it is remembered. */
  forget(topic: string, context: Context): void {
    this.#known.delete(keyOf(topic, context))
  }

  async #newest(topic: string, number: number, context: Context): Promise<Queue> {
    return (await this.#askOnce(topic, context)).queue(number) ?? missing(topic, number)
  }

  #askOnce(topic: string, context: Context): Promise<Numbered> {
    const key = `${context.principal.name}\n${keyOf(topic, context)}`
    const asking = this.#asking.get(key)
    if (asking) return asking
    const asked = this.ask(topic, context).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return asked
  }
}

const missing = (topic: string, number: number): never => {
  throw new Fault('notFound', `topic ${topic} has no queue ${number}`, { about: 'queue' })
}

/** Names are a tenant's own. */
const keyOf = (topic: string, { principal }: Context): string =>
  principal.tenant === '' ? topic : `${principal.tenant}\n${topic}`
