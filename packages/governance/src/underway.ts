import {
  type Clock,
  type CommandOf,
  type Context,
  Due,
  Fault,
  type FaultCode,
  type Handle,
  type Interceptor,
  type Kind,
  type Limits,
  type Ms,
  type ReplyTo,
  type Wheel,
  waitOf,
} from '@sluice/core'
import { Bounds, type Load } from './bounds.ts'
import { giveBack, late } from './deadline.ts'
import { countMessages, type Meter } from './measure.ts'

/** Patience for giving back what a late pop took. */
const GIVE_BACK: Ms = 5_000

interface Rules {
  readonly meter: Meter | undefined
  readonly bounds: Bounds
  readonly wheel: Wheel
  readonly clock: Clock
  /** Milliseconds with fractions. */
  now(): Ms
}

/**
 * Every command is counted, has its place within what its session may have under way, and is answered by its deadline to
 * within one tick of the wheel. All of it waits for one thing, so that it is one stage: one object and one continuation
 * a command.
 */
export const underway = (
  rules: Omit<Rules, 'bounds'> & { readonly limits: Pick<Limits, 'sessionInflight' | 'parked'> },
): Interceptor => {
  const all: Rules = { ...rules, bounds: new Bounds(rules.limits) }
  return (next) =>
    <K extends Kind>(command: CommandOf<K>, context: Context) =>
      new Promise<ReplyTo<K>>((resolve) => {
        new Underway<K>(all, next, command, context, resolve).begin()
      })
}

class Underway<K extends Kind> extends Due {
  readonly #rules: Rules
  readonly #next: Handle
  readonly #command: CommandOf<K>
  readonly #context: Context
  readonly #resolve: (reply: ReplyTo<K> | Promise<never>) => void
  readonly #what: keyof Load
  readonly #load: Load
  #began: Ms = 0
  #late = false

  constructor(
    rules: Rules,
    next: Handle,
    command: CommandOf<K>,
    context: Context,
    resolve: (reply: ReplyTo<K> | Promise<never>) => void,
  ) {
    super()
    this.#rules = rules
    this.#next = next
    this.#command = command
    this.#context = context
    this.#resolve = resolve
    this.#what = waitOf(command) > 0 ? 'parked' : 'inflight'
    this.#load = rules.bounds.of(context.session)
  }

  begin(): void {
    const { meter, bounds, wheel, now } = this.#rules
    const { protocol } = this.#context.session
    if (meter) {
      this.#began = now()
      meter.began(protocol)
    }
    const refusal = bounds.refusal(this.#load, this.#what)
    if (refusal) {
      meter?.ended(protocol, this.#command.kind, refusal.code, now() - this.#began)
      return this.#reject(refusal)
    }
    this.#load[this.#what]++
    if (this.#what === 'parked') meter?.polls(protocol, 1)
    wheel.put(this, this.#context.deadline)
    try {
      this.#next<K>(this.#command, this.#context).then(
        (reply) => this.#replied(reply),
        (error: unknown) => this.#failed(error),
      )
    } catch (error) {
      this.#failed(error)
    }
  }

  due(): void {
    this.#late = true
    const fault = late(this.#command.kind)
    this.#ended(fault.code)
    this.#reject(fault)
  }

  #replied(reply: ReplyTo<K>): void {
    if (this.#late)
      return giveBack(this.#next, reply, { ...this.#context, deadline: this.#rules.clock.now() + GIVE_BACK })
    this.#rules.wheel.take(this)
    this.#ended('ok')
    const { meter } = this.#rules
    if (meter) countMessages(meter, this.#context.session.protocol, this.#command, reply)
    this.#resolve(reply)
  }

  #failed(error: unknown): void {
    if (this.#late) return
    this.#rules.wheel.take(this)
    this.#ended(Fault.is(error) ? error.code : 'internal')
    this.#reject(error)
  }

  #reject(error: unknown): void {
    this.#resolve(Promise.reject(error))
  }

  #ended(outcome: 'ok' | FaultCode): void {
    const { meter, now } = this.#rules
    const { protocol } = this.#context.session
    this.#load[this.#what]--
    if (!meter) return
    if (this.#what === 'parked') meter.polls(protocol, -1)
    meter.ended(protocol, this.#command.kind, outcome, now() - this.#began)
  }
}
