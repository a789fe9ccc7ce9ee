import { Fault, type Stored } from '@sluice/core'
import { type Destination, sendAddress } from './address.ts'
import type { AmqpSession } from './amqpSession.ts'
import { ACCEPTED } from './dispositions.ts'
import { amqpError, conditions, errorOf, refusalOf } from './faults.ts'
import { CREDIT } from './host.ts'
import { AmqpLink, type Attach, type Flow } from './link.ts'
import { add, ahead, type Serial, within } from './serial.ts'
import type { CompositeOf } from './shapes.ts'
import { PROTOCOL, toMessage } from './translate.ts'
import { textOf } from './types/values.ts'

type Transfer = CompositeOf<'transfer'>

/** How long a publish is worth waiting for. */
const PATIENCE = 5_000
/** [2.8.7] */
const TAG_MAX = 32
/** A part of a delivery costs so much besides its bytes. */
const PART = 128

interface Arriving {
  readonly id: Serial
  readonly parts: Buffer[]
  bytes: number
  /** What is counted for it in the connection's memory. */
  held: number
  settled: boolean
  /** There is no memory for it: its bytes are let go, and it is released once it is complete. */
  unheld: boolean
}

/** A client's sender: its transfers become publishes, and the outcome of a publish becomes the transfer's. */
export class IncomingLink extends AmqpLink {
  /** Undefined: every message says itself where it goes. */
  readonly #to: Destination | undefined
  readonly #window: number
  /** The sender settles after us: its deliveries are done with when it has. [2.8.3] */
  readonly #second: boolean
  readonly #awaited = new Set<Serial>()
  #deliveryCount: Serial
  #credit = 0
  /** Deliveries that are being published, or wait for their sender to settle. */
  #busy = 0
  #arriving: Arriving | undefined
  #noCreditUntil = 0

  /** Sends the attach that answers. @throws Fault 'unsupported', 'invalid' */
  constructor(session: AmqpSession, attach: Attach, handle: number) {
    super(session, attach, handle)
    const { target } = attach
    if (target?.type === 'coordinator') throw new Fault('unsupported', 'transactions', { about: 'transaction' })
    if (target && target.type !== 'target') throw new Fault('unsupported', `a target of type ${target.type}`)
    if (target?.dynamic) throw new Fault('unsupported', 'dynamic nodes', { about: 'address' })
    const address = textOf(target?.address)
    this.#to = address === undefined ? undefined : sendAddress(address)
    this.#window = Math.min(CREDIT, session.host.gateway.limits.inflight)
    this.#second = attach.rcvSettleMode === 1
    if (attach.initialDeliveryCount === undefined)
      throw new Fault('invalid', 'a sender without initial-delivery-count', { about: 'attach' })
    this.#deliveryCount = attach.initialDeliveryCount
    session.send({
      type: 'attach',
      name: attach.name,
      handle,
      role: true,
      sndSettleMode: attach.sndSettleMode,
      rcvSettleMode: attach.rcvSettleMode,
      source: attach.source,
      target: target ?? { type: 'target' },
      maxMessageSize: session.host.maxMessage,
    })
    this.#renew()
  }

  /** The returned promise is the publish; undefined: the delivery is not complete. */
  transfer(transfer: Transfer, payload: Buffer): Promise<void> | undefined {
    const arriving = this.#arriving ?? this.#begin(transfer)
    if (!arriving) return
    if (transfer.deliveryId !== undefined && transfer.deliveryId !== arriving.id)
      return this.#broken(conditions.notAllowed, 'a delivery within another one')
    if (transfer.settled) arriving.settled = true
    if (transfer.aborted) {
      this.#letGo(arriving)
      this.#renew()
      return
    }
    const { host } = this.session
    if (arriving.bytes + payload.length > host.maxMessage)
      return this.#broken(conditions.sizeExceeded, `a message of more than ${host.maxMessage} bytes`)
    this.#hold(arriving, payload)
    if (transfer.more) return
    this.#arriving = undefined
    return this.#publish(arriving)
  }

  #begin({ deliveryId, deliveryTag, messageFormat, resume, state }: Transfer): Arriving | undefined {
    if (deliveryId === undefined || deliveryTag === undefined || deliveryTag.length > TAG_MAX)
      return this.#broken(conditions.invalid, 'a delivery without delivery-id or delivery-tag')
    if (resume) return this.#broken(conditions.notImplemented, 'resuming a delivery')
    if (state) return this.#broken(conditions.notImplemented, `a transfer with a state, ${state.type}`)
    if (messageFormat) return this.#broken(conditions.notImplemented, `message format ${messageFormat}`)
    if (this.#credit === 0) return this.#broken(conditions.creditExceeded, 'a transfer without credit')
    this.#credit--
    this.#deliveryCount = add(this.#deliveryCount, 1)
    this.#arriving = { id: deliveryId, parts: [], bytes: 0, held: 0, settled: false, unheld: false }
    return this.#arriving
  }

