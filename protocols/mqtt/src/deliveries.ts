import type { Delivered, EpochMs, Fault, Gateway, Outcome, Pump, Session } from '@sluice/core'
import { Aliases } from './aliases.ts'
import { type Encodings, type Printed, withId } from './encodings.ts'
import { ID_UNKNOWN } from './faults.ts'
import type { Ack, Outbound, Version } from './packets.ts'
import type { Tally } from './system.ts'

/** Messages of a pop: as many as come to about so many bytes, going by the pop before. */
const BATCH_BYTES = 256 * 1024
const BATCH_MIN = 16
const BATCH_MAX = 256
/** First reason code that says no. */
const FAILURE = 0x80
const accept: Outcome = { kind: 'accept' }
const received: Outcome = { kind: 'received' }

export interface DeliveriesOptions {
  readonly gateway: Gateway
  readonly session: Session
  readonly inbox: string
  readonly epoch: number
  readonly version: Version
  /** Deliveries without an answer: the client's receive maximum. */
  readonly window: number
  /** Bytes of a packet that the client takes. */
  readonly packetMax: number
  /** Topic aliases that it takes. */
  readonly aliasMax: number
  readonly encodings: Encodings
  readonly tally: Tally
  /** What comes may have QoS 1 or 2, from the beginning. */
  readonly exact: boolean
  /** False: too much waits for this reader. */
  send(packet: Outbound): boolean
  writable(): Promise<void>
  /** Ends the connection. */
  fail(fault: Fault): void
}

/** A delivery with QoS 1 or 2 on its way. 'sent': no answer yet. 'received': PUBREC is being stored. 'released': PUBREL is out. */
interface Flight {
  readonly delivered: Delivered
  readonly qos: 1 | 2
  readonly bytes: number
  at: 'sent' | 'received' | 'released'
}

/**
 * What a client is sent: the pump of its inbox, under a window of packets and bytes. The packet id is the slot's number;
 * it is free again when the broker has the outcome.
 */
export class Deliveries {
  readonly #options: DeliveriesOptions
  readonly #pump: Pump
  #exact: boolean
  readonly #aliases: Aliases
  readonly #flights = new Map<number, Flight>()
  /** To be settled at the end of this turn. */
  #accepted: Delivered[] = []
  #bytes = 0
  #batch = BATCH_MIN
  /** Bytes of the batch that is being delivered. */
  #sent = 0
  /** No new delivery: not begun, or a drain. */
  #held = true
  #blocked = false

  constructor(options: DeliveriesOptions) {
    this.#options = options
    this.#aliases = new Aliases(options.aliasMax)
    this.#exact = options.exact
    const { gateway, session, inbox, epoch, fail } = options
    const invisible = () => (this.#exact ? 'session' : 0)
    const batch = () => this.#batch
    this.#pump = gateway.pump(
      { kind: 'inbox', inbox, epoch },
      {
        session,
        get invisible() {
          return invisible()
        },
        get batch() {
          return batch()
        },
        fifo: false,
        deliver: (delivered) => this.#deliver(delivered),
        failed: fail,
      },
    )
  }

