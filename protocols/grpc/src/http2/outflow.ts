import { FIRST_WINDOW, WINDOW_MAX } from './frames.ts'

/** Bytes that are given to the socket before it has taken any. */
const SOCKET_BYTES = 256 * 1024

interface Waiting {
  /** Says as much as may be said. */
  pump(): void
}

/** What all streams of a connection may say: as much as the peer's window allows, and as its socket takes. */
export class Outflow {
  /** Bytes that the peer still takes. */
  window = FIRST_WINDOW
  readonly #taken: () => Promise<void>
  readonly #most: number
  readonly #waiting = new Set<Waiting>()
  #unsent = 0
  #corked = false

  /** `taken`: resolves when the socket has taken what waits. `most`: bytes that may wait for it. */
  constructor(taken: () => Promise<void>, most: number) {
    this.#taken = taken
    this.#most = Math.min(most, SOCKET_BYTES)
  }

  /** Bytes that may be said now. */
  get room(): number {
    return this.#corked ? 0 : this.window
  }

  said(bytes: number): void {
    this.window -= bytes
    this.#unsent += bytes
    if (this.#unsent < this.#most || this.#corked) return
    this.#corked = true
    void this.#taken().then(() => {
      this.#unsent = 0
      this.#corked = false
      this.#resume()
    })
  }

  /** Goes on when there is room. */
  wait(stream: Waiting): void {
    this.#waiting.add(stream)
  }

  leave(stream: Waiting): void {
    this.#waiting.delete(stream)
  }

  /** The peer takes more. False: more than there can be. */
  open(bytes: number): boolean {
    this.window += bytes
    if (this.window > WINDOW_MAX) return false
    this.#resume()
    return true
  }

  /** Each has its turn, those that wait longest first. */
  #resume(): void {
    for (const stream of this.#waiting) {
      if (this.room <= 0) return
      this.#waiting.delete(stream)
      stream.pump()
    }
  }
}
