import type { Clock, EpochMs, Ms } from '@sluice/core'
import type { Exchange } from './exchange.ts'
import { errors, type Frame, LAST_STREAM } from './http2/frames.ts'

/** From the notice's PING coming back to the GOAWAY with the true last stream: what raced with the notice is here by then. */
const RACE_MS: Ms = 100
/** So many times what the PING took, of a peer that is slow: a busy machine lets it wait with a stream as with the PING. */
const RACE_PINGS = 4
/** The same at most, also of a peer that goes on opening streams. */
const RACES_MS: Ms = 1_000
/** How long that PING is waited for. */
const PING_MS: Ms = 5_000
/** How long telemetry that was ended may take to be heard. */
const LINGER_MS: Ms = 2_000

const OURS = Buffer.from('farewell')

/** The connection that is to end. */
export interface Leaving {
  readonly streams: ReadonlyMap<number, { readonly exchange: Exchange; reset(): void }>
  /** Calls that are worked on. */
  readonly working: number
  /** The latest stream that the peer opened. */
  readonly highest: number
  send(frame: Frame): void
  end(): void
}

/**
 * How a connection ends without a call being lost. First of two words: GOAWAY with the last stream there can be. New
 * streams are served, but the peer is asked for none; polls come back, and clients that know how are asked to reconnect.
 * When its PING has come back, and what raced with it is here: GOAWAY with the true last stream. The connection ends
 * with the last of its streams. [RFC 9113 §6.8]
 */
export class Farewell {
  /** Streams beyond it are not served: we said so. */
  last = LAST_STREAM
  readonly #of: Leaving
  readonly #clock: Clock
  #announcedAt: EpochMs | undefined
  #stop: (() => void) | undefined
  #lingering = false

  constructor(of: Leaving, clock: Clock) {
    this.#of = of
    this.#clock = clock
  }

  /** Between the two words. */
  get racing(): boolean {
    return this.#announcedAt !== undefined && this.last === LAST_STREAM
  }

  announce(): void {
    this.#announcedAt = this.#clock.now()
    this.#of.send({ kind: 'goAway', last: LAST_STREAM, error: errors.NO_ERROR })
    this.#of.send({ kind: 'ping', ack: false, opaque: OURS })
    this.#stop = this.#clock.after(PING_MS, () => this.#finalWord())
    for (const { exchange } of this.#of.streams.values()) {
      exchange.wake()
      exchange.leave?.()
    }
  }

  /** A PING of ours came back. */
  heard(opaque: Buffer): void {
    if (!this.#stop || !opaque.equals(OURS)) return
    this.#stop()
    this.#stop = undefined
    const now = this.#clock.now()
    const took = now - (this.#announcedAt ?? now)
    this.#race(Math.min(RACES_MS, Math.max(RACE_MS, RACE_PINGS * took)), now + RACES_MS)
  }

  /** A stream that came meanwhile may not be the last. */
  #race(ms: Ms, until: EpochMs): void {
    const { highest } = this.#of
    this.#clock.after(ms, () => {
      if (this.#of.highest > highest && this.#clock.now() + ms <= until) this.#race(ms, until)
      else this.#finalWord()
    })
  }

  /** A stream was closed. */
  left(): void {
    if (this.last !== LAST_STREAM) queueMicrotask(() => this.#lastWords())
  }

  /** The last frame of a connection that ends now: telemetry and polls are told, what else is in flight is cut off. */
  now(): Frame {
    for (const stream of [...this.#of.streams.values()]) {
      stream.exchange.finish?.()
      stream.reset()
    }
    const last = this.last === LAST_STREAM ? this.#of.highest : this.last
    return { kind: 'goAway', last, error: errors.NO_ERROR }
  }

  #finalWord(): void {
    if (this.last !== LAST_STREAM) return
    this.last = this.#of.highest
    this.#of.send({ kind: 'goAway', last: this.last, error: errors.NO_ERROR })
    this.#lastWords()
  }

  /**
   * Telemetry and watches end last of all: clients open a new stream within a second, some only after minutes. A peer that does
   * not hear them end does not keep us.
   */
  #lastWords(): void {
    const { streams, working } = this.#of
    if (streams.size === 0) return this.#of.end()
    if (this.#lingering || working > 0) return
    for (const { exchange } of streams.values()) exchange.wake()
    for (const { exchange } of streams.values()) if (!exchange.method.lasting) return
    this.#lingering = true
    for (const { exchange } of streams.values()) exchange.finish?.()
    this.#clock.after(LINGER_MS, () => this.#of.end())
  }
}
