import type { Delivered, EpochMs, Fault, Gateway, Outcome, Pump, PumpOptions, Session } from '@sluice/core'
import { Aliases } from './aliases.ts'
import type { Client } from './client.ts'
import { encode } from './encode.ts'
import { type Printed, withId } from './encodings.ts'
import { ID_UNKNOWN } from './faults.ts'
import type { Ack } from './packets.ts'

/** Messages of a pop: as many as come to about so many bytes, going by the pop before. */
const BATCH_BYTES = 256 * 1024
const BATCH_MIN = 16
const BATCH_MAX = 256
/** First reason code that says no. */
const FAILURE = 0x80
const accept: Outcome = { kind: 'accept' }
const received: Outcome = { kind: 'received' }
/** Of most clients; nothing is ever put into it. */
const none: Flight[] = []

/** A delivery with QoS 1 or 2 on its way. 'sent': no answer yet. 'received': PUBREC is being stored. 'released': PUBREL is out. */
interface Flight {
  readonly messageId: number
  readonly delivered: Delivered
  readonly qos: 1 | 2
  readonly bytes: number
  at: 'sent' | 'received' | 'released'
}

/**
 * What a client is sent: the pump of its inbox, under a window of packets and bytes. The packet id is the slot's number;
 * it is free again when the broker has the outcome.
 */
export class Deliveries implements PumpOptions {
  readonly #client: Client
  /** Made when something may come: for most clients by their first SUBSCRIBE. Those that only publish wait for nothing. */
  #pump: Pump | undefined
  /** What comes may have QoS 1 or 2. */
  #exact: boolean
  #aliases: Aliases | undefined
  /** In the order in which they left, and nearly always answered in it: a few, so that looking costs nothing. */
  #flights: Flight[] = none
  /** To be settled at the end of this turn. */
  #accepted: Delivered[] | undefined
  #bytes = 0
  #batch = BATCH_MIN
  /** Bytes of the batch that is being delivered. */
  #sent = 0
  /** No new delivery: not begun, or a drain. */
  #held = true
  #blocked = false
  /** SUBSCRIBEs without their answer, and what came meanwhile. */
  #asking = 0
  #early: (readonly Delivered[])[] | undefined

  constructor(client: Client) {
    const { house, resumed } = client
    this.#client = client
    // Of a session that was there before nobody here knows the filters; in ApsaraMQ messages come without any.
    this.#exact = resumed || house.settings.apsara
    if (this.#exact) this.#begin()
  }

  // ── What the pump asks ──────────────────────────────────────────────────────────────────────

  get session(): Session {
    return this.#client.session
  }
  get invisible(): 'session' | 0 {
    return this.#exact ? 'session' : 0
  }
  get batch(): number {
    return this.#batch
  }
  get fifo(): boolean {
    return false
  }

  failed(fault: Fault): void {
    this.#client.mouth.fail(fault)
  }

  deliver(batch: readonly Delivered[]): void {
    if (this.#asking > 0) return void (this.#early ??= []).push(batch)
    const { gateway, mouth } = this.#client
    const now = gateway.clock.now()
    this.#sent = 0
    const bytes: Buffer[] = []
    for (const delivered of batch) this.#add(delivered, now, bytes)
    const writable = bytes.length === 0 || mouth.send({ cmd: 'encoded', bytes })
    const fitting = Math.floor((BATCH_BYTES * batch.length) / (this.#sent + 1))
    this.#batch = Math.min(BATCH_MAX, Math.max(BATCH_MIN, fitting))
    if (writable) return this.#refill()
    this.#blocked = true
    this.#pump?.credit(0)
    void mouth.writable().then(() => {
      this.#blocked = false
      this.#refill()
    })
  }

  /** From now on something may come. With QoS 1 or 2 each message has its number; until then they go as they come, and need no settling. */
  expect(isExact: boolean): void {
    if (isExact && !this.#exact) {
      this.#exact = true
      // Ends the pop that is parked. What it may have taken meanwhile still comes.
      this.#pump?.credit(0)
    } else if (this.#pump) return
    this.#begin()
    this.#refill()
  }

  #begin(): void {
    const { gateway, inbox, epoch } = this.#client
    this.#pump ??= gateway.pump({ kind: 'inbox', inbox, epoch }, this)
  }

  /** A client is told what it was granted before it gets any of it: nothing is delivered until {@link answered}. */
  asking(): void {
    this.#asking++
  }

  answered(): void {
    this.#asking--
    const early = this.#early
    if (!early || this.#asking > 0) return
    this.#early = undefined
    for (const batch of early) this.deliver(batch)
  }

  start(): void {
    this.#held = false
    this.#refill()
  }

  get unsettled(): number {
    return this.#pump?.unsettled ?? 0
  }

  /** The reader does not keep up. */
  get blocked(): boolean {
    return this.#blocked
  }

  hold(): void {
    this.#held = true
    this.#pump?.credit(0)
  }

  async stop(): Promise<void> {
    this.#held = true
    this.#acceptAll()
    await this.#pump?.stop()
  }

  /** Of ids that are not on their way, or not with QoS 1, nothing is known and nothing is done. */
  puback({ messageId }: Ack): void {
    const flight = this.#flight(messageId)
    if (flight?.qos === 1) this.#finish(flight)
  }

  pubrec({ messageId, reasonCode = 0 }: Ack): void {
    const flight = this.#flight(messageId)
    if (!flight) {
      this.#client.mouth.send({ cmd: 'pubrel', messageId, reasonCode: ID_UNKNOWN })
      return
    }
    if (flight.qos !== 2 || flight.at === 'received') return
    if (flight.at === 'released') this.#release(messageId)
    else if (reasonCode >= FAILURE) this.#finish(flight)
    else {
      flight.at = 'received'
      this.#settle([flight.delivered], received, () => {
        flight.at = 'released'
        this.#release(messageId)
      })
    }
  }

  pubcomp({ messageId }: Ack): void {
    const flight = this.#flight(messageId)
    if (flight?.at === 'released') this.#finish(flight)
  }

  #release(messageId: number): void {
    this.#client.mouth.send({ cmd: 'pubrel', messageId })
  }

  #flight(messageId: number): Flight | undefined {
    for (const flight of this.#flights) if (flight.messageId === messageId) return flight
    return undefined
  }

  #finish(flight: Flight): void {
    this.#flights.splice(this.#flights.indexOf(flight), 1)
    this.#bytes -= flight.bytes
    this.#accept(flight.delivered)
  }

  /** All of one turn together. */
  #accept(delivered: Delivered): void {
    if (this.#accepted) return void this.#accepted.push(delivered)
    this.#accepted = [delivered]
    queueMicrotask(() => this.#acceptAll())
  }

  #acceptAll(): void {
    const accepted = this.#accepted
    if (!accepted) return
    this.#accepted = undefined
    this.#settle(accepted, accept, () => this.#refill())
  }

  /** What the broker did not take down is not over: the client comes back to it. */
  #settle(delivered: readonly Delivered[], outcome: Outcome, done: () => void): void {
    this.#pump!.settle(delivered, outcome, (fault) => (fault ? this.failed(fault) : done()))
  }

