import {
  type Credentials,
  type EpochMs,
  Fault,
  type Gateway,
  type Membership,
  type Ms,
  type Notice,
  type Principal,
  type Session,
} from '@sluice/core'
import { checkGroup } from './rules.ts'
import { consumerOf, toMembership } from './settings.ts'
import { type HeartbeatRequest, type Settings, toMs } from './wire.ts'

/** A client that said nothing for so long is gone. Heartbeats come every 10 s, Rust's every 30 s. */
const SILENCE: Ms = 120_000
/** One whose last connection is gone, and that did not come back for so long, is gone too. */
const AWAY: Ms = 2_000
/** Default of all clients, where their settings did not come here. */
const REQUEST_TIMEOUT: Ms = 3_000

/**
 * One client id of one principal, on any number of connections and telemetry streams. Its settings may have gone to
 * another process: everything is served without them.
 */
export class Client {
  readonly key: string
  readonly session: Session
  seenAt: EpochMs
  /** Connections on which it spoke and that are open, by their end. */
  readonly #connections = new Set<Promise<void>>()
  #settings: Settings | undefined
  #version = 0

  constructor(key: string, session: Session, seenAt: EpochMs) {
    this.key = key
    this.session = session
    this.seenAt = seenAt
  }

  get connected(): boolean {
    return this.#connections.size > 0
  }

  /** It speaks, on a connection that lasts until `gone`. */
  spoke(gone: Promise<void>, now: () => EpochMs): void {
    this.seenAt = now()
    if (this.#connections.has(gone)) return
    this.#connections.add(gone)
    void gone.then(() => {
      this.#connections.delete(gone)
      this.seenAt = now()
    })
  }

  /** What a poll without a time of its own is shortened by. */
  get requestTimeout(): Ms {
    const timeout = this.#settings?.request_timeout
    return timeout ? toMs(timeout, 'request timeout') : REQUEST_TIMEOUT
  }

  /** The newest settings count, whichever stream they come by. @throws Fault 'invalid', 'unsupported' about 'clientType' */
  configure(settings: Settings): Membership {
    checkClientType(settings.client_type)
    const membership = toMembership(settings, ++this.#version)
    if (settings.request_timeout) toMs(settings.request_timeout, 'request timeout')
    this.#settings = settings
    return membership
  }

  /** @throws Fault 'invalid', 'unsupported' about 'clientType' */
  membership({ group, client_type }: HeartbeatRequest): Membership {
    if (this.#settings) return toMembership(this.#settings, this.#version)
    checkClientType(client_type)
    if (client_type === 'PRODUCER' || !group) return { produces: [], consumes: [] }
    return consumerOf(checkGroup(group), client_type)
  }
}

const served: ReadonlySet<unknown> = new Set(['PRODUCER', 'PUSH_CONSUMER', 'SIMPLE_CONSUMER'])

const checkClientType = (type: string | number | undefined): void => {
  if (type !== undefined && !served.has(type)) {
    throw new Fault('unsupported', `clients of type ${type} are not served here`, { about: 'clientType' })
  }
}

/** The clients of this process. At most `limits.connections`; one that fell silent is forgotten. */
export class Clients {
  readonly #gateway: Gateway
  readonly #clients = new Map<string, Client | Promise<Client>>()

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  get size(): number {
    return this.#clients.size
  }

  /** Admitted once, however many requests ask at the same time. @throws Fault 'unauthenticated', 'limit' */
  async of(who: Credentials, principal: Principal, connectionGone: Promise<void>): Promise<Client> {
    const key = `${principal.tenant}\n${principal.name}\n${who.client}`
    let client = this.#clients.get(key)
    if (!client) {
      if (this.#clients.size >= this.#gateway.limits.connections) {
        throw new Fault('limit', `over ${this.#gateway.limits.connections} clients`)
      }
      this.#clients.set(key, (client = this.#admit(key, who)))
    }
    const known = client instanceof Promise ? await client : client
    known.spoke(connectionGone, this.#gateway.clock.now)
    return known
  }

  /** It said good-bye; coming back is a new beginning. */
  end(client: Client): void {
    if (this.#clients.get(client.key) !== client) return
    this.#clients.delete(client.key)
    this.#gateway.release(client.session)
  }

  tick(now: EpochMs): void {
    for (const client of this.#clients.values()) {
      if (client instanceof Promise) continue
      if (now - client.seenAt > (client.connected ? SILENCE : AWAY)) this.end(client)
    }
  }

  close(): void {
    for (const client of this.#clients.values()) if (!(client instanceof Promise)) this.end(client)
  }

  async #admit(key: string, who: Credentials): Promise<Client> {
    try {
      const session = await this.#gateway.admit(who, told)
      const client = new Client(key, session, this.#gateway.clock.now())
      this.#clients.set(key, client)
      return client
    } catch (error) {
      this.#clients.delete(key)
      throw error
    }
  }
}

/** Rebalancing and resets concern clients that hold queues; these poll. */
const told = async (notice: Notice): Promise<undefined> => {
  if (notice.kind === 'checkTransaction' || notice.kind === 'probe') {
    throw new Fault('unsupported', `${notice.kind} is not asked of gRPC clients yet`)
  }
}
