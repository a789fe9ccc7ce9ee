import { Abort, type EpochMs, Fault, type Signal } from '@sluice/core'
import type { Fields } from './http2/hpack.ts'
import { Messages, type Packed, PREFIX_BYTES, unpack } from './messages.ts'
import { type Channel, type Ending, grpcStatus, type Method, type Opening, type Place } from './method.ts'
import { deadlineOf } from './timeouts.ts'

const ONE_MESSAGE = 'a request of one message'
/** Messages of a stream that may wait until those before them are answered. */
const AHEAD = 1_024

/**
 * One call, or a stream that lasts as long as its client. Work until its stream is closed, that is until the answer has
 * left, but for polls that wait and for those that last.
 */
export class Exchange {
  readonly method: Method
  readonly place: Place
  readonly since: EpochMs
  /** The client's; Infinity: none that matters. */
  readonly deadline: EpochMs
  /** Whether it has said a whole message. */
  heard = false
  /** Set while the answer waits for the peer to take some of it. */
  stalledSince: EpochMs | undefined
  /** Ends our half of a stream that lasts. */
  finish: (() => void) | undefined
  /** Says on the stream that its connection is asked to leave, where there is a word for it. */
  leave: (() => void) | undefined
  readonly #fields: Fields
  readonly #channel: Channel
  readonly #max: number
  readonly #messages: Messages
  readonly #queue: Packed[] = []
  #wake: (() => void) | undefined
  #leaving: (() => void) | undefined
  #held = 0
  /** The request has come in full. */
  #asked = false
  #responded = false
  #finished = false
  #ending: Ending | undefined
  #onEnd: ((ending: Ending) => void)[] | undefined
  #parked: Abort | undefined

  constructor({ method, fields, channel, place, now, max }: Opening) {
    this.method = method
    this.#fields = fields
    this.place = place
    this.since = now
    this.deadline = deadlineOf(this.header('grpc-timeout'), now)
    this.#channel = channel
    this.#max = max
    this.#messages = new Messages(max)
    if (!method.lasting) place.worked(1)
  }

  /** Once it can be found by its stream. */
  begin(): void {
    if (this.method.reads) this.method.serve(this, {})
  }

  /** The first value of this name among the request's headers. */
  header(name: string): string | undefined {
    const fields = this.#fields
    for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
    return undefined
  }

  /** Whether the request has not come in full. */
  get asking(): boolean {
    return !this.#asked
  }

  /** Whether polls may be answered at once: it waits for messages. */
  get parked(): boolean {
    return this.#parked !== undefined
  }

  /** Whether nobody waits for the answer any more. */
  get over(): boolean {
    return this.#ending !== undefined
  }

  get ended(): Promise<Ending> {
    return new Promise((resolve) => this.whenEnded(resolve))
  }

