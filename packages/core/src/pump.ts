import type { Clock } from './clock.ts'
import { type Delivered, Fault, type FaultCode, type Ms, type Outcome, type Receipt, type Source } from './model.ts'
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
  /** For good: the pump has stopped. Passing troubles are ridden out and not told. */
  failed(fault: Fault): void
}

export interface Pump {
  /** How many messages more may be delivered; replaces what was said before. */
  credit(messages: number): void
  /** One command a node, outcome and tick. `done` is told once the store has it, or why not. */
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

/** Patience for a settle, and beyond a poll's wait. */
const PATIENCE: Ms = 5_000
const RETRY_AFTER: Ms = 1_000
const GIVE_BACK: Outcome = { kind: 'retry', after: 0, counts: false }
const passing: ReadonlySet<FaultCode> = new Set<FaultCode>([
  'throttled',
  'busy',
  'circuitOpen',
  'unavailable',
  'draining',
  'outcomeUnknown',
  'internal',
])

interface Held {
  receipt: Receipt
  /** A settle of it is under way: not renewed, not returned. */
  settling: boolean
}

interface Batch {
  readonly outcome: Outcome
  readonly deliveries: Delivered[]
  readonly done: { readonly count: number; readonly call: (fault?: Fault) => void }[]
}

export const createPump = (support: PumpSupport, source: Source, options: PumpOptions): Pump =>
  new PopPump(support, source, options)

class PopPump implements Pump {
  readonly #support: PumpSupport
  readonly #source: Source
  readonly #options: PumpOptions
  readonly #held = new Map<Delivered, Held>()
  readonly #batches = new Map<string, Batch>()
  readonly #settles = new Set<Promise<void>>()
  #credit = 0
  #stopped = false
  #pop: Promise<void> | undefined
  #abort = new AbortController()
  #unwait: (() => void) | undefined
  #unrenew: (() => void) | undefined

  constructor(support: PumpSupport, source: Source, options: PumpOptions) {
    this.#support = support
    this.#source = source
    this.#options = options
  }

  get unsettled(): number {
    return this.#held.size
  }

  credit(messages: number): void {
    this.#credit = Math.max(0, messages)
    if (this.#credit > 0) this.#take()
    else this.#wake()
  }

  settle(delivered: readonly Delivered[], outcome: Outcome, done?: (fault?: Fault) => void): void {
    const mine = delivered.filter((one) => {
      const held = this.#held.get(one)
      if (!held || held.settling) return false
      return (held.settling = true)
    })
    if (mine.length === 0) {
      done?.(delivered.length === 0 ? undefined : new Fault('receiptExpired', 'not held', { about: 'receipt' }))
      return
    }
    const key = keyOf(outcome)
    let batch = this.#batches.get(key)
    if (!batch) {
      if (this.#batches.size === 0) queueMicrotask(() => this.#flush())
      this.#batches.set(key, (batch = { outcome, deliveries: [], done: [] }))
    }
    batch.deliveries.push(...mine)
    batch.done.push({ count: mine.length, call: done ?? ignore })
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#credit = 0
    this.#wake()
    this.#unwait?.()
    this.#unrenew?.()
    await this.#pop
    this.#flush()
    await Promise.all(this.#settles)
    const left = [...this.#held.keys()]
    this.#held.clear()
    if (left.length === 0) return
    this.#support.returned(this.#options.session, left.length)
    await this.#giveBack(left)
  }

  /** Ends a parked pop; what it may have taken meanwhile is given back. */
  #wake(): void {
    if (!this.#pop) return
    this.#abort.abort()
    this.#abort = new AbortController()
  }

  #take(): void {
    if (this.#pop || this.#stopped || this.#unwait) return
    this.#pop = this.#popOnce().finally(() => {
      this.#pop = undefined
      if (this.#credit > 0) this.#take()
    })
  }

  async #popOnce(): Promise<void> {
    const { session, principal, batch, fifo, invisible } = this.#options
    const wait = this.#support.pollMs
    const context = this.#support.context(session, wait + PATIENCE, {
      signal: this.#abort.signal,
      ...(principal && { principal }),
    })
    try {
      const max = Math.min(this.#credit, batch)
      const reply = await this.#support.handle(
        { kind: 'pop', source: this.#source, max, invisible, wait, fifo },
        context,
      )
      const taken = [...reply.batch]
      const wanted = this.#stopped ? 0 : Math.min(taken.length, this.#credit)
      const surplus = taken.splice(wanted)
      if (surplus.length > 0) await this.#giveBack(surplus)
      if (taken.length > 0) this.#deliver(taken)
    } catch (error) {
      this.#trouble(Fault.from(error))
    }
  }

  #deliver(taken: readonly Delivered[]): void {
    this.#credit -= taken.length
    for (const delivered of taken) {
      if (delivered.receipt) this.#held.set(delivered, { receipt: delivered.receipt, settling: false })
    }
    this.#renewLater()
    this.#options.deliver(taken)
  }