  /** Its packet, behind those of the batch before it. */
  #add(delivered: Delivered, now: EpochMs, bytes: Buffer[]): void {
    const { terms, house } = this.#client
    const slot = delivered.receipt?.of === 'inbox' ? delivered.receipt.slot : undefined
    if (delivered.received && slot !== undefined) {
      this.#takeOff({ messageId: slot, delivered, qos: 2, bytes: 0, at: 'released' })
      bytes.push(...encode({ cmd: 'pubrel', messageId: slot }, terms.version))
      return
    }
    const printed = this.#print(delivered, now)
    // [MQTT-3.1.2-25] too large for this client: as if it had been delivered
    if (printed === undefined || printed.size > terms.packetMax) {
      if (printed) this.#lost(delivered, ['body'])
      return this.#forget(delivered)
    }
    this.#lost(delivered, printed.lost)
    house.tally.sent++
    const { qos, size } = printed
    this.#sent += size
    if (qos === 0) this.#forget(delivered)
    else this.#takeOff({ messageId: slot!, delivered, qos, bytes: size, at: 'sent' })
    const isOwn = qos === 0 || slot === printed.id
    for (const part of isOwn ? printed.bytes : withId(printed.bytes, slot!)) bytes.push(part)
  }

  /** With an alias for its topic where that can be had. undefined: there is nothing to send. */
  #print(delivered: Delivered, now: EpochMs): Printed | undefined {
    const { terms, house } = this.#client
    const { version, packetMax, aliasMax } = terms
    const { encodings } = house
    const topic = aliasMax > 0 ? encodings.topicOf(delivered.message) : undefined
    const alias = topic === undefined ? undefined : (this.#aliases ??= new Aliases(aliasMax)).of(topic)
    let printed = encodings.print(delivered, { version, alias }, now)
    if (alias?.known === false && 'size' in printed) {
      if (printed.size <= packetMax) this.#aliases?.told(topic!, alias)
      else printed = encodings.print(delivered, { version }, now)
    }
    if ('size' in printed) return printed
    if (printed.skipped === 'unsayable') this.#lost(delivered, ['topic'])
    return undefined
  }

  #takeOff(flight: Flight): void {
    if (this.#flights === none) this.#flights = []
    this.#flights.push(flight)
    this.#bytes += flight.bytes
  }

  #lost(delivered: Delivered, fields: readonly Parameters<Gateway['lost']>[2][]): void {
    if (fields.length === 0) return
    const { gateway, terms } = this.#client
    const from = delivered.message.via ?? 'remoting'
    for (const field of fields) gateway.lost(from, terms.version === 5 ? 'mqtt5' : 'mqtt3', field)
  }

  #forget(delivered: Delivered): void {
    if (delivered.receipt) this.#accept(delivered)
  }

  /** Only ever raises the credit: the pump itself counts it down. */
  #refill(): void {
    if (this.#held || this.#blocked || !this.#pump) return
    const { terms, gateway } = this.#client
    const room = this.#bytes > gateway.limits.outboundBytes ? 0 : terms.window - this.#pump.unsettled
    if (room > 0) this.#pump.credit(room)
  }
}
