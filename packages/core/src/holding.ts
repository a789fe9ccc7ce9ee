import { type Delivered, Fault, type FaultCode, type Ms, type Outcome, type Receipt } from './model.ts'
import type { PumpOptions, PumpSupport } from './pump.ts'

/** Patience for a settle. */
const PATIENCE: Ms = 5_000
/** Between two tries where the fault does not say. */
export const RETRY_AFTER: Ms = 1_000
/** A settle that meets passing trouble is tried so often. */
const SETTLE_TRIES = 5
const GIVE_BACK: Outcome = { kind: 'retry', after: 0, counts: false }

const passingCodes: ReadonlySet<FaultCode> = new Set<FaultCode>([
  'throttled',
  'busy',
  'circuitOpen',
  'unavailable',
  'draining',
  'outcomeUnknown',
  'internal',
])

/** Worth another try. */
export const passes = (fault: Fault): boolean => passingCodes.has(fault.code)

/**
 * A delivery that is out, in the ring of its holding. It hangs on the delivery itself: a table that is refilled for ever
 * leaves old tables behind that keep the newer ones, and with them all that ever was in them, from being collected young.
 */
class Held {
  readonly holding: Holding
  readonly delivered: Delivered
  receipt: Receipt
  /** When the receipt came, by our clock: the broker's may differ. */
  since: number
  /** A settle of it is under way: not renewed, not returned. */
  settling = false
  /** A renewal of it is under way: its receipt is about to change. */
  renewing = false
  next: Held
  prev: Held

  /** Behind the last one of the ring that begins with `first`; absent: the first of its own. */
  constructor(holding: Holding, delivered: Delivered, receipt: Receipt, since: number, first?: Held) {
    this.holding = holding
    this.delivered = delivered
    this.receipt = receipt
    this.since = since
    this.next = first ?? this
    this.prev = first?.prev ?? this
    this.next.prev = this.prev.next = this
    marked(delivered)[heldBy] = this
  }

  leave(): void {
    this.prev.next = this.next
    this.next.prev = this.prev
    this.next = this.prev = this
    marked(this.delivered)[heldBy] = undefined
  }
}

const heldBy = Symbol('held')
const marked = (delivered: Delivered) => delivered as Delivered & { [heldBy]?: Held | undefined }

interface Batch {
  readonly key: string
  readonly outcome: Outcome
  readonly held: Held[]
  readonly done: { readonly count: number; readonly call: (fault?: Fault) => void }[]
}

/** What one client holds: settled in batches, renewed while its connection lives, given back at its end. */
export class Holding {
  readonly #support: PumpSupport
  readonly #options: PumpOptions
  /** Told what a `done` threw. */
  readonly #told: { threw(error: unknown): void }
  /** Most clients hold nothing most of the time: none of these is there before it is needed. */
  /** First of the ring of what is out. */
  #first: Held | undefined
  #size = 0
  #batches: Batch[] | undefined
  #pauses: Set<() => void> | undefined
  /** Settles under way. */
  #settling = 0
  /** Waits for the end of them. */
  #settled: (() => void) | undefined
  #ending = false
  #unrenew: (() => void) | undefined
  #renewal: Promise<void> | undefined

  constructor(support: PumpSupport, options: PumpOptions, told: { threw(error: unknown): void }) {
    this.#support = support
    this.#options = options
    this.#told = told
  }

  get size(): number {
    return this.#size
  }

