import {
  Abort,
  type Context,
  type ContextExtras,
  type EpochMs,
  Fault,
  type Filter,
  type Gateway,
  type Ms,
  type Replies,
  type Signal,
} from '@sluice/core'
import { type Frame, response } from '@sluice/remoting'
import type { Answer, Desk } from './desk.ts'
import { subscriptionOf } from './membership.ts'
import { recordsOf } from './records.ts'
import { type Pull, RETRY, toPull, toRead } from './translate.ts'

/** How long a pull is held that may not read now, and one on a retry topic that does not exist yet. */
const HOLD: Ms = 1_000
const RETRY_HOLD: Ms = 5_000
const PATIENCE: Ms = 5_000

/** A pull that waits: for messages, or for its time to be told that there are none. */
interface Parked {
  readonly frame: Frame
  readonly pull: Pull
  readonly abort: Abort
  /** Held without a read. */
  until?: EpochMs
}

export interface PullHost {
  readonly desk: Desk
  /** The session and the signer of this request. */
  enter(frame: Frame, patience: Ms, more?: ContextExtras): Context | Promise<Context>
  answer(frame: Frame, answer: Answer): void
  refuse(frame: Frame, error: unknown): void
  /** Whether one more pull or pop of this connection may wait. */
  mayPark(): boolean
  /** The reader does not keep up, or is gone. */
  isSlow(): boolean
}

/** The pulls of one connection. Parked ones are not work in flight; they end with the connection or when they are woken. */
export class Pulls {
  readonly #host: PullHost
  readonly #gateway: Gateway
  readonly #parked = new Set<Parked>()
  #leaving = false

  constructor(host: PullHost) {
    this.#host = host
    this.#gateway = host.desk.gateway
  }

  get parked(): number {
    return this.#parked.size
  }

