import type { Duplex } from 'node:stream'
import { type Clock, type EpochMs, Fault, type Ms } from '@sluice/core'
import { type Frame, FrameDecoder, frame } from './wire.ts'
import { Writer } from './writer.ts'

/** How often either end says something, and after how long a silence it gives the other one up. */
export const PING_MS: Ms = 5_000
export const SILENT_MS: Ms = 20_000
/** How long the last words may take. */
const LINGER_MS: Ms = 2_000
/** How long the other end may take nothing at all while something waits for it. */
export const STALLED_MS: Ms = 60_000

export interface ChannelOptions {
  readonly clock: Clock
  /**
   * Bytes that the other end may leave untaken before nothing more is read from it. Absent: it is read always. One end
   * must, or both could wait for each other.
   */
  readonly backlogBytes?: number
  /** @throws Fault: the other end does not keep to the protocol, and the channel ends */
  received(frame: Frame): void
  /** Once. `why`: what it ended by, where that was no end as agreed. */
  closed(why: Fault | undefined): void
}

export interface ChannelCounts {
  readonly framesIn: number
  readonly framesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Writes to the socket. */
  readonly writes: number
}

/** One socket of the link: frames in both directions, one write a tick, signs of life, bounds. */
export class Channel {
  readonly counts = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, writes: 0 }
  readonly #socket: Duplex
  readonly #options: ChannelOptions
  readonly #writer = new Writer()
  readonly #decoder = new FrameDecoder()
  readonly #stop: () => void
  readonly #backlogBytes: number
  #heard: EpochMs
  /** When the other end's system last took something, and how many bytes it had by then. */
  #progressed: EpochMs
  #taken = 0
  #scheduled = false
  /** The socket has what it can hold; it tells when it wants more. */
  #full = false
  #held = false
  #paused = false
  #ended = false
  #trusted = false
  #why: Fault | undefined

  constructor(socket: Duplex, options: ChannelOptions) {
    this.#socket = socket
    this.#options = options
    this.#heard = this.#progressed = options.clock.now()
    this.#backlogBytes = options.backlogBytes ?? Number.POSITIVE_INFINITY
    this.#stop = options.clock.every(PING_MS, () => this.#tick())
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('drain', () => {
      this.#full = false
      this.#flush()
    })
    socket.on('error', (error: Error) => {
      this.#why ??= new Fault('unavailable', `link: ${error.message}`)
      socket.destroy()
    })
    socket.on('end', () => socket.destroy())
    socket.on('close', () => this.#closed())
  }

  get closed(): boolean {
    return this.#socket.destroyed
  }

  /** The two know each other. */
  trust(frameBytes: number): void {
    this.#trusted = true
    this.#decoder.frameBytes = frameBytes
  }

  /** Begins a frame, which {@link Channel.sent} ends or {@link Channel.abandoned} gives up. */
  frame(type: number, id: number): Writer {
    return this.#writer.begin(type, id)
  }

  /** @returns how many bytes of the stream lie before its end */
  sent(): number {
    this.#writer.end()
    this.counts.framesOut++
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => this.#flush())
    }
    return this.counts.bytesOut + this.#writer.length
  }

  abandoned(): void {
    this.#writer.abandon()
  }

  /** A frame without content. */
  say(type: number, id = 0): void {
    this.frame(type, id)
    this.sent()
  }

  /** Bytes that the other end's system has not taken. */
  get backlog(): number {
    return this.#writer.length + this.#socket.writableLength
  }

  /** Whether this byte of the stream has been given to the system, or may have been. */
  hasLeft(position: number): boolean {
    return position <= this.counts.bytesOut
  }

  /** Reads no further while `held`: what came is not worked off. */
  hold(held: boolean): void {
    this.#held = held
    this.#throttle()
  }

  #throttle(): void {
    const pause = this.#held || this.backlog > this.#backlogBytes
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) this.#socket.pause()
    else this.#socket.resume()
  }

  /** What was said is still written, then it closes. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#full = false
    this.#flush()
    this.#socket.end()
    const cancel = this.#options.clock.after(LINGER_MS, () => this.#socket.destroy())
    this.#socket.once('close', cancel)
  }

  destroy(why: Fault): void {
    this.#why ??= why
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#heard = this.#options.clock.now()
    this.counts.bytesIn += chunk.length
    try {
      this.#decoder.decode(chunk, (one) => {
        this.counts.framesIn++
        if (this.#socket.destroyed || this.#ended) return
        if (one.type === frame.ping) this.say(frame.pong)
        else if (one.type !== frame.pong) this.#options.received(one)
      })
    } catch (error) {
      this.destroy(Fault.from(error))
    }
  }

  #flush(): void {
    this.#scheduled = false
    if (this.#full || this.#socket.destroyed || this.#writer.length === 0) return this.#throttle()
    const bytes = this.#writer.length
    const parts = this.#writer.take()
    this.counts.bytesOut += bytes
    this.counts.writes++
    if (parts.length > 1) this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    if (parts.length > 1) this.#socket.uncork()
    this.#full = this.#socket.writableNeedDrain
    this.#throttle()
  }

  #tick(): void {
    const now = this.#options.clock.now()
    // What is not read on purpose is no silence.
    if (this.#paused) this.#heard = now
    if (now - this.#heard > SILENT_MS) return this.destroy(new Fault('unavailable', `link: silent for ${SILENT_MS} ms`))
    const taken = this.counts.bytesOut - this.#socket.writableLength
    if (taken !== this.#taken || this.backlog === 0) this.#progressed = now
    this.#taken = taken
    if (now - this.#progressed > STALLED_MS)
      return this.destroy(new Fault('unavailable', `link: nothing taken for ${STALLED_MS} ms`))
    if (!this.#ended && this.#trusted) this.say(frame.ping)
  }

  #closed(): void {
    this.#stop()
    this.#options.closed(this.#why)
  }
}