  /** Those with a receipt; the others are settled already. */
  add(taken: readonly Delivered[]): void {
    const since = this.#support.clock.now()
    for (const delivered of taken) {
      const { receipt } = delivered
      if (!receipt) continue
      const held = new Held(this, delivered, receipt, since, this.#first)
      this.#first ??= held
      this.#size++
    }
    this.#renewLater()
  }

  /** {@link Pump.settle} */
  settle(delivered: readonly Delivered[], outcome: Outcome, done: (fault?: Fault) => void): void {
    const mine: Held[] = []
    let missing = false
    for (const one of delivered) {
      const held = marked(one)[heldBy]
      if (held?.holding === this && !held.settling) {
        held.settling = true
        mine.push(held)
      } else missing ||= one.receipt !== undefined
    }
    const fault = missing ? new Fault('receiptExpired', 'not held', { about: 'receipt' }) : undefined
    if (mine.length === 0) return done(fault)
    const batch = this.#batchOf(outcome)
    for (const held of mine) batch.held.push(held)
    batch.done.push({ count: mine.length, call: fault ? (other) => done(other ?? fault) : done })
  }

  #batchOf(outcome: Outcome): Batch {
    const key = keyOf(outcome)
    if (!this.#batches) queueMicrotask(() => this.#flush())
    this.#batches ??= []
    for (const batch of this.#batches) if (batch.key === key) return batch
    const batch = { key, outcome, held: [], done: [] }
    this.#batches.push(batch)
    return batch
  }

  /** Waits for the settles under way, then gives the rest back. @returns how many that were */
  async end(): Promise<number> {
    this.#ending = true
    this.#unrenew?.()
    for (const resume of this.#pauses ?? []) resume()
    for (this.#flush(); this.#settling > 0; this.#flush()) {
      await new Promise<void>((resolve) => (this.#settled = resolve))
    }
    await this.#renewal
    const left = this.#all().map(({ receipt }) => receipt)
    for (const held of this.#all()) this.#forget(held)
    await this.giveBack(left)
    return left.length
  }

  #forget(held: Held): void {
    if (this.#first === held) this.#first = held.next === held ? undefined : held.next
    held.leave()
    this.#size--
  }

  #all(): Held[] {
    const all: Held[] = []
    for (let held = this.#first; held && all.length < this.#size; held = held.next) all.push(held)
    return all
  }

  /** Slots stay where they are: the next `open` of their inbox gives them again. */
  async giveBack(receipts: readonly Receipt[]): Promise<void> {
    const leases = receipts.filter(({ of }) => of === 'group')
    if (leases.length === 0) return
    // A failure leaves them to the end of their invisible time, which is what a lost process would do as well.
    await this.#handle(leases, GIVE_BACK).catch(() => undefined)
  }

  /** `async`, so that a throw before the first await is a rejection too. */
  async #handle(receipts: readonly Receipt[], outcome: Outcome) {
    const { session, principal } = this.#options
    const context = this.#support.context(session, PATIENCE, principal && { principal })
    return this.#support.handle<'settle'>({ kind: 'settle', receipts, outcome }, context)
  }

  // ── Settle ──────────────────────────────────────────────────────────────────────────────────

  #flush(): void {
    const batches = this.#batches
    this.#batches = undefined
    for (const batch of batches ?? []) {
      this.#settling++
      void this.#settleBatch(batch).then(() => {
        if (--this.#settling === 0) this.#settled?.()
      })
    }
  }

  async #settleBatch({ outcome, held, done }: Batch): Promise<void> {
    // The receipt of a renewal under way is void once that arrives: wait for the new one.
    if (held.some(({ renewing }) => renewing)) await this.#renewal
    const faults = await this.#trySettle(held, outcome)
    for (const one of held) {
      // 'received' keeps the delivery: only the last word is still to come.
      if (outcome.kind === 'received') one.settling = false
      else this.#forget(one)
    }
    let at = 0
    for (const { count, call } of done) {
      let fault: Fault | undefined
      for (const end = at + count; at < end; at++) fault ??= faults?.get(at)
      try {
        call(fault)
      } catch (error) {
        this.#told.threw(error)
      }
    }
  }

  /** @returns why not, by place; undefined: all went well */
  async #trySettle(held: readonly Held[], outcome: Outcome): Promise<ReadonlyMap<number, Fault> | undefined> {
    const receipts = held.map(({ receipt }) => receipt)
    for (let tries = 1; ; tries++) {
      try {
        const { failed } = await this.#handle(receipts, outcome)
        return failed.length === 0 ? undefined : new Map(failed.map(({ at, fault }) => [at, fault]))
      } catch (error) {
        const fault = Fault.from(error)
        if (tries === SETTLE_TRIES || this.#ending || !passes(fault))
          return new Map(receipts.map((_, at) => [at, fault]))
        await this.#pause(fault.retryAfter ?? RETRY_AFTER)
      }
    }
  }

  /** `end` cuts it short. */
  #pause(ms: Ms): Promise<void> {
    const pauses = (this.#pauses ??= new Set())
    return new Promise((resolve) => {
      const resume = () => {
        unwait()
        pauses.delete(resume)
        resolve()
      }
      const unwait = this.#support.wheel.at(this.#support.clock.now() + ms, resume)
      pauses.add(resume)
    })
  }

  // ── Renew ───────────────────────────────────────────────────────────────────────────────────

  #renewLater(soon = false): void {
    const { invisible } = this.#options
    if (typeof invisible !== 'number' || invisible === 0) return
    if (this.#unrenew || this.#renewal || this.#ending || this.size === 0) return
    const after = soon ? Math.min(RETRY_AFTER, invisible / 6) : invisible / 3
    this.#unrenew = this.#support.wheel.at(this.#support.clock.now() + after, () => {
      this.#unrenew = undefined
      this.#renewal = this.#renew(invisible).then((well) => {
        this.#renewal = undefined
        this.#renewLater(!well)
      })
    })
  }

  /** Renews what has been held for a third of its time. @returns false: passing trouble, worth another try soon */
  async #renew(invisible: Ms): Promise<boolean> {
    const since = this.#support.clock.now()
    const due = this.#all().filter(
      (held) => !held.settling && held.receipt.of === 'group' && since - held.since >= invisible / 3,
    )
    if (due.length === 0) return true
    for (const held of due) held.renewing = true
    const receipts = due.map(({ receipt }) => receipt)
    try {
      const { renewed } = await this.#handle(receipts, { kind: 'retry', after: invisible, counts: false })
      due.forEach((held, index) => {
        // No new receipt: it is lost already. The client's settle will say so; there is nothing more to renew.
        held.receipt = renewed?.[index] ?? held.receipt
        held.since = renewed?.[index] ? since : Number.POSITIVE_INFINITY
      })
      return true
    } catch (error) {
      return !passes(Fault.from(error))
    } finally {
      for (const held of due) held.renewing = false
    }
  }
}

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
