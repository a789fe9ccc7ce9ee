import type { Clock } from './clock.ts'
import { Holding, passes, RETRY_AFTER } from './holding.ts'
import {
  type Batch,
  type Delivered,
  type EpochMs,
  Fault,
  type Ms,
  type Outcome,
  type Replies,
  type Source,
} from './model.ts'
import type { Context, Handle, Principal, Session } from './pipeline.ts'
import type { ContextExtras } from './protocol.ts'
import { Abort, type Signal } from './signal.ts'
import type { Wheel } from './wheel.ts'

export interface PumpOptions {
  readonly session: Session
  readonly principal?: Principal
  /** How long a delivery stays with its client; the pump renews it while the connection lives. 0: settled on delivery. */
  readonly invisible: Ms | 'session'
  /** Most messages a pop takes at once. */
  readonly batch: number
  readonly fifo: boolean
  /** What one pop gave, in order; never more than the credit of that moment. */
  deliver(delivered: readonly Delivered[]): void
  /** For good: the pump takes no more; what is held may still be settled. Passing troubles are ridden out and not told. */
  failed(fault: Fault): void
}

export interface Pump {
  /** How many messages more may be delivered; replaces what was said before. */
  credit(messages: number): void
  /**
   * One command a node, outcome and tick. `done` is told once the store has it, or why not; passing trouble of the
   * whole command is tried again first (five times, `retryAfter` or 1 s apart).
   */
  settle(delivered: readonly Delivered[], outcome: Outcome, done?: (fault?: Fault) => void): void
  /** Deliveries without a settlement. */
  readonly unsettled: number
  /** Takes no more; what is unsettled goes back at once and uncounted (an inbox keeps its slots for the next `open`). */
  stop(): Promise<void>
}

/** What the process lends its pumps. */
export interface PumpSupport {
  readonly handle: Handle
  readonly clock: Clock
  readonly wheel: Wheel
  readonly pollMs: Ms
  context(session: Session, patience: Ms, more?: ContextExtras): Context
  /** Messages given back because their connection ended. */
  returned(session: Session, messages: number): void
}

/** Patience beyond a poll's wait. */
const PATIENCE: Ms = 5_000
/** So many polls in a row may come back empty at once before the next one waits. */
const EMPTY_POLLS = 3

const none: Delivered[] = []

export const createPump = (support: PumpSupport, source: Source, options: PumpOptions): Pump =>
  new PopPump(support, source, options)

class PopPump implements Pump {
  readonly #support: PumpSupport
  readonly #source: Source
  readonly #options: PumpOptions
  /** Made for the first delivery. */
  #lazyHolding: Holding | undefined
  /** Taken before the credit was lowered, and nowhere to go back to: slots, and what was settled on delivery. */
  #kept: Delivered[] = none
  #credit = 0
  #failed = false
  #stopping: Promise<void> | undefined
  /** A pop is under way, or what it gave too much is on its way back. */
  #busy = false
  /** Waits for that to be over. */
  #idle: (() => void) | undefined
  /** The store has not answered the pop yet. */
  #asking = false
  /** Wakes it; kept for the next ones while it has not. */
  #abort: Abort | undefined
  #empty = 0
  #unwait: (() => void) | undefined

  constructor(support: PumpSupport, source: Source, options: PumpOptions) {
    this.#support = support
    this.#source = source
    this.#options = options
  }

  get #holding(): Holding {
    return (this.#lazyHolding ??= new Holding(this.#support, this.#options, this))
  }

  /** What a `done` of a settle threw. */
  threw(error: unknown): void {
    this.#fail(Fault.from(error))
  }

  get unsettled(): number {
    return this.#lazyHolding?.size ?? 0
  }

