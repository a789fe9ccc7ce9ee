import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The requests of one connection that have no answer yet, in their order. */
export class Requests {
  readonly #socket: Duplex
  readonly #most: number
  readonly #onAnswer: () => void
  readonly #open = new Set<ServerResponse>()
  readonly #unwritten = new Map<ServerResponse, () => void>()
  /** Those of a chunk that came while too many were being served; meanwhile nothing is read. */
  #queue: (() => void)[] = []
  #paused = false
  newest: ServerResponse | undefined

  /** `most`: that many are served at once. `onAnswer`: one was given, or never will be. */
  constructor(socket: Duplex, most: number, onAnswer: () => void) {
    this.#socket = socket
    this.#most = most
    this.#onAnswer = onAnswer
  }

  get size(): number {
    return this.#open.size
  }

  get #serving(): number {
    return this.#open.size - this.#queue.length
  }

  get oldest(): ServerResponse | undefined {
    const [oldest] = this.#open
    return oldest
  }

  /** Serves it now, or when fewer wait for their answers. */
  add(response: ServerResponse, serve: () => void): void {
    const room = this.#serving < this.#most
    this.#open.add(response)
    this.newest = response
    response.on('close', () => this.#answered(response))
    if (room) return serve()
    this.#queue.push(serve)
    this.#paused = true
    this.#socket.pause()
  }

  /** Those that wait for their turn are not served any more. */
  stop(): void {
    this.#queue = []
  }

  /** Calls back if this answer does not reach the socket as a whole. Node tells so only of the oldest answer. */
  onLost(response: ServerResponse, lost: () => void): void {
    this.#unwritten.set(response, lost)
  }

  /** The socket is closed. */
  lost(): void {
    this.stop()
    const unwritten = [...this.#unwritten]
    this.#unwritten.clear()
    for (const [response, lost] of unwritten) if (!response.writableFinished) lost()
  }

  #answered(response: ServerResponse): void {
    this.#open.delete(response)
    if (!response.writableFinished) this.#unwritten.get(response)?.()
    this.#unwritten.delete(response)
    while (this.#queue.length > 0 && this.#serving < this.#most) this.#queue.shift()!()
    if (this.#paused && this.#queue.length === 0) {
      this.#paused = false
      this.#socket.resume()
    }
    this.#onAnswer()
  }
}