  /** From now on QoS 1 and 2 may come: each message has its number. Until then they go as they come, and need no settling. */
  exact(): void {
    if (this.#exact) return
    this.#exact = true
    // Ends the pop that is parked. What it may have taken meanwhile still comes.
    this.#pump.credit(0)
    this.#refill()
  }

  start(): void {
    this.#held = false
    this.#refill()
  }

  get unsettled(): number {
    return this.#pump.unsettled
  }

  /** The reader does not keep up. */
  get blocked(): boolean {
    return this.#blocked
  }

  hold(): void {
    this.#held = true
    this.#pump.credit(0)
  }

  stop(): Promise<void> {
    this.#held = true
    this.#acceptAll()
    return this.#pump.stop()
  }

  /** Of ids that are not on their way, or not with QoS 1, nothing is known and nothing is done. */
  puback({ messageId }: Ack): void {
    const flight = this.#flights.get(messageId)
    if (flight?.qos === 1) this.#finish(messageId, flight)
  }

  pubrec({ messageId, reasonCode = 0 }: Ack): void {
    const flight = this.#flights.get(messageId)
    if (!flight) {
      this.#options.send({ cmd: 'pubrel', messageId, reasonCode: ID_UNKNOWN })
      return
    }
    if (flight.qos !== 2 || flight.at === 'received') return
    if (flight.at === 'released') this.#release(messageId)
    else if (reasonCode >= FAILURE) this.#finish(messageId, flight)
    else {
      flight.at = 'received'
      this.#settle([flight.delivered], received, () => {
        flight.at = 'released'
        this.#release(messageId)
      })
    }
  }

  pubcomp({ messageId }: Ack): void {
    const flight = this.#flights.get(messageId)
    if (flight?.at === 'released') this.#finish(messageId, flight)
  }

  #release(messageId: number): void {
    this.#options.send({ cmd: 'pubrel', messageId })
  }

  #finish(messageId: number, { delivered, bytes }: Flight): void {
    this.#flights.delete(messageId)
    this.#bytes -= bytes
    this.#accept(delivered)
  }

  /** All of one turn together. */
  #accept(delivered: Delivered): void {
    if (this.#accepted.push(delivered) === 1) queueMicrotask(this.#acceptAll)
  }

  readonly #acceptAll = (): void => {
    const accepted = this.#accepted
    if (accepted.length === 0) return
    this.#accepted = []
    this.#settle(accepted, accept, this.#refill)
  }

  /** What the broker did not take down is not over: the client comes back to it. */
  #settle(delivered: readonly Delivered[], outcome: Outcome, done: () => void): void {
    this.#pump.settle(delivered, outcome, (fault) => (fault ? this.#options.fail(fault) : done()))
  }

  #deliver(batch: readonly Delivered[]): void {
    const now = this.#options.gateway.clock.now()
    let writable = true
    this.#sent = 0
    for (const delivered of batch) writable = this.#send(delivered, now) && writable
    const fitting = Math.floor((BATCH_BYTES * batch.length) / (this.#sent + 1))
    this.#batch = Math.min(BATCH_MAX, Math.max(BATCH_MIN, fitting))
    if (writable) return this.#refill()
    this.#blocked = true
    this.#pump.credit(0)
    void this.#options.writable().then(() => {
      this.#blocked = false
      this.#refill()
    })
  }

  /** @returns false when too much waits for this reader */
  #send(delivered: Delivered, now: EpochMs): boolean {
    const { packetMax, send, tally } = this.#options
    const slot = delivered.receipt?.of === 'inbox' ? delivered.receipt.slot : undefined
    if (delivered.received && slot !== undefined) {
      this.#flights.set(slot, { delivered, qos: 2, bytes: 0, at: 'released' })
      return send({ cmd: 'pubrel', messageId: slot })
    }
    const printed = this.#print(delivered, now)
    // [MQTT-3.1.2-25] too large for this client: as if it had been delivered
    if (printed === undefined || printed.size > packetMax) {
      if (printed) this.#lost(delivered, ['body'])
      this.#forget(delivered)
      return true
    }
    this.#lost(delivered, printed.lost)
    tally.sent++
    const { qos, size } = printed
    this.#sent += size
    if (qos === 0) this.#forget(delivered)
    else this.#takeOff(slot!, { delivered, qos, bytes: size, at: 'sent' })
    return send({ cmd: 'encoded', bytes: qos === 0 ? printed.bytes : withId(printed.bytes, slot!) })
  }

  /** With an alias for its topic where that can be had. undefined: there is nothing to send. */
  #print(delivered: Delivered, now: EpochMs): Printed | undefined {
    const { version, packetMax, aliasMax, encodings } = this.#options
    const topic = aliasMax > 0 ? encodings.topicOf(delivered.message) : undefined
    const alias = topic === undefined ? undefined : this.#aliases.of(topic)
    let printed = encodings.print(delivered, { version, alias }, now)
    if (alias?.known === false && 'size' in printed) {
      if (printed.size <= packetMax) this.#aliases.told(topic!, alias)
      else printed = encodings.print(delivered, { version }, now)
    }
    if ('size' in printed) return printed
    if (printed.skipped === 'unsayable') this.#lost(delivered, ['topic'])
    return undefined
  }

  #takeOff(messageId: number, flight: Flight): void {
    this.#flights.set(messageId, flight)
    this.#bytes += flight.bytes
  }

  #lost(delivered: Delivered, fields: readonly Parameters<Gateway['lost']>[2][]): void {
    const { gateway, version } = this.#options
    const from = delivered.message.via ?? 'remoting'
    for (const field of fields) gateway.lost(from, version === 5 ? 'mqtt5' : 'mqtt3', field)
  }

  #forget(delivered: Delivered): void {
    if (delivered.receipt) this.#accept(delivered)
  }

  /** Only ever raises the credit: the pump itself counts it down. */
  readonly #refill = (): void => {
    if (this.#held || this.#blocked) return
    const { window, gateway } = this.#options
    const room = this.#bytes > gateway.limits.outboundBytes ? 0 : window - this.#pump.unsettled
    if (room > 0) this.#pump.credit(room)
  }
}