  /** PULL_MESSAGE (11), LITE_PULL_MESSAGE (361). A promise where the answer does not wait for messages. */
  receive(frame: Frame): void | Promise<void> {
    const pull = toPull(frame, this.#gateway.limits)
    if (pull.wait === 0) return this.#atOnce(frame, pull, false)
    if (!this.#host.mayPark()) return this.#atOnce(frame, { ...pull, wait: 0 }, true)
    const parked: Parked = { frame, pull, abort: new Abort() }
    this.#parked.add(parked)
    if (!this.#leaving) void this.#wait(parked)
    return undefined
  }

  /** Tells every parked pull that there is nothing new, so that its client asks again, here or elsewhere. */
  wake(): void {
    for (const parked of this.#parked) this.#nothing(parked)
  }

  /** From now on pulls only wait for {@link farewell}: each answer would bring the next one. */
  leave(): void {
    this.#leaving = true
  }

  farewell(code: number): void {
    for (const parked of this.#parked) this.#nothing(parked, code)
  }

  tick(now: EpochMs): void {
    for (const parked of this.#parked) if (parked.until !== undefined && now >= parked.until) this.#nothing(parked)
  }

  close(): void {
    for (const { abort } of this.#parked) abort.abort()
    this.#parked.clear()
  }

  #nothing(parked: Parked, code: number = response.pullNotFound): void {
    this.#parked.delete(parked)
    this.#host.answer(parked.frame, { ...nothingNew(parked.pull), code })
    parked.abort.abort()
  }

  async #atOnce(frame: Frame, pull: Pull, full: boolean): Promise<void> {
    try {
      const reply = await this.#read(frame, pull)
      if (full && reply.batch.count === 0 && reply.next === pull.offset)
        throw new Fault('limit', `more than ${this.#gateway.limits.parked} pulls wait`)
      this.#say(frame, pull, reply)
    } catch (error) {
      const hold = this.#host.mayPark() ? holdOf(error, pull) : undefined
      if (hold === undefined) return this.#host.refuse(frame, busyOf(error))
      this.#hold({ frame, pull, abort: new Abort() }, hold)
    }
  }

  async #wait(parked: Parked): Promise<void> {
    const { frame, pull, abort } = parked
    try {
      const reply = await this.#read(frame, pull, abort)
      if (!this.#leaving && this.#parked.delete(parked)) this.#say(frame, pull, reply)
    } catch (error) {
      if (this.#leaving || !this.#parked.has(parked)) return
      const hold = holdOf(error, pull)
      if (hold !== undefined) return this.#hold(parked, hold)
      this.#parked.delete(parked)
      this.#host.refuse(frame, error)
    }
  }

  #hold(parked: Parked, hold: Ms): void {
    parked.until = this.#gateway.clock.now() + hold
    this.#parked.add(parked)
  }

  async #read(frame: Frame, pull: Pull, signal?: Signal): Promise<Replies['read']> {
    const entering = this.#host.enter(frame, pull.wait + PATIENCE, signal && { signal })
    const context = entering instanceof Promise ? await entering : entering
    const { desk } = this.#host
    const filter = pull.filter ?? subscribed(pull, desk)
    const found = desk.topics.queue(pull.topic, pull.queue, context)
    const queue = found instanceof Promise ? await found : found
    return this.#gateway.handle(toRead(pull, queue, filter), context)
  }

  /** What a client cannot take now is not kept for it: its next pull is read when it has caught up. */
  #say(frame: Frame, pull: Pull, reply: Replies['read']): void {
    const any = reply.batch.count > 0
    if (any && this.#host.isSlow()) return this.#host.answer(frame, nothingNew(pull))
    const parts = any ? recordsOf(reply.batch, this.#host.desk.store, this.#gateway) : undefined
    this.#host.answer(frame, toPullAnswer(pull, reply, parts))
  }
}

const everything: Filter = { kind: 'tag', expression: '*' }

/**
 * What the heartbeat said of this topic. Undefined: nothing is known here, and the broker knows the group.
 * The Java client makes a new version with each rebalance, and its heartbeat with it may come half a minute later. It
 * compares tags itself, so it gets every message until then.
 * @throws Fault 'notFound', 'conflict' about 'filter'
 */
const subscribed = (pull: Pull, { member }: Desk): Filter | undefined => {
  const known = subscriptionOf(member, pull.group, pull.topic)
  if (!known) {
    const consumer = member.consumes.find(({ group }) => group === pull.group)
    if (!consumer || consumer.topics.length === 0) return undefined
    throw new Fault('notFound', `group ${pull.group} does not subscribe to ${pull.topic}`, { about: 'filter' })
  }
  if (pull.subscribedAt <= known.version) return known.filter
  if (known.filter?.kind !== 'sql92') return everything
  throw new Fault('conflict', `the subscription of ${pull.group} is not the latest`, { about: 'filter' })
}

/** A throttled client is not told to hurry. Undefined: the refusal is said. */
const holdOf = (error: unknown, pull: Pull): Ms | undefined => {
  if (!Fault.is(error)) return undefined
  if (error.code === 'throttled') return Math.min(error.retryAfter ?? HOLD, pull.wait || HOLD)
  return error.code === 'topicNotFound' && pull.topic.startsWith(RETRY) ? RETRY_HOLD : undefined
}

/** Where nothing more may be held either. */
const busyOf = (error: unknown): unknown =>
  Fault.is(error) && error.code === 'throttled' ? new Fault('busy', error.message) : error

/** Clients read all four, whatever the code. */
const range = (next: number, min: number, max: number): Record<string, string> => ({
  suggestWhichBrokerId: '0',
  nextBeginOffset: String(next),
  minOffset: String(min),
  maxOffset: String(max),
})

const nothingNew = ({ offset }: Pull): Answer => ({ code: response.pullNotFound, ext: range(offset, 0, offset) })

/**
 * 0 messages · 19 nothing new · 20 nothing that passes the filter, go on behind it · 21 the offset is not in the queue.
 * After 21 a client drops the queue and starts it anew, so 19 must never be said with it.
 */
const toPullAnswer = (pull: Pull, { next, min, max }: Replies['read'], parts?: readonly Buffer[]): Answer => {
  const ext = range(next, min, max)
  if (parts) return { code: response.success, ext, parts }
  if (pull.offset < min || pull.offset > max || next < pull.offset) return { code: response.pullOffsetMoved, ext }
  return { code: next > pull.offset ? response.pullRetryImmediately : response.pullNotFound, ext }
}
