/** A number that stands for a topic in a PUBLISH. */
export interface Alias {
  readonly number: number
  /** The client knows it: the topic itself is left out. */
  readonly known: boolean
}

/** Topic aliases towards a client: the first topics of its connection get them, as many as both sides take. */
export class Aliases {
  readonly #max: number
  readonly #numbers = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /** undefined: the topic goes without. */
  of(topic: string): Alias | undefined {
    const number = this.#numbers.get(topic)
    if (number !== undefined) return { number, known: true }
    return this.#numbers.size < this.#max ? { number: this.#numbers.size + 1, known: false } : undefined
  }

  /** A PUBLISH with both has left. */
  told(topic: string, { number }: Alias): void {
    this.#numbers.set(topic, number)
  }
}
