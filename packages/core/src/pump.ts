import type { Clock } from './clock.ts'
import { Holding, passes, RETRY_AFTER } from './holding.ts'
import { type Delivered, Fault, type Ms, type Outcome, type Source } from './model.ts'
import type { Context, Handle, Principal, Session } from './pipeline.ts'
import type { ContextExtras } from './protocol.ts'
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

/** Made once: an abort without a reason makes an exception with its stack each time. */
const woken = new Fault('unavailable', 'the poll is not wanted any more')

export const createPump = (support: PumpSupport, source: Source, options: PumpOptions): Pump =>
  new PopPump(support, source, options)

class PopPump implements Pump {
  readonly #support: PumpSupport
  readonly #source: Source
  readonly #options: PumpOptions
  readonly #holding: Holding
  /** Taken before the credit was lowered, and nowhere to go back to: slots, and what was settled on delivery. */
  #kept: Delivered[] = []
  #credit = 0
  #failed = false
  #stopping: Promise<void> | undefined
  #pop: Promise<void> | undefined
  /** The store has not answered the pop yet. */
  #asking = false
  #empty = 0
  #abort = new AbortController()
  #unwait: (() => void) | undefined

  constructor(support: PumpSupport, source: Source, options: PumpOptions) {
    this.#support = support
    this.#source = source
    this.#options = options
    this.#holding = new Holding(support, options, (error) => this.#fail(Fault.from(error)))
  }

  get unsettled(): number {
    return this.#holding.size
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
    this.#kept = []
    this.#wake()
    this.#unwait?.()
    await this.#pop
    const returned = await this.#holding.end()
    if (returned > 0) this.#support.returned(this.#options.session, returned)
  }

  /** Ends a parked pop; what it may have taken meanwhile is given back. */
  #wake(): void {
    if (!this.#asking) return
    this.#abort.abort(woken)
    this.#abort = new AbortController()
  }

  #take(): void {
    if (this.#pop || this.#stopping || this.#failed || this.#unwait || this.#credit === 0) return
    this.#pop = this.#popOnce(this.#abort.signal).finally(() => {
      this.#pop = undefined
      this.#take()
    })
  }

  async #popOnce(signal: AbortSignal): Promise<void> {
    const { clock } = this.#support
    const since = clock.now()
    let taken: readonly Delivered[]
    this.#asking = true
    try {
      taken = await this.#popped(signal)
    } catch (error) {
      if (!signal.aborted) this.#trouble(Fault.from(error))
      return
    } finally {
      this.#asking = false
    }
    if (taken.length > 0) return this.#arrived(taken)
    // A store that does not park an empty poll must not be asked in a loop.
    const hasty = !signal.aborted && clock.now() - since <= this.#support.pollMs / 2
    this.#empty = hasty ? this.#empty + 1 : 0
    if (this.#empty > EMPTY_POLLS) this.#waitFor(RETRY_AFTER)
  }

  async #popped(signal: AbortSignal): Promise<readonly Delivered[]> {
    const { session, principal, batch, fifo, invisible } = this.#options
    const wait = this.#support.pollMs
    const max = Math.min(this.#credit, batch)
    const context = this.#support.context(session, wait + PATIENCE, { signal, ...(principal && { principal }) })
    const reply = await this.#support.handle<'pop'>(
      { kind: 'pop', source: this.#source, max, invisible, wait, fifo },
      context,
    )
    return [...reply.batch]
  }

  /** Delivers what the credit of this moment allows; the rest goes back, or waits here where it cannot. */
  async #arrived(taken: readonly Delivered[]): Promise<void> {
    this.#empty = 0
    const wanted = this.#stopping ? 0 : Math.min(taken.length, this.#credit)
    const surplus = taken.slice(wanted)
    if (!this.#stopping) this.#kept.push(...surplus.filter(({ receipt }) => receipt?.of !== 'group'))
    if (wanted > 0) this.#deliver(taken.slice(0, wanted))
    if (surplus.length > 0) await this.#holding.giveBack(surplus.flatMap(({ receipt }) => receipt ?? []))
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
