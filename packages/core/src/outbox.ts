import type { Duplex } from 'node:stream'
import type { Clock } from './clock.ts'
import { joined } from './joined.ts'
import type { EpochMs } from './model.ts'

/** Above it a tick's buffers leave by writev instead of being copied together. */
const COPY_BYTES = 64 * 1024
/** Most bytes that the socket is given at once: a reader that takes so many within `stallMs` is slow, not dead. */
const PIECE_BYTES = 1024 * 1024

interface Waiter {
  /** When so many bytes of all times have been taken. */
  readonly at: number
  readonly resolve: () => void
}

/** Of most connections; nothing is ever put into them. */
const nobody: Waiter[] = []
const nothing: Buffer[] = []

export interface Taker {
  /** The peer's system has taken something. */
  progressed(): void
}

/** What one connection has to say: collected over a tick, written in pieces, counted until the peer's system has it. */
export class Outbox {
  /** Since when nothing was taken although bytes wait. */
  stalledSince: EpochMs | undefined

  readonly #socket: Duplex
  readonly #clock: Clock
  readonly #taker: Taker
  #parts = nothing
  #bytes = 0
  /** Of all times. */
  #queued = 0
  #heldBack = false
  #ending = false
  #closed = false
  #waiters: Waiter[] = nobody

  constructor(socket: Duplex, clock: Clock, taker: Taker) {
    this.#socket = socket
    this.#clock = clock
    this.#taker = taker
  }

  /** Bytes that the peer's system has not taken yet. */
  get backlog(): number {
    return this.#bytes + this.#socket.writableLength
  }

  /** Whether these are the first bytes since the last flush. */
  add(encoded: Buffer | readonly Buffer[]): boolean {
    const first = this.#parts.length === 0
    if (Buffer.isBuffer(encoded)) this.#push(encoded)
    else for (const part of encoded) this.#push(part)
    return first
  }

  #push(part: Buffer): void {
    if (this.#parts === nothing) this.#parts = []
    this.#parts.push(part)
    this.#bytes += part.length
    this.#queued += part.length
  }

  /** Resolves when everything that waits now has been taken, or the connection is gone. */
  taken(): Promise<void> {
    if (this.#closed || this.backlog === 0) return Promise.resolve()
    if (this.#waiters === nobody) this.#waiters = []
    return new Promise((resolve) => this.#waiters.push({ at: this.#queued, resolve }))
  }

  flush(): void {
    while (this.#parts.length > 0 && this.#socket.writableLength === 0 && !this.#closed) this.#write(this.#piece())
    this.#heldBack = this.#parts.length > 0
    if (this.backlog > 0) this.stalledSince ??= this.#clock.now()
    if (this.#ending && !this.#heldBack && !this.#socket.writableEnded) this.#socket.end()
  }

  /** Half-closes once everything is written. */
  end(): void {
    this.#ending = true
    this.flush()
  }

  closed(): void {
    this.#closed = true
    this.#parts = nothing
    this.#bytes = 0
    for (const { resolve } of this.#waiters.splice(0)) resolve()
  }

  #piece(): Buffer[] {
    if (this.#bytes <= PIECE_BYTES) {
      const all = this.#parts
      this.#parts = nothing
      this.#bytes = 0
      return all
    }
    let room = PIECE_BYTES
    let whole = 0
    while (this.#parts[whole]!.length <= room) room -= this.#parts[whole++]!.length
    const piece = this.#parts.splice(0, whole)
    if (room > 0) {
      const cut = this.#parts[0]!
      piece.push(cut.subarray(0, room))
      this.#parts[0] = cut.subarray(room)
    }
    this.#bytes -= PIECE_BYTES
    return piece
  }

  #write(piece: readonly Buffer[]): void {
    let bytes = 0
    for (const part of piece) bytes += part.length
    const written = () => this.#written()
    if (piece.length === 1) this.#socket.write(piece[0], written)
    else if (bytes <= COPY_BYTES) this.#socket.write(joined(piece, bytes), written)
    else {
      this.#socket.cork()
      const last = piece.length - 1
      piece.forEach((part, index) => void this.#socket.write(part, index === last ? written : undefined))
      this.#socket.uncork()
    }
  }

  #written(): void {
    if (this.#closed) return
    this.stalledSince = this.backlog > 0 ? this.#clock.now() : undefined
    if (this.#heldBack) this.flush()
    const taken = this.#queued - this.backlog
    while (this.#waiters.length > 0 && this.#waiters[0]!.at <= taken) this.#waiters.shift()!.resolve()
    this.#taker.progressed()
  }
}