  whenEnded(tell: (ending: Ending) => void): void {
    if (this.#ending) tell(this.#ending)
    else (this.#onEnd ??= []).push(tell)
  }

  // ── What the stream brings ──────────────────────────────────────────────────────────────────

  data(chunk: Buffer): void {
    if (this.#finished || this.over) return
    this.#held += chunk.length
    this.place.held(chunk.length, this)
    try {
      this.#messages.add(chunk, this.#push)
    } catch (error) {
      this.#broken(error)
    }
  }

  readonly #push = (message: Packed): void => {
    if (this.#finished) return
    this.heard = true
    const ahead = this.#queue.push(message)
    if (!this.method.reads) return ahead > 1 ? this.refuse(grpcStatus.UNIMPLEMENTED, ONE_MESSAGE) : undefined
    if (ahead > AHEAD) return this.refuse(grpcStatus.RESOURCE_EXHAUSTED, 'too many messages that are not answered')
    this.#channel.flow(false)
    this.#wake?.()
  }

  /** The client ended its half. */
  half(): void {
    this.#asked = true
    if (this.#finished || this.over) return
    if (this.method.reads) return this.#wake?.()
    const [message, ...more] = this.#queue
    if (!message || more.length > 0 || this.#messages.held > 0) {
      return this.refuse(grpcStatus.UNIMPLEMENTED, ONE_MESSAGE)
    }
    if (message.compressed) void this.#decoded(message).then((request) => this.#serve(request))
    else this.#serve(this.#decode(message.bytes))
  }

  /** The stream is closed. */
  closed(ending: Ending): void {
    if (this.#ending) return
    this.#ending = ending
    this.taken()
    this.#wake?.()
    this.#leaving?.()
    const { lasting } = this.method
    if (this.#parked) this.#parked.abort()
    else if (!lasting) this.place.worked(-1)
    for (const tell of this.#onEnd ?? []) tell(ending)
  }

  // ── What the call does ──────────────────────────────────────────────────────────────────────

  /** The request is worked on: its bytes count no more as waiting. */
  taken(bytes = this.#held): void {
    if (bytes === 0) return
    this.#held -= bytes
    this.place.held(-bytes, this)
  }

  /** Messages of a stream one after another, the next not read before. Until the client ends it, or it breaks. */
  async each<Request>(take: (request: Request) => void | Promise<void>): Promise<void> {
    for (;;) {
      const message = this.#queue.shift()
      if (message) {
        this.taken(Math.min(this.#held, message.bytes.length + PREFIX_BYTES))
        const request = await this.#decoded(message)
        if (!request) return
        await take(request as Request)
        continue
      }
      if (this.#asked || this.over || this.#finished) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        this.#channel.flow(true)
      })
      this.#wake = undefined
    }
  }

  /** Headers alone. */
  respond(): void {
    if (this.#responded || this.over) return
    this.#responded = true
    this.#channel.respond()
  }

  /** False: nobody waits for it. `written`: it has left under the peer's flow control. */
  write(message: object, written?: () => void): boolean {
    const bytes = this.#encoded(message)
    if (!bytes) return false
    this.respond()
    this.#channel.write(bytes, written)
    return true
  }

  /** The answer of a call that has one message. */
  reply(message: object): void {
    const bytes = this.#encoded(message)
    if (!bytes) return
    this.#finished = true
    this.#channel.reply(bytes)
  }

  #encoded(message: object): Buffer | undefined {
    if (this.#finished || this.over) return undefined
    try {
      return this.method.encode(message)
    } catch (error) {
      this.place.report(error)
      this.refuse(grpcStatus.INTERNAL, 'internal error')
      return undefined
    }
  }

  /** Resolves when it has left, or nobody waits for it any more. One at a time. */
  written(message: object): Promise<void> {
    return new Promise((resolve) => {
      this.#leaving = resolve
      if (!this.write(message, resolve)) resolve()
    })
  }

  end(): void {
    this.refuse(grpcStatus.OK, '')
  }

  /** Ends the call with a status of gRPC itself. */
  refuse(status: number, text: string): void {
    if (this.#finished || this.over) return
    this.#finished = true
    this.#channel.finish(status, text)
  }

  /** A poll waits for messages: no work until `resumed`. The signal: woken by a drain, or nobody waits any more. */
  park(): Signal {
    const parked = new Abort()
    if (this.over) parked.abort()
    else {
      this.#parked = parked
      this.place.worked(-1)
    }
    return parked
  }

  resumed(): void {
    if (!this.#parked) return
    this.#parked = undefined
    if (!this.over) this.place.worked(1)
  }

  /** Answers a parked poll now. */
  wake(): void {
    this.#parked?.abort()
  }

  /** Told when the peer gives the answer up although all of it was said. Where its transport says so. */
  recalled(undo: () => void): void {
    this.#channel.recalled?.(undo)
  }

  cancel(): void {
    if (!this.over) this.#channel.reset()
  }

  // ── Requests ────────────────────────────────────────────────────────────────────────────────

  #serve(request: object | undefined): void {
    if (request && !this.over) this.method.serve(this, request)
  }

  async #decoded(message: Packed): Promise<object | undefined> {
    const bytes = message.compressed ? await this.#plain(message) : message.bytes
    return bytes && this.#decode(bytes)
  }

  #decode(bytes: Buffer): object | undefined {
    try {
      return this.method.decode(bytes)
    } catch {
      this.refuse(grpcStatus.INTERNAL, 'the request is no message of its type')
      return undefined
    }
  }

  async #plain(message: Packed): Promise<Buffer | undefined> {
    try {
      return await unpack(message, this.header('grpc-encoding'), this.#max)
    } catch (error) {
      this.#broken(error)
      return undefined
    }
  }

  #broken(error: unknown): void {
    const { code, message } = Fault.from(error)
    if (code === 'tooLarge') this.refuse(grpcStatus.RESOURCE_EXHAUSTED, message)
    else if (code === 'unsupported') this.refuse(grpcStatus.UNIMPLEMENTED, message)
    else this.refuse(grpcStatus.INTERNAL, message)
  }
}
