import { type Delivered, Fault } from '@sluice/core'
import type { Payload } from './codec.ts'
import { Dispositions } from './dispositions.ts'
import { amqpError, conditions, errorOf } from './faults.ts'
import { HANDLE_MAX, type Host, INCOMING_WINDOW, LINKS_MAX } from './host.ts'
import { IncomingLink } from './incomingLink.ts'
import { type AmqpLink, type Attach, linkKey, RefusedLink, roleOf } from './link.ts'
import { OutgoingLink } from './outgoingLink.ts'
import { add, ahead, type Serial, within } from './serial.ts'
import type { AmqpError, CompositeOf, Performative } from './shapes.ts'

/** [2.7.3] Longer link names are of no use to anyone. */
const NAME_MAX = 1024

interface Held {
  readonly link: OutgoingLink
  readonly delivered: Delivered
}

/** A session of one connection: its windows, its links by handle, and the deliveries that wait for the client's word. */
export class AmqpSession {
  readonly host: Host
  /** Ours. */
  readonly channel: number
  readonly dispositions: Dispositions
  /** Deliveries whose settlement is on its way to the broker. */
  settling = 0
  readonly #handleMax: number
  /** By the peer's handle. */
  readonly #links = new Map<number, AmqpLink>()
  readonly #held = new Map<Serial, Held>()
  #nextIncoming: Serial
  /** Transfers that the peer may still send. */
  #incomingWindow = INCOMING_WINDOW
  #nextOutgoing: Serial = 0
  #nextDelivery: Serial = 0
  /** Transfers that the peer still takes. */
  window: number
  #state: 'mapped' | 'ending' | 'ended' = 'mapped'

  /** Sends the begin that answers. `remote`: the peer's channel. */
  constructor(host: Host, channel: number, remote: number, begin: CompositeOf<'begin'>) {
    this.host = host
    this.channel = channel
    this.#handleMax = Math.min(begin.handleMax ?? HANDLE_MAX, HANDLE_MAX)
    this.#nextIncoming = begin.nextOutgoingId
    this.window = begin.incomingWindow
    this.dispositions = new Dispositions((disposition) => this.send(disposition))
    this.send({
      type: 'begin',
      remoteChannel: remote,
      nextOutgoingId: 0,
      incomingWindow: INCOMING_WINDOW,
      outgoingWindow: 0x7fff_ffff,
      handleMax: HANDLE_MAX,
    })
  }

  get unsettled(): number {
    return this.#held.size + this.settling
  }

  /** Whether the peer has ended it, so that its channel is free. */
  get ended(): boolean {
    return this.#state === 'ended'
  }

  receive(body: Performative, payload: Buffer | undefined): Promise<void> | undefined {
    if (body.type === 'end') return this.#peerEnded()
    // What the peer sent before it saw our end. [2.5.6]
    if (this.#state !== 'mapped') return undefined
    switch (body.type) {
      case 'attach':
        return this.#attach(body)
      case 'flow':
        return this.#flow(body)
      case 'transfer':
        return this.#transfer(body, payload ?? Buffer.alloc(0))
      case 'disposition':
        return this.#disposition(body)
      case 'detach':
        return this.#detach(body)
      default:
        return this.host.close(amqpError(conditions.illegal, `${body.type} within a session`))
    }
  }

  // ── Links ───────────────────────────────────────────────────────────────────────────────────────

  #attach(attach: Attach): undefined {
    const { host } = this
    if (attach.handle > HANDLE_MAX)
      return host.close(amqpError(conditions.framing, `handle ${attach.handle} where ${HANDLE_MAX} is the highest`))
    if (this.#links.has(attach.handle)) return this.fail(conditions.handleInUse, `handle ${attach.handle} is in use`)
    const handle = this.#freeHandle()
    if (handle === undefined) return this.fail(conditions.notAllowed, 'no handle is left below your handle-max')
    this.#links.set(attach.handle, this.#linkFor(attach, handle))
  }

  #linkFor(attach: Attach, handle: number): AmqpLink {
    const { host } = this
    if (host.leaving) return this.#refuse(attach, handle, amqpError(conditions.detachForced, 'draining'))
    try {
      if (attach.name.length > NAME_MAX) throw new Fault('invalid', 'a link name that is too long')
      const key = linkKey(roleOf(attach), attach.name)
      host.links.get(key)?.detach(amqpError(conditions.stolen, 'attached again'))
      if (host.links.size >= LINKS_MAX) throw new Fault('limit', `more than ${LINKS_MAX} links`)
      const link = attach.role ? new OutgoingLink(this, attach, handle) : new IncomingLink(this, attach, handle)
      host.links.set(key, link)
      return link
    } catch (error) {
      if (!Fault.is(error)) throw error
      return this.#refuse(attach, handle, errorOf(error))
    }
  }

