import {
  asking,
  type Batch,
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Kind,
  type Message,
  type Ms,
  type Replies,
  type ReplyTo,
  type Wheel,
} from '@sluice/core'

/** A command that waits for its answer, or for a link to travel on. */
export class Pending<K extends Kind = Kind> {
  readonly command: CommandOf<K>
  readonly context: Context
  readonly resolve: (reply: ReplyTo<K>) => void
  readonly reject: (fault: Fault) => void
  /** While it is on a link: its number there, and where in the stream it ends. */
  id = 0
  position = 0
  /** Messages that came before the rest of the reply. */
  items: Delivered[] = []
  /** It may have been done already. */
  again = false
  /** Ends its wait for a link. */
  unhold: (() => void) | undefined
  cancel: (() => void) | undefined

  constructor(
    command: CommandOf<K>,
    context: Context,
    resolve: (reply: ReplyTo<K>) => void,
    reject: (fault: Fault) => void,
  ) {
    this.command = command
    this.context = context
    this.resolve = resolve
    this.reject = reject
    context.signal?.addEventListener('abort', this, { once: true })
  }

  /** Of the signal: nobody waits for messages any more. */
  handleEvent(): void {
    this.cancel?.()
  }

  done(reply: ReplyTo<K>): void {
    this.#over()
    this.resolve(reply)
  }

  fail(fault: Fault): void {
    this.#over()
    this.reject(fault)
  }

  #over(): void {
    this.unhold?.()
    this.context.signal?.removeEventListener('abort', this)
  }
}

/** Kinds that change nothing more by being said twice. */
const repeatable: ReadonlySet<Kind> = new Set<Kind>([...asking, 'heartbeat', 'leave'])

/** Whether it may be said again where nobody knows what became of it. */
export const mayRepeat = (command: CommandOf<Kind>): boolean => {
  if (command.kind === 'publish') return command.once !== undefined
  // Of a retry the new receipt would be lost.
  if (command.kind === 'settle') return command.outcome.kind !== 'retry'
  // What was on its way to an inbox is handed out again when that is resumed.
  if (command.kind === 'pop') return command.source.kind === 'inbox' && command.invisible !== 0
  return repeatable.has(command.kind)
}

/** A receipt that does not hold any more was settled at the first time, or has expired as it would have then. */
export const settledAgain = ({ failed, ...reply }: Replies['settle']): Replies['settle'] => ({
  ...reply,
  failed: failed.filter(({ fault }) => fault.code !== 'receiptExpired'),
})

const HELD_MAX = 65_536
const HELD_BYTES_MAX = 64 * 1024 * 1024
const HOLD_MS: Ms = 10_000
/** Before the deadline: whoever waits is to hear that it was not done, not that nobody knows. */
const BEFORE_DEADLINE_MS: Ms = 500

export const noBroker = (): Fault => new Fault('unavailable', 'the broker cannot be reached', { retryAfter: 1_000 })

/**
 * Commands that wait while there is no link, in order: a broker that starts again in a few seconds is a pause and not
 * an error. Ten seconds at the most, to half a second before their deadline, and so many.
 */
export class Held {
  readonly #wheel: Wheel
  readonly #now: () => number
  readonly #held = new Set<Pending>()
  #bytes = 0

  constructor(wheel: Wheel, now: () => number) {
    this.#wheel = wheel
    this.#now = now
  }

  get size(): number {
    return this.#held.size
  }

  add(pending: Pending): void {
    const now = this.#now()
    const until = Math.min(now + HOLD_MS, pending.context.deadline - BEFORE_DEADLINE_MS)
    const bytes = weightOf(pending.command)
    if (until <= now || this.#held.size >= HELD_MAX || this.#bytes + bytes > HELD_BYTES_MAX)
      return pending.fail(noBroker())
    this.#held.add(pending)
    this.#bytes += bytes
    pending.items = []
    const cancel = this.#wheel.at(until, () => pending.fail(noBroker()))
    pending.unhold = () => {
      cancel()
      pending.unhold = undefined
      this.#held.delete(pending)
      this.#bytes -= bytes
    }
    const { signal } = pending.context
    if (!signal) return
    pending.cancel = () => givenUp(pending)
    if (signal.aborted) pending.cancel()
  }

  take(): readonly Pending[] {
    const all = [...this.#held]
    for (const pending of all) pending.unhold?.()
    return all
  }
}

/** Its caller gave it up: as at a broker, a pop that found nothing is no error. */
const givenUp = (pending: Pending): void => {
  if (pending.command.kind === 'pop') pending.done({ batch: nothing, more: false })
  else pending.fail(noBroker())
}
const nothing: Batch = { count: 0, bytes: [], [Symbol.iterator]: () => [][Symbol.iterator]() }

const weightOf = (command: CommandOf<Kind>): number =>
  command.kind === 'publish'
    ? command.messages.reduce((sum, { body }: Message) => sum + body.length + OVERHEAD, OVERHEAD)
    : OVERHEAD
const OVERHEAD = 256
