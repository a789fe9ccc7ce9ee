import { type Delivered, Fault, losses, type Outcome, type Pump, type Source } from '@sluice/core'
import { receiveAddress } from './address.ts'
import type { AmqpSession } from './amqpSession.ts'
import { ACCEPTED } from './dispositions.ts'
import { errorOf } from './faults.ts'
import { filtersOf } from './filters.ts'
import { AmqpLink, type Attach, type Flow } from './link.ts'
import { add, type Serial } from './serial.ts'
import type { Composite, CompositeOf } from './shapes.ts'
import { toOutcome, toPayload } from './translate.ts'
import { type Described, entry, textOf } from './types/values.ts'

/** A lease; the pump renews it while the connection lives. */
const INVISIBLE = 60_000
const BATCH = 64
const PATIENCE = 5_000
/** A frame's header and a transfer take less than this. */
const TRANSFER = 64
const GIVE_BACK: Outcome = { kind: 'retry', after: 0, counts: false }
type Terminus = CompositeOf<'source'>

/** A delivery on its way out. `left`: what of its payload has not been sent; undefined: nothing has. */
interface Leaving {
  readonly delivered: Delivered
  id: Serial
  left: readonly Buffer[] | undefined
}

/** A client's receiver: what it has credit for is popped from its group, and its outcomes settle it. */
export class OutgoingLink extends AmqpLink {
  readonly #pump: Pump
  readonly #source: Source
  readonly #settled: boolean
  readonly #default: Terminus['defaultOutcome']
  readonly #queue: Leaving[] = []
  #deliveryCount: Serial = 0
  /** As the client counts it: what is in the queue has not used any yet. */
  #credit = 0
  /** Deliveries that wait for the client's word. */
  #held = 0
  /** The client wants what is there now and no credit left over. */
  #drain: 'no' | 'wanted' | 'looking' = 'no'

