import {
  type Conversation,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Link,
  type Ms,
  type Notice,
  type Replies,
  type Session,
} from '@sluice/core'
import { Client, leaveInbox, type Mouth } from './client.ts'
import type { Holder } from './clients.ts'
import { clientIdOf, inboxOf, TEXTS_FROM, toConnack, toCredentials, toTerms } from './connect.ts'
import { violation } from './cursor.ts'
import { Exchange } from './exchange.ts'
import { dismissal, refusal } from './faults.ts'
import type { House } from './house.ts'
import { openPatiently } from './opening.ts'
import type { Connect, Disconnect, Frame, Inbound, Outbound, Version } from './packets.ts'
import { Pauses } from './pauses.ts'
import { Reauthentication } from './reauthentication.ts'

/** Packets that a client may send behind its CONNECT before it has the answer; their bytes: `limits.frameBytes`. */
export const EARLY_MAX = 64

interface Joining {
  readonly at: 'joining'
  /** Packets behind the CONNECT. */
  readonly early: Inbound[]
  bytes: number
  /** A drain has begun meanwhile. */
  told: boolean
  /** Enhanced authentication. */
  exchange?: Exchange
  done: Promise<void>
}

type State =
  | { readonly at: 'waiting' } // for CONNECT
  | Joining // CONNECT came, CONNACK has not left
  | { readonly at: 'open'; readonly client: Client }
  | { readonly at: 'leaving'; readonly client: Client } // still served, nothing new is begun
  | { readonly at: 'closed'; readonly left: Promise<void> }

/** [MQTT-3.2.2-19, MQTT-3.14.2-3] no text that might make a last word too large for its reader */
const withoutText = (packet: Outbound): Outbound => {
  if (packet.cmd !== 'connack' && packet.cmd !== 'disconnect') return packet
  const { reasonString: _, ...properties } = packet.properties ?? {}
  return { ...packet, properties } as Outbound
}

/** What names a client's connections in this process. */
const keyOf = ({ principal, client }: Session): string => `${principal.tenant}/${client}`

const takenOver = () => new Fault('conflict', 'another connection has this client id')

export class MqttConversation implements Conversation<Frame>, Holder, Mouth {
  readonly #link: Link<Frame>
  readonly #gateway: Gateway
  readonly #house: House
  #state: State = { at: 'waiting' }
  /** Of the client; unknown before its CONNECT. */
  #version: Version | undefined
  /** Bytes of a packet that the client takes; undefined: any. */
  #packetMax: number | undefined
  /** When the last packet came. */
  #heard: EpochMs
  /** Made for the first wait. */
  #pauses: Pauses | undefined
  #reauthentication: Reauthentication | undefined
  /** Where a drain says that the client may go. */
  #elsewhere: string | undefined

  constructor(link: Link<Frame>, gateway: Gateway, house: House) {
    this.#link = link
    this.#gateway = gateway
    this.#house = house
    this.#heard = gateway.clock.now()
  }

  receive(frame: Frame): void | Promise<void> {
    this.#heard = this.#gateway.clock.now()
    if ('packet' in frame) throw violation('a packet of a server')
    if (frame.cmd === 'rejected') {
      this.#version = frame.version
      throw frame.fault
    }
    const state = this.#state
    switch (state.at) {
      case 'waiting':
        return this.#connect(frame as Connect) // the codec lets no other through
      case 'joining':
        return state.exchange?.over === false ? this.#proving(state.exchange, frame) : this.#early(state, frame)
      case 'open':
      case 'leaving':
        return this.#serve(state.client, frame)
      case 'closed':
        return undefined
    }
  }

  send(packet: Outbound): boolean {
    return this.#link.send({ version: this.#version!, packet })
  }

  writable(): Promise<void> {
    return this.#link.writable()
  }

  pause(ms: Ms): Promise<boolean> {
    if (this.#state.at === 'closed') return Promise.resolve(false)
    return (this.#pauses ??= new Pauses(this.#gateway.clock)).wait(ms)
  }

  /** The last word, where the client's version has one and is known. */
  #end(packet?: Outbound): void {
    this.#link.end(packet && this.#frame(packet))
  }

  #frame(packet: Outbound | undefined): Frame | undefined {
    if (!packet || this.#version === undefined) return undefined
    return {
      version: this.#version,
      packet: this.#packetMax !== undefined && this.#packetMax < TEXTS_FROM ? withoutText(packet) : packet,
    }
  }

  get unsettled(): number {
    return this.#client?.deliveries.unsettled ?? 0
  }

  get #client(): Client | undefined {
    const state = this.#state
    return state.at === 'open' || state.at === 'leaving' ? state.client : undefined
  }