  credit(messages: number): void {
    if (this.#stopping) return
    this.#credit = Math.max(0, messages)
    if (this.#credit === 0) return this.#wake()
    if (this.#kept.length > 0) this.#deliver(this.#kept.splice(0, this.#credit))
    this.#take()
  }

  settle(delivered: readonly Delivered[], outcome: Outcome, done: (fault?: Fault) => void = () => undefined): void {
    this.#holding.settle(delivered, outcome, done)
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop())
  }

  async #stop(): Promise<void> {
    this.#credit = 0
    this.#kept = none
    this.#wake()
    this.#unwait?.()
    if (this.#busy) await new Promise<void>((resolve) => (this.#idle = resolve))
    const returned = await this.#lazyHolding?.end()
    if (returned) this.#support.returned(this.#options.session, returned)
  }

  /** Ends a parked pop; what it may have taken meanwhile is given back. */
  #wake(): void {
    if (!this.#asking) return
    this.#abort?.abort()
    this.#abort = undefined
  }

  #take(): void {
    if (this.#busy || this.#stopping || this.#failed || this.#unwait || this.#credit === 0) return
    this.#busy = this.#asking = true
    const signal = (this.#abort ??= new Abort())
    const since = this.#support.clock.now()
    this.#pop(signal).then(
      ({ batch }) => this.#answered(batch, signal, since),
      (error: unknown) => this.#refused(error, signal),
    )
  }

  #answered(batch: Batch, signal: Signal, since: EpochMs): void {
    const taken: Delivered[] = []
    try {
      for (const delivered of batch) taken.push(delivered) // a spread takes several times as long
    } catch (error) {
      return this.#refused(error, signal)
    }
    this.#asking = false
    if (taken.length > 0) this.#arrived(taken)
    else this.#nothing(signal, since)
  }

  #refused(error: unknown, signal: Signal): void {
    this.#asking = false
    if (!signal.aborted) this.#trouble(Fault.from(error))
    this.#over()
  }

  #over(): void {
    this.#busy = false
    this.#idle?.()
    this.#take()
  }

  #pop(signal: Signal): Promise<Replies['pop']> {
    const { session, principal, batch, fifo, invisible } = this.#options
    const wait = this.#support.pollMs
    const max = Math.min(this.#credit, batch)
    try {
      const context = this.#support.context(session, wait + PATIENCE, principal ? { signal, principal } : { signal })
      return this.#support.handle<'pop'>({ kind: 'pop', source: this.#source, max, invisible, wait, fifo }, context)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** A store that does not park an empty poll must not be asked in a loop. */
  #nothing(signal: Signal, since: EpochMs): void {
    const { clock, pollMs } = this.#support
    const hasty = !signal.aborted && clock.now() - since <= pollMs / 2
    this.#empty = hasty ? this.#empty + 1 : 0
    if (this.#empty > EMPTY_POLLS) this.#waitFor(RETRY_AFTER)
    this.#over()
  }

  /** Delivers what the credit of this moment allows; the rest goes back, or waits here where it cannot. */
  #arrived(taken: readonly Delivered[]): void {
    this.#empty = 0
    const wanted = this.#stopping ? 0 : Math.min(taken.length, this.#credit)
    if (wanted === taken.length) {
      this.#deliver(taken)
      return this.#over()
    }
    const surplus = taken.slice(wanted)
    if (!this.#stopping) this.#kept = [...this.#kept, ...surplus.filter(({ receipt }) => receipt?.of !== 'group')]
    if (wanted > 0) this.#deliver(taken.slice(0, wanted))
    void this.#holding.giveBack(surplus.flatMap(({ receipt }) => receipt ?? [])).then(() => this.#over())
  }

  #deliver(taken: readonly Delivered[]): void {
    this.#credit -= taken.length
    this.#holding.add(taken)
    try {
      this.#options.deliver(taken)
    } catch (error) {
      this.#fail(Fault.from(error))
    }
  }

  #trouble(fault: Fault): void {
    if (this.#stopping) return
    if (passes(fault)) this.#waitFor(fault.retryAfter ?? RETRY_AFTER)
    else this.#fail(fault)
  }

  #waitFor(ms: Ms): void {
    if (this.#stopping) return
    this.#unwait = this.#support.wheel.at(this.#support.clock.now() + ms, () => {
      this.#unwait = undefined
      this.#take()
    })
  }

  #fail(fault: Fault): void {
    if (this.#failed || this.#stopping) return
    this.#failed = true
    try {
      this.#options.failed(fault)
    } catch {
      // Its connection ends by the fault that it was told, or by its own deadlines; the process must not.
    }
  }
}