  #hold(arriving: Arriving, payload: Buffer): void {
    const cost = payload.length + PART
    if (!arriving.unheld && this.session.host.memory.hold(cost)) {
      arriving.parts.push(payload)
      arriving.held += cost
      arriving.bytes += payload.length
      return
    }
    this.#release(arriving)
    arriving.unheld = true
  }

  #release(arriving: Arriving): void {
    this.session.host.memory.release(arriving.held)
    arriving.parts.length = 0
    arriving.bytes = 0
    arriving.held = 0
  }

  #letGo(arriving: Arriving): void {
    this.#release(arriving)
    this.#arriving = undefined
  }

  #broken(condition: string, description: string): undefined {
    this.detach(amqpError(condition, description))
    return undefined
  }

  async #publish(arriving: Arriving): Promise<void> {
    this.#busy++
    const fault = await this.#store(arriving)
    this.#release(arriving)
    if (fault?.retryAfter !== undefined && fault.code === 'throttled')
      this.#noCreditUntil = this.session.host.gateway.clock.now() + fault.retryAfter
    this.#answer(arriving, fault)
    this.#renew()
  }

  /** @returns why it is not stored */
  async #store({ parts, bytes, unheld }: Arriving): Promise<Fault | undefined> {
    const { gateway, session } = this.session.host
    if (unheld) return new Fault('busy', 'too many messages at once')
    try {
      const whole = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, bytes)
      const { message, lost } = toMessage(whole, this.#to, gateway.clock.now())
      if (message.body.length > gateway.limits.bodyBytes)
        return new Fault('tooLarge', `a body of more than ${gateway.limits.bodyBytes} bytes`)
      if (lost) gateway.lost(PROTOCOL, 'amqp', 'original')
      const { stored } = await gateway.handle<'publish'>(
        { kind: 'publish', messages: [message], oneway: false },
        gateway.context(session, PATIENCE),
      )
      const [only] = stored as readonly (Stored | Fault | undefined)[]
      return Fault.is(only) ? only : undefined
    } catch (error) {
      if (!Fault.is(error)) gateway.log.error('publish.failed', { error: error instanceof Error ? error.stack : error })
      return Fault.from(error)
    }
  }

  #answer({ id, settled }: Arriving, fault: Fault | undefined): void {
    if (!this.attached || settled || !this.#second) this.#busy--
    if (!this.attached) return
    const state = fault ? refusalOf(fault) : ACCEPTED
    if (!settled) {
      if (this.#second) this.#awaited.add(id)
      this.session.dispositions.say(true, id, !this.#second, state)
    } else if (state.type === 'rejected') {
      // Nothing else tells a sender that settles beforehand.
      this.detach(errorOf(fault as Fault))
    }
  }

  /** The sender has settled these as well. */
  peerSettled(first: Serial, last: Serial): void {
    if (this.#awaited.size === 0) return
    for (const id of this.#awaited) {
      if (!within(id, first, last)) continue
      this.#awaited.delete(id)
      this.#busy--
    }
    this.#renew()
  }

  flow({ deliveryCount, echo }: Flow): void {
    // A sender that has nothing to send may give credit back by counting on. [2.6.7]
    const skipped = deliveryCount === undefined ? 0 : ahead(deliveryCount, this.#deliveryCount)
    if (skipped > 0) {
      this.#deliveryCount = deliveryCount as Serial
      this.#credit = Math.max(0, this.#credit - skipped)
    }
    if (!this.#renew() && echo) this.#sayFlow()
  }

  /** Grants what has become free, once it is worth a frame. */
  #renew(): boolean {
    const { host } = this.session
    if (!this.attached || host.leaving || host.memory.high || host.gateway.clock.now() < this.#noCreditUntil)
      return false
    const more = this.#window - this.#busy - this.#credit
    if (more < this.#window / 2) return false
    this.#credit += more
    this.#sayFlow()
    return true
  }

  #sayFlow(): void {
    this.session.flow({ handle: this.handle, deliveryCount: this.#deliveryCount, linkCredit: this.#credit })
  }

  goAway(): void {}

  /** A throttle or a want of memory may be over. */
  tick(): void {
    this.#renew()
  }

  protected stop(): void {
    if (this.#arriving) this.#letGo(this.#arriving)
  }
}