  // ── Joining ─────────────────────────────────────────────────────────────────────────────────

  #connect(connect: Connect): Promise<void> {
    this.#version = connect.protocolVersion
    this.#packetMax = connect.properties?.maximumPacketSize
    const joining: Joining = { at: 'joining', early: [], bytes: 0, told: false, done: Promise.resolve() }
    this.#state = joining
    joining.done = this.#join(connect, joining)
    return joining.done
  }

  /** Legal, and worked on once CONNACK has left [MQTT-3.1.4-5]. */
  #early(joining: Joining, frame: Inbound): void {
    joining.bytes += (frame as { length?: number }).length ?? 0
    if (joining.early.length >= EARLY_MAX || joining.bytes > this.#gateway.limits.frameBytes) {
      throw new Fault('limit', 'too much behind a CONNECT')
    }
    joining.early.push(frame)
  }

  /** [MQTT-3.1.2-30] until it has proven itself a client says nothing else */
  #proving(exchange: Exchange, frame: Inbound): void {
    if (frame.cmd === 'auth') return exchange.answer(frame)
    if (frame.cmd !== 'disconnect') throw violation(`${frame.cmd} before the authentication is over`)
    this.#link.end()
    void this.closed()
  }

  async #join(connect: Connect, joining: Joining): Promise<void> {
    const gateway = this.#gateway
    const { settings, clients, system, tally } = this.#house
    const terms = toTerms(connect, settings)
    const { method } = terms
    const clientId = clientIdOf(connect)
    const inbox = inboxOf(clientId)
    if (method !== undefined) joining.exchange = new Exchange(method, gateway.clock, (auth) => void this.send(auth))
    const who = toCredentials(connect, clientId, terms, settings, this.#link.peer, joining.exchange?.ask)
    const session = await gateway.admit(who, this.#notify)
    const proven = joining.exchange?.end()
    let opened: Replies['open'] | undefined
    try {
      if (this.#state === joining) await clients.take(keyOf(session), this)
      if (this.#state === joining) opened = await openPatiently(gateway, session, inbox, terms, connect, this)
    } catch (error) {
      this.#release(session)
      throw error
    }
    if (!opened) return this.#release(session) // it did not wait
    const client = new Client(gateway, session, terms, this.#house, inbox, opened, this)
    tally.joined()
    if (this.#state !== joining) return this.#part(client)
    if (opened.existed) system.resumed()
    this.#state = { at: joining.told ? 'leaving' : 'open', client }
    this.#reauthentication = method === undefined ? undefined : new Reauthentication(gateway, session, who, this)
    this.send(toConnack(clientId, terms, settings, gateway.limits, opened.existed, proven))
    if (!joining.told) client.deliveries.start()
    await this.#catchUp(joining.early)
  }

  #release(session: Session): void {
    this.#house.clients.leave(keyOf(session), this)
    this.#gateway.release(session)
  }

  /** Of a client that was in. */
  #part(client: Client): Promise<void> {
    this.#house.tally.left()
    return leaveInbox(client).then(() => this.#release(client.session))
  }

  async #catchUp(early: readonly Inbound[]): Promise<void> {
    const work: (void | Promise<void>)[] = []
    try {
      for (const frame of early) work.push(this.receive(frame))
    } finally {
      await Promise.all(work)
    }
  }

  // ── Serving ─────────────────────────────────────────────────────────────────────────────────

  #serve(client: Client, frame: Inbound): void | Promise<void> {
    switch (frame.cmd) {
      case 'publish':
        return client.publishes.publish(frame)
      case 'pubrel':
        return client.publishes.release(frame)
      case 'puback':
        return client.deliveries.puback(frame)
      case 'pubrec':
        return client.deliveries.pubrec(frame)
      case 'pubcomp':
        return client.deliveries.pubcomp(frame)
      case 'subscribe':
        client.cut()
        return client.subscribing.subscribe(frame)
      case 'unsubscribe':
        client.cut()
        return client.subscribing.unsubscribe(frame)
      case 'pingreq':
        this.send({ cmd: 'pingresp' }) // [MQTT-3.12.4-1]
        return undefined
      case 'disconnect':
        return this.#disconnect(client, frame)
      case 'auth':
        if (!this.#reauthentication) throw violation('AUTH without an authentication method') // [MQTT-4.12.0-6]
        return this.#reauthentication.receive(frame)
      default:
        throw violation(`${frame.cmd} has no place here`)
    }
  }

  /** @throws Fault 'malformed': a session that ends with its connection cannot be kept after all [MQTT-3.14.2.2.2] */
  #disconnect(client: Client, { reasonCode = 0, properties }: Disconnect): void {
    const seconds = properties?.sessionExpiryInterval
    if (seconds !== undefined) {
      if (client.terms.expiry === 0 && seconds > 0) throw violation('a session expiry where there was none')
      client.expiry = Math.min(seconds, this.#house.settings.sessionExpiryMax) * 1000
    }
    if (reasonCode === 0) client.will = 'drop' // [MQTT-3.14.4-3]
    this.#link.end()
    void this.closed()
  }

  tick(now: EpochMs): void {
    const asked = this.#state.at === 'joining' ? this.#state.exchange?.asked : this.#reauthentication?.asked
    if (asked !== undefined && now - asked > this.#gateway.limits.handshakeMs) {
      return this.fail(new Fault('unauthenticated', 'no answer to a challenge'))
    }
    const client = this.#client
    if (!client || client.terms.silence === 0 || now - this.#heard <= client.terms.silence) return
    // While its packets are worked on, or it takes nothing, the socket is not read: it may well have spoken.
    if (client.publishes.waiting > 0 || client.deliveries.blocked) return
    this.fail(new Fault('unavailable', 'keep alive ran out', { about: 'silence' }))
  }

  readonly #notify = async (notice: Notice): Promise<void> => {
    if (notice.kind !== 'goAway') return
    if (notice.reason === 'takenOver') this.fail(takenOver())
    if (notice.reason === 'kicked') {
      this.fail(new Fault('unavailable', 'ended by an administrator', { about: 'administrator' }))
    }
  }

  // ── Leaving ─────────────────────────────────────────────────────────────────────────────────

  goAway(_reason: GoAwayReason, elsewhere?: string): void {
    this.#elsewhere = elsewhere
    const state = this.#state
    if (state.at === 'waiting')
      this.#link.end() // its client comes back elsewhere; a refusing CONNACK might forbid it
    else if (state.at === 'joining') state.told = true
    else if (state.at === 'open') {
      this.#state = { at: 'leaving', client: state.client }
      state.client.deliveries.hold()
    }
  }

  farewell(): Frame | undefined {
    const client = this.#client
    if (!client) return undefined
    client.will = 'keep' // a planned end is not what a will is for
    void this.closed()
    return this.#frame(dismissal(new Fault('draining', 'the server goes away; the session is kept'), this.#elsewhere))
  }

  refuse(fault: Fault): Frame | undefined {
    const packet = this.#client ? dismissal(fault) : refusal(fault)
    void this.closed() // nothing more is delivered into what is ended
    return this.#frame(packet)
  }

  async yield(): Promise<void> {
    const state = this.#state
    if (state.at === 'closed') return state.left
    const client = this.#client
    this.#end(client && dismissal(takenOver())) // [MQTT-3.1.4-3]
    return this.closed()
  }

  closed(): Promise<void> {
    const state = this.#state
    if (state.at === 'closed') return state.left
    this.#pauses?.end()
    if (state.at === 'joining') state.exchange?.abandon()
    this.#reauthentication?.abandon()
    const left = this.#leave(state)
    left.catch(() => undefined) // the engine gets it too, and reports it
    this.#state = { at: 'closed', left }
    return left
  }

  #leave(state: Exclude<State, { readonly at: 'closed' }>): Promise<void> {
    if (state.at === 'waiting') return Promise.resolve()
    return state.at === 'joining' ? state.done.catch(() => undefined) : this.#part(state.client)
  }

  fail(fault: Fault): void {
    const client = this.#client
    if (!client) {
      if (this.#state.at !== 'joining') return
      this.#end()
      void this.closed()
      return
    }
    const { code, message } = fault
    this.#gateway.log.info('connection.ended', {
      protocol: 'mqtt',
      client: client.session.client,
      code,
      reason: message,
    })
    this.#end(dismissal(fault))
    void this.closed()
  }
}
