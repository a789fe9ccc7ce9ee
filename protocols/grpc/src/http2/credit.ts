/** What a peer may still send, on a stream or on the connection, and when it is told to go on. [RFC 9113 §5.2] */
export class Credit {
  readonly #window: number
  #room: number
  #owed = 0

  constructor(window: number) {
    this.#window = window
    this.#room = window
  }

  /** False: it sent more than it may. */
  take(bytes: number): boolean {
    this.#room -= bytes
    this.#owed += bytes
    return this.#room >= 0
  }

  /** Bytes to tell it of: once half of the window is used. */
  give(): number {
    if (this.#owed < this.#window / 2) return 0
    const bytes = this.#owed
    this.#room += bytes
    this.#owed = 0
    return bytes
  }
}
