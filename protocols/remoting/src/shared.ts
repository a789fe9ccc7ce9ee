import type { Gateway, Half } from '@sluice/core'
import { Topics } from './topics.ts'

/** Half messages that are remembered until they are decided. */
export const HALVES_MAX = 10_000

/** What the connections of a gateway have in common. */
export class Shared {
  readonly topics: Topics
  readonly parked = new ParkedPops()
  readonly halves = new Halves()

  constructor(gateway: Gateway) {
    this.topics = new Topics(gateway)
  }
}

interface Waiting {
  readonly topic: string
  readonly group: string
  readonly queue: number
}

/** Pops that wait: bounded by what each connection may park. */
export class ParkedPops {
  readonly #waiting = new Map<string, number>()

  add(pop: Waiting): void {
    const key = keyOf(pop)
    this.#waiting.set(key, (this.#waiting.get(key) ?? 0) + 1)
  }

  delete(pop: Waiting): void {
    const key = keyOf(pop)
    const left = (this.#waiting.get(key) ?? 1) - 1
    if (left > 0) this.#waiting.set(key, left)
    else this.#waiting.delete(key)
  }

  count(topic: string, group: string, queue: number): number {
    return this.#waiting.get(keyOf({ topic, group, queue })) ?? 0
  }
}

const keyOf = ({ topic, group, queue }: Waiting): string => `${topic}\n${group}\n${queue}`

/**
 * Half messages that clients were told of. Clients before 5.0 do not name the topic when they decide, so without this
 * their node would not be known.
 */
export class Halves {
  readonly #known = new Map<string, Half>()

  get size(): number {
    return this.#known.size
  }

  add(half: Half): void {
    const key = `${half.group}\n${half.place}`
    this.#known.delete(key)
    this.#known.set(key, half)
    if (this.#known.size > HALVES_MAX) this.#known.delete(this.#known.keys().next().value as string)
  }

  find(group: string, place: number): Half | undefined {
    return this.#known.get(`${group}\n${place}`)
  }

  delete({ group, place }: Half): void {
    this.#known.delete(`${group}\n${place}`)
  }
}
