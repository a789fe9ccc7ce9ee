import { type Binding, Fault, type Gateway, type Ms, type Session } from '@sluice/core'
import { NO_SUBSCRIPTION, reasonOf, SUBACK_REFUSED, SUCCESS } from './faults.ts'
import type { Outbound, Subscribe, Subscription, Unsubscribe, Version } from './packets.ts'
import { toBinding, toUnbinding } from './subscriptions.ts'

const PATIENCE: Ms = 5_000
/** Filters that a connection may hold, and their characters together. */
export const SUBSCRIPTIONS_MAX = 4_096
export const SUBSCRIPTIONS_LENGTH_MAX = 1024 * 1024

export interface SubscribingOptions {
  readonly gateway: Gateway
  readonly session: Session
  readonly inbox: string
  readonly epoch: number
  readonly version: Version
  readonly shares: boolean
  /** As they are written. */
  readonly refused: ReadonlySet<string>
  /** Told before QoS 1 or 2 is asked for. */
  exact(): void
  /** Told of each filter that is granted. */
  subscribed(filter: string): void
  send(packet: Outbound): void
}

/** SUBSCRIBE and UNSUBSCRIBE of one connection. */
export class Subscribing {
  readonly #options: SubscribingOptions
  readonly #filters = new Set<string>()
  #length = 0

  constructor(options: SubscribingOptions) {
    this.#options = options
  }

  /** One code a filter, in their order [MQTT-3.8.4-1, -6]. @throws Fault 'conflict' */
  async subscribe({ messageId, subscriptions, properties }: Subscribe): Promise<void> {
    if (subscriptions.some(({ qos }) => qos > 0)) this.#options.exact()
    const wanted = subscriptions.map((one) => this.#wanted(one, properties?.subscriptionIdentifier))
    const add = wanted.filter((one): one is Binding => !Fault.is(one))
    const granted = await this.#bind(add)
    let next = 0
    const codes = wanted.map((one, at) => {
      const result = Fault.is(one) ? one : granted[next++]!
      if (result !== true) return this.#code(result)
      this.#keep(subscriptions[at]!.topic)
      this.#options.subscribed(subscriptions[at]!.topic)
      return subscriptions[at]!.qos
    })
    this.#options.send({ cmd: 'suback', messageId, granted: codes })
  }

  /** Always answered [MQTT-3.10.4-4, -5]. @throws Fault for what 3.1.1 has no word for */
  async unsubscribe({ messageId, unsubscriptions }: Unsubscribe): Promise<void> {
    const wanted = unsubscriptions.map((topic) => caught(() => toUnbinding(topic)))
    const remove = wanted.filter((one): one is Exclude<typeof one, Fault> => !Fault.is(one))
    const { gateway, session, inbox, epoch, send } = this.#options
    let existed: readonly (boolean | Fault)[] = []
    if (remove.length > 0) {
      try {
        const context = gateway.context(session, PATIENCE)
        const reply = await gateway.handle({ kind: 'bind', inbox, epoch, add: [], remove }, context)
        existed = reply.existed
      } catch (error) {
        existed = remove.map(() => this.#bearable(error))
        if (this.#options.version === 4) throw error
      }
    }
    let next = 0
    const codes = wanted.map((one, at) => {
      const known = this.#filters.has(unsubscriptions[at]!)
      const result = Fault.is(one) ? one : (existed[next++] ?? known)
      if (Fault.is(result)) return reasonOf(result).unsuback ?? reasonOf(result).suback
      this.#drop(unsubscriptions[at]!)
      return result ? SUCCESS : NO_SUBSCRIPTION
    })
    send({ cmd: 'unsuback', messageId, granted: codes })
  }

  #wanted(one: Subscription, id: number | undefined): Binding | Fault {
    return caught(() => {
      if (this.#options.refused.has(one.topic))
        throw new Fault('forbidden', 'not to be subscribed to', { about: 'filter' })
      const binding = toBinding(one, id, this.#options.shares)
      if (this.#filters.has(one.topic)) return binding
      if (this.#filters.size >= SUBSCRIPTIONS_MAX || this.#length + one.topic.length > SUBSCRIPTIONS_LENGTH_MAX) {
        throw new Fault('limit', 'too many subscriptions')
      }
      return binding
    })
  }

  async #bind(add: readonly Binding[]): Promise<readonly (true | Fault)[]> {
    if (add.length === 0) return []
    const { gateway, session, inbox, epoch } = this.#options
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
    return this.#options.version === 5 ? reasonOf(fault).suback : SUBACK_REFUSED
  }

  #keep(filter: string): void {
    if (this.#filters.has(filter)) return
    this.#filters.add(filter)
    this.#length += filter.length
  }

  #drop(filter: string): void {
    if (this.#filters.delete(filter)) this.#length -= filter.length
  }
}

const caught = <T>(call: () => T): T | Fault => {
  try {
    return call()
  } catch (error) {
    return Fault.from(error)
  }
}
