import {
  type Credentials,
  type EpochMs,
  Fault,
  type Gateway,
  type Membership,
  type Ms,
  type Principal,
  type Session,
} from '@sluice/core'
import type { Asker, Hall } from './calls.ts'
import { Line } from './line.ts'
import { type LiteInbox, LiteInboxes } from './lite.ts'
import { told } from './notices.ts'
import { checkGroup } from './rules.ts'
import { consumerOf, toMembership } from './settings.ts'
import { type HeartbeatRequest, type Settings, toMs } from './wire.ts'

/** A client that said nothing for so long is gone. Heartbeats come every 10 s, Rust's every 30 s. */
const SILENCE: Ms = 120_000
/** One whose last connection is gone, and that did not come back for so long, is gone too. */
const AWAY: Ms = 2_000
/** Default of all clients, where their settings did not come here. */
const REQUEST_TIMEOUT: Ms = 3_000

/** A connection as far as a client needs it. */
export interface Wire {
  /** Who spoke on it last: most have one client. */
  guest?: Client | undefined
  readonly gone: Promise<void>
  goAway(reason: 'draining'): void
}

/**
 * One client id of one principal, on any number of connections and telemetry streams. Its settings may have gone to
 * another process: everything is served without them.
 */
export class Client {
  readonly key: string
  readonly session: Session
  readonly line: Line
  seenAt: EpochMs
  /** Forgotten: who comes under its name is another one. */
  ended = false
  /** Connections on which it spoke and that are open. */
  readonly #connections = new Set<Wire>()
  readonly #inboxes = new LiteInboxes()
  #settings: Settings | undefined
  /** As its heartbeats say, where its settings did not come here. */
  #type: HeartbeatRequest['client_type']
  #version = 0

  constructor(key: string, session: Session, { clock }: Pick<Gateway, 'clock'>) {
    this.key = key
    this.session = session
    this.line = new Line(clock)
    this.seenAt = clock.now()
  }

  get connected(): boolean {
    return this.#connections.size > 0
  }

  /** Known without a look at all clients; false says nothing. */
  is(client: string, principal: Principal): boolean {
    return !this.ended && this.session.client === client && this.session.principal === principal
  }

  /** Whether it consumes lite topics: by its settings or a heartbeat, or because it named some. */
  isLite(group: string): boolean {
    return liteTypes.has(this.#settings?.client_type ?? this.#type) || this.#inboxes.has(group)
  }

  /** Whether a `reconnect_endpoints_command` makes it leave a connection that is told to go away. */
  get reconnects(): boolean {
    if (this.#settings?.user_agent?.language === 'NODE_JS') return true
    return this.session.language === 'JAVA' && this.session.version >= 50_201
  }

  /** It speaks on a connection. */
  spoke(connection: Wire, now: () => EpochMs): this {
    this.seenAt = now()
    if (connection.guest === this) return this
    connection.guest = this
    if (this.#connections.has(connection)) return this
    this.#connections.add(connection)
    void connection.gone.then(() => {
      this.#connections.delete(connection)
      this.seenAt = now()
    })
    return this
  }

  /** Asks for other connections, after which it is who it then says it is. */
  sendAway(): void {
    for (const connection of this.#connections) connection.goAway('draining')
  }

  /** Where deliveries of lite topics wait for it. @throws Fault of `open` */
  inbox(group: string, asker: Asker, hall: Hall): Promise<LiteInbox> {
    return this.#inboxes.of(group, asker, hall)
  }

  forgetInbox(group: string): void {
    this.#inboxes.forget(group)
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
    this.#type = client_type
    if (client_type === 'PRODUCER' || !group) return { produces: [], consumes: [] }
    return consumerOf(checkGroup(group), client_type)
  }
}

const liteTypes: ReadonlySet<unknown> = new Set(['LITE_PUSH_CONSUMER', 'LITE_SIMPLE_CONSUMER'])
const served: ReadonlySet<unknown> = new Set([
  'PRODUCER',
  'PUSH_CONSUMER',
  'SIMPLE_CONSUMER',
  'PULL_CONSUMER',
  ...liteTypes,
])

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
  of(who: Credentials, principal: Principal, connection: Wire): Client | Promise<Client> {
    const { now } = this.#gateway.clock
    const { guest } = connection
    if (guest?.is(who.client, principal)) return guest.spoke(connection, now)
    const key = `${principal.tenant}\n${principal.name}\n${who.client}`
    let client = this.#clients.get(key)
    if (!client) {
      if (this.#clients.size >= this.#gateway.limits.connections) {
        throw new Fault('limit', `over ${this.#gateway.limits.connections} clients`)
      }
      this.#clients.set(key, (client = this.#admit(key, who)))
    }
    if (client instanceof Promise) return client.then((admitted) => admitted.spoke(connection, now))
    return client.spoke(connection, now)
  }

  /** It said good-bye; coming back is a new beginning. */
  end(client: Client): void {
    if (this.#clients.get(client.key) !== client) return
    this.#clients.delete(client.key)
    client.ended = true
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
      const notified: Session['notify'] = async (notice) => client && told(notice, client, this.#gateway)
      let client: Client | undefined
      client = new Client(key, await this.#gateway.admit(who, notified), this.#gateway)
      this.#clients.set(key, client)
      return client
    } catch (error) {
      this.#clients.delete(key)
      throw error
    }
  }
}