  #trouble(fault: Fault): void {
    if (this.#stopped) return
    if (!passing.has(fault.code)) {
      this.#stopped = true
      this.#options.failed(fault)
      return
    }
    const later = this.#support.clock.now() + (fault.retryAfter ?? RETRY_AFTER)
    this.#unwait = this.#support.wheel.at(later, () => {
      this.#unwait = undefined
      if (this.#credit > 0) this.#take()
    })
  }

  async #giveBack(deliveries: readonly Delivered[]): Promise<void> {
    const receipts = deliveries.flatMap(({ receipt }) => (receipt && receipt.of === 'group' ? [receipt] : []))
    if (receipts.length === 0) return
    const context = this.#support.context(this.#options.session, PATIENCE)
    // A failure leaves them to the end of their invisible time, which is what a lost process would do as well.
    await this.#support.handle({ kind: 'settle', receipts, outcome: GIVE_BACK }, context).catch(ignore)
  }

  #flush(): void {
    for (const batch of this.#batches.values()) {
      const settle = this.#settleBatch(batch).finally(() => this.#settles.delete(settle))
      this.#settles.add(settle)
    }
    this.#batches.clear()
  }

  async #settleBatch({ outcome, deliveries, done }: Batch): Promise<void> {
    const receipts = deliveries.map((delivered) => this.#held.get(delivered)?.receipt as Receipt)
    const faults = new Map<number, Fault>()
    try {
      const context = this.#support.context(this.#options.session, PATIENCE)
      const { failed } = await this.#support.handle({ kind: 'settle', receipts, outcome }, context)
      for (const { at, fault } of failed) faults.set(at, fault)
    } catch (error) {
      const fault = Fault.from(error)
      for (let at = 0; at < receipts.length; at++) faults.set(at, fault)
    }
    // 'received' keeps the delivery: only the last word is still to come.
    for (const delivered of deliveries) {
      if (outcome.kind === 'received') this.#held.get(delivered)!.settling = false
      else this.#held.delete(delivered)
    }
    let at = 0
    for (const { count, call } of done) {
      let fault: Fault | undefined
      for (const end = at + count; at < end; at++) fault ??= faults.get(at)
      call(fault)
    }
  }

  #renewLater(): void {
    const { invisible } = this.#options
    if (this.#unrenew || this.#stopped || typeof invisible !== 'number' || invisible === 0 || this.#held.size === 0)
      return
    this.#unrenew = this.#support.wheel.at(this.#support.clock.now() + invisible / 3, () => {
      this.#unrenew = undefined
      void this.#renew(invisible).finally(() => this.#renewLater())
    })
  }

  async #renew(invisible: Ms): Promise<void> {
    const half = this.#support.clock.now() + invisible / 2
    const due = [...this.#held].filter(
      ([, { receipt, settling }]) => !settling && receipt.of === 'group' && receipt.poppedAt + receipt.invisible < half,
    )
    if (due.length === 0) return
    const receipts = due.map(([, held]) => held.receipt)
    const outcome: Outcome = { kind: 'retry', after: invisible, counts: false }
    const context = this.#support.context(this.#options.session, PATIENCE)
    // While the new receipt is on its way the old one must not be settled: those wait for it in the batch of the next tick.
    const reply = await this.#support.handle({ kind: 'settle', receipts, outcome }, context).catch(ignore)
    due.forEach(([, held], index) => {
      const renewed = reply?.renewed?.[index]
      if (renewed) held.receipt = renewed
    })
  }
}

const ignore = () => undefined

const keyOf = (outcome: Outcome): string => {
  switch (outcome.kind) {
    case 'accept':
    case 'received':
      return outcome.kind
    case 'retry':
      return `retry ${outcome.after} ${outcome.counts} ${outcome.limit}`
    case 'dead':
      return `dead ${outcome.reason}`
  }
}