  /** An attach without the terminus that was asked for, and at once the reason. [2.6.3] */
  #refuse(attach: Attach, handle: number, error: AmqpError): AmqpLink {
    const { name, role } = attach
    this.send({ type: 'attach', name, handle, role: !role, initialDeliveryCount: role ? 0 : undefined })
    const link = new RefusedLink(this, attach, handle)
    link.detach(error)
    return link
  }

  #freeHandle(): number | undefined {
    const used = new Set([...this.#links.values()].map(({ handle }) => handle))
    for (let handle = 0; handle <= this.#handleMax; handle++) if (!used.has(handle)) return handle
    return undefined
  }

  #detach(detach: CompositeOf<'detach'>): undefined {
    const link = this.#links.get(detach.handle)
    if (!link) return this.fail(conditions.unattachedHandle, `detach of handle ${detach.handle}`)
    link.peerDetached(detach)
    this.#links.delete(detach.handle)
  }

  // ── In ──────────────────────────────────────────────────────────────────────────────────────────

  #transfer(transfer: CompositeOf<'transfer'>, payload: Buffer): Promise<void> | undefined {
    if (this.#incomingWindow === 0) return this.fail(conditions.windowViolation, 'a transfer beyond incoming-window')
    this.#incomingWindow--
    this.#nextIncoming = add(this.#nextIncoming, 1)
    const link = this.#links.get(transfer.handle)
    if (!link) return this.fail(conditions.unattachedHandle, `transfer on handle ${transfer.handle}`)
    if (link.role === 'receiver') return this.fail(conditions.notAllowed, 'a transfer on a link that receives')
    const publishing = link.attached && link instanceof IncomingLink ? link.transfer(transfer, payload) : undefined
    if (this.#incomingWindow <= INCOMING_WINDOW / 2 && !this.host.memory.high) this.flow({})
    return publishing
  }

  #flow(flow: CompositeOf<'flow'>): undefined {
    // What we sent and the peer had not seen yet still uses its window. [2.5.6]
    const behind = ahead(this.#nextOutgoing, flow.nextIncomingId ?? 0)
    this.window = Math.max(0, flow.incomingWindow - Math.max(0, behind))
    if (flow.handle === undefined) {
      if (flow.echo) this.flow({})
      for (const link of this.#links.values()) if (link instanceof OutgoingLink) link.push()
      return
    }
    const link = this.#links.get(flow.handle)
    if (!link) return this.fail(conditions.unattachedHandle, `flow on handle ${flow.handle}`)
    if (link.attached) link.flow(flow)
    for (const other of this.#links.values()) if (other !== link && other instanceof OutgoingLink) other.push()
  }

  #disposition({ role, first, last = first, settled = false, state }: CompositeOf<'disposition'>): undefined {
    if (ahead(last, first) < 0 && last - first < 0)
      return this.fail(conditions.invalid, 'a disposition whose last comes before its first')
    if (!role) {
      if (settled)
        for (const link of this.#links.values()) if (link instanceof IncomingLink) link.peerSettled(first, last)
      return
    }
    if (!settled && (state === undefined || state.type === 'received')) return
    try {
      for (const [link, { ids, delivered }] of this.#take(first, last)) link.outcome(ids, delivered, settled, state)
    } catch (error) {
      if (!Fault.is(error)) throw error
      this.#end(errorOf(error))
    }
  }

  /** The deliveries of a range that wait for a word, by link. Costs no more than the smaller of range and what waits. */
  #take(first: Serial, last: Serial): Map<OutgoingLink, { readonly ids: Serial[]; readonly delivered: Delivered[] }> {
    const byLink = new Map<OutgoingLink, { readonly ids: Serial[]; readonly delivered: Delivered[] }>()
    const count = (last - first) >>> 0
    const ids = count < this.#held.size ? range(first, count + 1) : [...this.#held.keys()]
    for (const id of ids) {
      const held = this.#held.get(id)
      if (!held || !within(id, first, last)) continue
      this.#held.delete(id)
      let taken = byLink.get(held.link)
      if (!taken) byLink.set(held.link, (taken = { ids: [], delivered: [] }))
      taken.ids.push(id)
      taken.delivered.push(held.delivered)
    }
    return byLink
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────────

  send(body: Performative, payload?: Payload): void {
    if (this.#state === 'mapped') this.host.send(this.channel, body, payload)
  }

  transfer(transfer: CompositeOf<'transfer'>, payload: Payload): void {
    this.window--
    this.#nextOutgoing = add(this.#nextOutgoing, 1)
    this.send(transfer, payload)
  }

  /** A number for a delivery; `held`: it waits for the client's word. */
  newDelivery(held: Held | undefined): Serial {
    const id = this.#nextDelivery
    this.#nextDelivery = add(id, 1)
    if (held) this.#held.set(id, held)
    return id
  }

  /** A link's flow, or without one the session's. Renews the window where memory allows. */
  flow(link: Pick<CompositeOf<'flow'>, 'handle' | 'deliveryCount' | 'linkCredit' | 'available' | 'drain'>): void {
    if (!this.host.memory.high) this.#incomingWindow = INCOMING_WINDOW
    this.send({
      type: 'flow',
      nextIncomingId: this.#nextIncoming,
      incomingWindow: this.#incomingWindow,
      nextOutgoingId: this.#nextOutgoing,
      outgoingWindow: 0x7fff_ffff,
      ...link,
    })
  }

  /** There is memory again. */
  eased(): void {
    if (this.#incomingWindow <= INCOMING_WINDOW / 2) this.flow({})
    this.tick()
  }

  forget(link: OutgoingLink): void {
    for (const [id, held] of this.#held) if (held.link === link) this.#held.delete(id)
  }

  recredit(): void {
    for (const link of this.#links.values()) if (link instanceof OutgoingLink) link.recredit()
  }

  goAway(): void {
    for (const link of this.#links.values()) if (link.attached) link.goAway()
  }

  tick(): void {
    for (const link of this.#links.values()) if (link.attached) link.tick()
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────────

  /** The peer broke the session's rules: it ends, the connection lives on. */
  fail(condition: string, description: string): undefined {
    this.#end(amqpError(condition, description))
    return undefined
  }

  #end(error: AmqpError): void {
    this.dispositions.flush()
    this.send({ type: 'end', error })
    this.#state = 'ending'
    this.drop()
  }

  #peerEnded(): undefined {
    this.dispositions.flush()
    this.send({ type: 'end' })
    this.#state = 'ended'
    this.drop()
  }

  /** Lets go of everything without a word. */
  drop(): void {
    if (this.#state === 'mapped') this.#state = 'ended'
    for (const link of this.#links.values()) link.drop()
    this.#links.clear()
    this.#held.clear()
  }
}

const range = (first: Serial, count: number): Serial[] => Array.from({ length: count }, (_, index) => add(first, index))
