import {
  type Conversation,
  type Delivered,
  Fault,
  type Gateway,
  type Link,
  type Pump,
  type Session,
} from '@sluice/core'
import type { Line } from './codec.ts'
import { words } from './faults.ts'
import { fromDelivered, lost, outcomes, toPublish, toSource } from './translate.ts'

const PATIENCE_MS = 5_000
const INVISIBLE_MS = 30_000

export class LineConversation implements Conversation<Line> {
  readonly #link: Link<Line>
  readonly #gateway: Gateway
  readonly #session: Promise<Session>
  /** Deliveries without a word, by their number; never more than the credit. */
  readonly #held = new Map<string, Delivered>()
  #numbers = 0
  #window = 0
  #pump: Pump | undefined

  constructor(link: Link<Line>, gateway: Gateway) {
    this.#link = link
    this.#gateway = gateway
    const who = { protocol: 'lines', client: link.id, language: '', version: 1, peer: link.peer }
    this.#session = gateway.admit(who, async (notice) => {
      if (notice.kind === 'goAway') this.#link.end(['BYE'])
    })
    this.#session.catch(() => undefined) // told by the first receive
  }

  get unsettled(): number {
    return this.#held.size
  }

  async receive(line: Line): Promise<void> {
    const [verb = '', id = '-'] = line
    try {
      const session = await this.#session
      if (verb === 'PUB') await this.#publish(session, line)
      else if (verb === 'SUB') this.#subscribe(session, line)
      else if (outcomes[verb]) await this.#settle(verb, id)
      else throw new Fault('unsupported', `no verb ${verb}`)
      this.#link.send(['OK', id])
    } catch (error) {
      // What is no Fault is a bug of ours: it costs this connection, and the log names it.
      if (!Fault.is(error)) throw error
      this.#link.send(['ERR', id, words[error.code]])
    }
  }

  refuse(fault: Fault): Line {
    return ['ERR', '-', words[fault.code]]
  }

  goAway(): void {
    this.#window = 0
    this.#pump?.credit(0)
    this.#link.send(['BYE'])
  }

  farewell(): undefined {
    return undefined // BYE has been said
  }

  async closed(): Promise<void> {
    await this.#pump?.stop()
    const session = await this.#session.catch(() => undefined)
    if (session) this.#gateway.release(session)
  }

  async #publish(session: Session, line: Line): Promise<void> {
    const { stored } = await this.#gateway.handle(toPublish(line), this.#gateway.context(session, PATIENCE_MS))
    if (Fault.is(stored[0])) throw stored[0]
  }

  #subscribe(session: Session, line: Line): void {
    if (this.#pump) throw new Fault('conflict', 'one SUB a connection')
    const { source, credit } = toSource(line)
    this.#pump = this.#gateway.pump(source, {
      session,
      invisible: INVISIBLE_MS,
      batch: 16,
      fifo: false,
      deliver: (delivered) => this.#deliver(delivered),
      failed: (fault) => this.#link.end(this.refuse(fault)),
    })
    this.#window = credit
    this.#refill()
  }

  #deliver(delivered: readonly Delivered[]): void {
    let room = true
    for (const one of delivered) {
      const number = String(++this.#numbers)
      this.#held.set(number, one)
      for (const field of lost(one.message)) this.#gateway.lost(one.message.via ?? 'remoting', 'lines', field)
      room = this.#link.send(fromDelivered(number, one))
    }
    if (room) return
    this.#pump?.credit(0)
    void this.#link.writable().then(() => this.#refill())
  }

  /** @throws Fault 'receiptExpired' */
  #settle(verb: string, number: string): Promise<void> {
    const delivered = this.#held.get(number)
    if (!delivered || !this.#pump) throw new Fault('receiptExpired', `nothing is held under ${number}`)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#pump.settle([delivered], outcomes[verb]!, (fault) => {
      this.#held.delete(number)
      this.#refill()
      if (fault) reject(fault)
      else resolve()
    })
    return promise
  }

  #refill(): void {
    this.#pump?.credit(this.#window - this.#held.size)
  }
}