  /** Sends the attach that answers. @throws Fault 'unsupported', 'invalid' */
  constructor(session: AmqpSession, attach: Attach, handle: number) {
    super(session, attach, handle)
    const { gateway, session: client } = session.host
    const { source } = attach
    // Without one a client asks for the subscription that this link once was.
    if (!source) throw new Fault('notFound', 'no subscription is kept under a link name', { about: 'address' })
    if (source.type !== 'source') throw new Fault('invalid', `a source of type ${source.type}`, { about: 'address' })
    if (source.dynamic) throw new Fault('unsupported', 'dynamic nodes', { about: 'address' })
    const { topic, group = groupOf(session, attach, source) } = receiveAddress(textOf(source.address) ?? '')
    const { filter, inForce } = filtersOf(source.filter)
    this.#source = { kind: 'group', topic, group, ...(filter && { filter }) }
    this.#settled = attach.sndSettleMode === 1
    this.#default = source.defaultOutcome
    this.#pump = gateway.pump(this.#source, {
      session: client,
      invisible: this.#settled ? 0 : INVISIBLE,
      batch: BATCH,
      fifo: false,
      deliver: (delivered) => this.#deliver(delivered),
      failed: (fault) => this.detach(errorOf(fault)),
    })
    session.send({
      type: 'attach',
      name: attach.name,
      handle,
      role: false,
      sndSettleMode: attach.sndSettleMode,
      rcvSettleMode: attach.rcvSettleMode,
      source: { ...source, filter: inForce },
      target: attach.target,
      initialDeliveryCount: 0,
    })
  }

  // ── Credit ──────────────────────────────────────────────────────────────────────────────────────

  flow({ deliveryCount, linkCredit, drain, echo }: Flow): void {
    if (linkCredit !== undefined) {
      // The receiver's count may lag behind by what is on its way to it. [2.6.7]
      const lag = deliveryCount === undefined ? this.#deliveryCount : this.#deliveryCount - deliveryCount
      this.#credit = Math.max(0, linkCredit - (lag >>> 0))
      this.#drain = drain ? 'wanted' : 'no'
    }
    const answered = this.#drain === 'wanted'
    this.push()
    if (echo && !answered) this.#sayFlow(false)
  }

  /** Tells the pump how many messages may come now. */
  recredit(): void {
    if (this.attached && this.#drain === 'no') this.#pump.credit(this.#wanted())
  }

  #wanted(): number {
    const { host, window } = this.session
    if (host.leaving || host.slow || window === 0) return 0
    const room = Math.min(host.room, host.gateway.limits.inflight - this.#held)
    return Math.max(0, Math.min(this.#credit, room) - this.#queue.length)
  }

  /**
   * A drain: is there something now? Then that is delivered first; when there is nothing any more, the count goes on
   * by what was not used. [2.6.7]
   */
  #look(): void {
    const { gateway, session, leaving } = this.session.host
    if (leaving || this.#credit === 0) return this.#drained()
    this.#drain = 'looking'
    this.#pump.credit(0)
    gateway
      .handle<'pop'>(
        { kind: 'pop', source: this.#source, max: 0, invisible: INVISIBLE, wait: 0, fifo: false },
        gateway.context(session, PATIENCE),
      )
      .then(
        ({ more }) => this.#looked(more),
        () => this.#looked(false),
      )
  }

  #looked(more: boolean): void {
    if (!this.attached || this.#drain !== 'looking') return
    if (!more) return this.#drained()
    this.#drain = 'wanted'
    this.#pump.credit(this.#wanted())
  }

  #drained(): void {
    this.#pump.credit(0)
    this.#drain = 'no'
    this.#deliveryCount = add(this.#deliveryCount, this.#credit)
    this.#credit = 0
    this.#sayFlow(true)
  }

  #sayFlow(drain: boolean): void {
    this.session.flow({
      handle: this.handle,
      deliveryCount: this.#deliveryCount,
      linkCredit: this.#credit,
      available: this.#queue.length,
      drain,
    })
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────────

  #deliver(delivered: readonly Delivered[]): void {
    for (const one of delivered) this.#queue.push({ delivered: one, id: 0, left: undefined })
    this.push()
  }

  /** Sends what the peer's window lets through. */
  push(): void {
    while (this.#queue.length > 0 && this.session.window > 0) {
      const leaving = this.#queue[0] as Leaving
      if (!this.#send(leaving)) break
      this.#queue.shift()
    }
    if (this.#drain === 'wanted' && this.#queue.length === 0) this.#look()
    else this.recredit()
  }

  /** @returns whether all of it went */
  #send(leaving: Leaving): boolean {
    if (leaving.left === undefined) this.#begin(leaving)
    const most = this.session.host.maxFrame - TRANSFER
    while (this.session.window > 0) {
      const [now, later] = split(leaving.left as readonly Buffer[], most)
      this.session.transfer(this.#transfer(leaving, later.length > 0), now)
      leaving.left = later
      if (later.length === 0) return true
    }
    return false
  }

  #begin(leaving: Leaving): void {
    const { delivered } = leaving
    const { gateway } = this.session.host
    for (const field of losses(delivered.message, 'amqp'))
      gateway.lost(delivered.message.via ?? 'remoting', 'amqp', field)
    leaving.left = toPayload(delivered, gateway.clock.now())
    leaving.id = this.session.newDelivery(this.#settled ? undefined : { link: this, delivered })
    if (!this.#settled) this.#held++
    this.#deliveryCount = add(this.#deliveryCount, 1)
    this.#credit = Math.max(0, this.#credit - 1)
  }

  #transfer({ id }: Leaving, more: boolean): CompositeOf<'transfer'> {
    const deliveryTag = Buffer.allocUnsafe(4)
    deliveryTag.writeUInt32BE(id)
    return {
      type: 'transfer',
      handle: this.handle,
      deliveryId: id,
      deliveryTag,
      messageFormat: 0,
      settled: this.#settled,
      more: more || undefined,
    }
  }

  // ── The client's word ───────────────────────────────────────────────────────────────────────────

  /** `ids` and `delivered` belong together. @throws Fault 'unsupported' for a transaction, 'malformed' */
  outcome(ids: readonly Serial[], delivered: readonly Delivered[], settled: boolean, state: State | undefined): void {
    const given = state ?? this.#default
    const outcome = (given && toOutcome(given)) ?? GIVE_BACK
    this.#held -= delivered.length
    this.session.settling += delivered.length
    this.#pump.settle(delivered, outcome, (fault) => {
      this.session.settling -= delivered.length
      if (settled || !this.attached) return
      // A receiver that has not settled waits for us to do so. [2.6.12]
      const told = fault ? ({ type: 'modified', deliveryFailed: true } as const) : (given ?? ACCEPTED)
      for (const id of ids) this.session.dispositions.say(false, id, true, told)
    })
    this.recredit()
  }

  goAway(): void {
    this.#pump.credit(0)
    const unsent = this.#queue.filter(({ left }) => left === undefined && !this.#settled)
    if (unsent.length > 0) {
      this.#pump.settle(
        unsent.map(({ delivered }) => delivered),
        GIVE_BACK,
      )
      const kept = this.#queue.filter((one) => !unsent.includes(one))
      this.#queue.splice(0, this.#queue.length, ...kept)
    }
    if (this.#drain !== 'no' && this.#queue.length === 0) this.#drained()
  }

  /** What a drain saw may have gone to someone else; there may be room again. */
  tick(): void {
    if (this.#drain === 'wanted' && this.#queue.length === 0) this.#look()
    else this.recredit()
  }

  protected stop(): void {
    this.#queue.length = 0
    this.session.forget(this)
    this.session.host.stopping(this.#pump.stop())
  }
}

type State = Composite | Described

const groupOf = (session: AmqpSession, attach: Attach, source: Terminus): string => {
  const named = textOf(entry(attach.properties, 'x-opt-group'))
  if (named) return named
  const durable = (source.durable ?? 0) > 0 || source.expiryPolicy === 'never'
  return durable ? attach.name : session.host.defaultGroup
}

/** At most `most` bytes of these, and the rest. */
const split = (parts: readonly Buffer[], most: number): readonly [readonly Buffer[], readonly Buffer[]] => {
  let bytes = 0
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index] as Buffer
    if (bytes + part.length > most) {
      const cut = most - bytes
      return [
        [...parts.slice(0, index), part.subarray(0, cut)],
        [part.subarray(cut), ...parts.slice(index + 1)],
      ]
    }
    bytes += part.length
  }
  return [parts, none]
}
const none: readonly Buffer[] = []
