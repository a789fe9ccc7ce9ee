import { type Binding, Fault, type Ms } from '@sluice/core'
import type { Client } from './client.ts'
import { NO_SUBSCRIPTION, reasonOf, SUBACK_REFUSED, SUCCESS } from './faults.ts'
import type { Subscribe, Subscription, Unsubscribe } from './packets.ts'
import { toBinding, toUnbinding } from './subscriptions.ts'

const PATIENCE: Ms = 5_000
/** Filters that a connection may hold, and their characters together. */
export const SUBSCRIPTIONS_MAX = 4_096
export const SUBSCRIPTIONS_LENGTH_MAX = 1024 * 1024

/** SUBSCRIBE and UNSUBSCRIBE of one connection. */
export class Subscribing {
  readonly #client: Client
  /** Nearly always one. */
  #filters: string | Set<string> | undefined
  #length = 0

  constructor(client: Client) {
    this.#client = client
  }

  /** One code a filter, in their order [MQTT-3.8.4-1, -6]. @throws Fault 'conflict' */
  async subscribe(packet: Subscribe): Promise<void> {
    const { deliveries } = this.#client
    deliveries.asking()
    try {
      await this.#subscribe(packet)
    } finally {
      deliveries.answered()
    }
  }

  async #subscribe({ messageId, subscriptions, properties }: Subscribe): Promise<void> {
    // Told before it is asked for.
    this.#client.deliveries.expect(subscriptions.some(({ qos }) => qos > 0))
    const wanted = subscriptions.map((one) => this.#wanted(one, properties?.subscriptionIdentifier))
    const add = wanted.filter((one): one is Binding => !Fault.is(one))
    const granted = await this.#bind(add)
    let next = 0
    const codes = wanted.map((one, at) => {
      const result = Fault.is(one) ? one : granted[next++]!
      if (result !== true) return this.#code(result)
      this.#keep(subscriptions[at]!.topic)
      this.#client.house.system.subscribed(subscriptions[at]!.topic)
      return subscriptions[at]!.qos
    })
    this.#client.mouth.send({ cmd: 'suback', messageId, granted: codes })
  }

  /** Always answered [MQTT-3.10.4-4, -5]. @throws Fault for what 3.1.1 has no word for */
  async unsubscribe({ messageId, unsubscriptions }: Unsubscribe): Promise<void> {
    const wanted = unsubscriptions.map((topic) => caught(() => toUnbinding(topic)))
    const remove = wanted.filter((one): one is Exclude<typeof one, Fault> => !Fault.is(one))
    const { gateway, session, inbox, epoch, terms, mouth } = this.#client
    let existed: readonly (boolean | Fault)[] = []
    if (remove.length > 0) {
      try {
        const context = gateway.context(session, PATIENCE)
        const reply = await gateway.handle({ kind: 'bind', inbox, epoch, add: [], remove }, context)
        existed = reply.existed
      } catch (error) {
        existed = remove.map(() => this.#bearable(error))
        if (terms.version === 4) throw error
      }
    }
    let next = 0
    const codes = wanted.map((one, at) => {
      const known = this.#has(unsubscriptions[at]!)
      const result = Fault.is(one) ? one : (existed[next++] ?? known)
      if (Fault.is(result)) return reasonOf(result).unsuback ?? reasonOf(result).suback
      this.#drop(unsubscriptions[at]!)
      return result ? SUCCESS : NO_SUBSCRIPTION
    })
    mouth.send({ cmd: 'unsuback', messageId, granted: codes })
  }

  #wanted(one: Subscription, id: number | undefined): Binding | Fault {
    const { settings } = this.#client.house
    return caught(() => {
      if (settings.refusedFilters.has(one.topic))
        throw new Fault('forbidden', 'not to be subscribed to', { about: 'filter' })
      const binding = toBinding(one, id, settings.sharedSubscriptions)
      if (this.#has(one.topic)) return binding
      if (this.#size >= SUBSCRIPTIONS_MAX || this.#length + one.topic.length > SUBSCRIPTIONS_LENGTH_MAX) {
        throw new Fault('limit', 'too many subscriptions')
      }
      return binding
    })
  }

  async #bind(add: readonly Binding[]): Promise<readonly (true | Fault)[]> {
    if (add.length === 0) return []
    const { gateway, session, inbox, epoch } = this.#client
    try {
      const context = gateway.context(session, PATIENCE)
      return (await gateway.handle({ kind: 'bind', inbox, epoch, add, remove: [] }, context)).granted
    } catch (error) {
      const fault = this.#bearable(error)
      return add.map(() => fault)
    }
  }

  /** @throws Fault 'conflict': the session is another's now */
  #bearable(error: unknown): Fault {
    const fault = Fault.from(error)
    if (fault.code === 'conflict') throw fault
    return fault
  }

  #code(fault: Fault): number {
    return this.#client.terms.version === 5 ? reasonOf(fault).suback : SUBACK_REFUSED
  }

  get #size(): number {
    const filters = this.#filters
    return typeof filters === 'string' ? 1 : (filters?.size ?? 0)
  }

  #has(filter: string): boolean {
    const filters = this.#filters
    return typeof filters === 'string' ? filters === filter : filters?.has(filter) === true
  }

  #keep(filter: string): void {
    if (this.#has(filter)) return
    const filters = this.#filters
    if (filters === undefined) this.#filters = filter
    else if (typeof filters === 'string') this.#filters = new Set([filters, filter])
    else filters.add(filter)
    this.#length += filter.length
  }

  #drop(filter: string): void {
    if (!this.#has(filter)) return
    if (typeof this.#filters === 'string') this.#filters = undefined
    else this.#filters?.delete(filter)
    this.#length -= filter.length
  }
}

const caught = <T>(call: () => T): T | Fault => {
  try {
    return call()
  } catch (error) {
    return Fault.from(error)
  }
}
