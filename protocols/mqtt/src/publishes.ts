import {
  type CommandOf,
  Fault,
  type FaultCode,
  type Gateway,
  type Message,
  type Ms,
  type Once,
  type Session,
  type Slot,
} from '@sluice/core'
import { Answers, type Place } from './answers.ts'
import { readRecipient } from './apsara.ts'
import { inboxOf } from './connect.ts'
import { described, ID_UNKNOWN, NO_SUBSCRIBERS, reasonOf, SUCCESS } from './faults.ts'
import type { Ack, Outbound, Publish } from './packets.ts'
import { Quota } from './quota.ts'
import { isOwn, type Tally } from './system.ts'
import { readInbox } from './topics.ts'
import { type Published, toMessage } from './translate.ts'

const PATIENCE: Ms = 5_000
/** QoS 2 ids of a session that wait for their PUBREL: clients of 3.1.1 know no receive maximum. */
export const INCOMING_MAX = 1_024

export interface PublishesOptions {
  readonly gateway: Gateway
  readonly session: Session
  readonly inbox: string
  readonly epoch: number
  /** QoS 2 ids that the session had when it was opened. */
  readonly incoming: readonly number[]
  /** The session was there before. */
  readonly resumed: boolean
  /** Only MQTT 5 can say no. */
  readonly refuses: boolean
  readonly explained: boolean
  readonly receiveMaximum: number
  readonly topicAliasMaximum: number
  /** Whether `{parent}/p2p/{client id}` is for that client. */
  readonly apsara: boolean
  readonly tally: Tally
  send(packet: Outbound): void
  /** Ends the connection. */
  fail(fault: Fault): void
  /** Resolves with true after that time, with false at the end of the connection. */
  pause(ms: Ms): Promise<boolean>
}

/** What a client publishes: aliases, the receive maximum, QoS 2 ids, answers in order and only after the store. */
export class Publishes {
  readonly #options: PublishesOptions
  readonly #answers: Answers
  readonly #aliases = new Map<number, string>()
  /** 'storing': no PUBREC yet. 'dropped': 3.1.1 was told PUBREC for what was refused. 'restored': of an earlier connection. */
  readonly #ids = new Map<number, 'storing' | 'stored' | 'dropped' | 'restored'>()
  readonly #told = new Set<FaultCode>()
  /** Publishes with QoS 1 and 2 of this connection that are not completed. */
  #unfinished = 0
  readonly #quota: Quota
  #working = 0
  #idle: (() => void)[] = []

  constructor(options: PublishesOptions) {
    this.#options = options
    this.#answers = new Answers(options.send)
    this.#quota = new Quota(options.gateway.clock, options.pause)
    for (const id of options.incoming) this.#ids.set(id, 'restored')
  }

  /** Packets whose answer has not left. */
  get waiting(): number {
    return this.#answers.size
  }

  /** Resolves when the broker has answered everything. */
  idle(): Promise<void> {
    return this.#working === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve))
  }

  /** @throws Fault for what ends the connection at once */
  publish(frame: Publish): Promise<void> | undefined {
    const topic = this.#resolve(frame)
    if (frame.qos === 0) return this.#during(this.#offer(frame, topic).then(ignore, (error) => this.#note(error)))
    const id = frame.messageId!
    if (frame.qos === 2) {
      const known = this.#ids.get(id)
      if (known === 'storing') return undefined // its PUBREC is on its way
      if (known !== undefined) {
        this.#answers.next().answer({ cmd: 'pubrec', messageId: id })
        return undefined
      }
      if (this.#ids.size >= INCOMING_MAX) throw new Fault('limit', `over ${INCOMING_MAX} publishes wait for PUBREL`)
    }
    if (++this.#unfinished > this.#options.receiveMaximum && this.#options.refuses) {
      throw new Fault('limit', 'over the receive maximum', { about: 'receive' }) // [MQTT-3.3.4-9]
    }
    return this.#during(frame.qos === 1 ? this.#once(frame, topic, id) : this.#exactlyOnce(frame, topic, id))
  }

  /** PUBREL always gets its PUBCOMP [MQTT-4.3.3-8…-12; 3.1.1: MQTT-4.3.3-2]. */
  release({ messageId }: Ack): Promise<void> | undefined {
    const known = this.#ids.get(messageId)
    const place = this.#answers.next()
    if (known === undefined || known === 'storing') {
      // A PUBREL that is repeated because its PUBCOMP was lost is no mistake, and some clients take 0x92 for a failed publish.
      const reasonCode = known === undefined && this.#options.resumed ? SUCCESS : ID_UNKNOWN
      place.answer({ cmd: 'pubcomp', messageId, reasonCode })
      return undefined
    }
    if (known === 'dropped') {
      this.#forget(messageId)
      place.answer({ cmd: 'pubcomp', messageId })
      return undefined
    }
    return this.#during(this.#complete(messageId, place))
  }

  async #once(frame: Publish, topic: string, messageId: number): Promise<void> {
    const place = this.#answers.next()
    try {
      const reasonCode = await this.#offer(frame, topic)
      place.answer({ cmd: 'puback', messageId, reasonCode })
    } catch (error) {
      this.#refuse(place, 'puback', messageId, Fault.from(error))
    }
    this.#unfinished--
  }

  async #exactlyOnce(frame: Publish, topic: string, messageId: number): Promise<void> {
    const place = this.#answers.next()
    this.#ids.set(messageId, 'storing')
    try {
      const reasonCode = await this.#offer(frame, topic, this.#slot(messageId))
      this.#ids.set(messageId, reasonCode === SUCCESS ? 'stored' : 'dropped')
      place.answer({ cmd: 'pubrec', messageId, reasonCode })
    } catch (error) {
      if (this.#options.refuses) this.#forget(messageId)
      else this.#ids.set(messageId, 'dropped')
      this.#refuse(place, 'pubrec', messageId, Fault.from(error))
    }
  }

  async #complete(messageId: number, place: Place): Promise<void> {
    const { gateway, session } = this.#options
    try {
      const receipts = [this.#slot(messageId)]
      const context = gateway.context(session, PATIENCE)
      const { failed } = await gateway.handle({ kind: 'settle', receipts, outcome: { kind: 'accept' } }, context)
      const fault = failed[0]?.fault
      if (fault && fault.code !== 'receiptExpired' && fault.code !== 'notFound') throw fault
      this.#forget(messageId)
      place.answer({ cmd: 'pubcomp', messageId })
    } catch (error) {
      place.end(() => this.#options.fail(Fault.from(error)))
    }
  }

  #forget(messageId: number): void {
    if (this.#ids.get(messageId) !== 'restored') this.#unfinished--
    this.#ids.delete(messageId)
  }

  #slot(slot: number): Slot {
    const { inbox, epoch } = this.#options
    // The node is the one that keeps the inbox, which routing knows and we do not.
    return { of: 'inbox', node: '', inbox, epoch, way: 'in', slot }
  }

  /** @throws Fault 'malformed' about 'alias' */
  #resolve({ topic, properties }: Publish): string {
    const alias = properties?.topicAlias
    if (alias === undefined) return topic
    if (alias === 0 || alias > this.#options.topicAliasMaximum) {
      throw new Fault('malformed', `topic alias ${alias}`, { about: 'alias' }) // [MQTT-3.3.2-8, -9]
    }
    if (topic !== '') {
      this.#aliases.set(alias, topic)
      return topic
    }
    const known = this.#aliases.get(alias)
    if (known === undefined) throw new Fault('malformed', 'unknown topic alias', { about: 'protocol' })
    return known
  }

  /** Resolves once the message is stored; with QoS 0, once it is on its way. @throws Fault */
  async #offer(frame: Publish, topic: string, once?: Once): Promise<number> {
    this.#options.tally.received++
    if (isOwn(topic)) throw new Fault('forbidden', '$SYS is the server’s own', { about: 'topic' })
    const message: Message = toMessage(frame, topic, this.#where())
    const inbox = readInbox(topic) ?? this.#recipient(topic)
    const oneway = frame.qos === 0
    const command: CommandOf<'publish'> = {
      kind: 'publish',
      messages: [message],
      oneway,
      ...(inbox !== undefined && { into: { inbox } }),
      ...(once && { once }),
    }
    try {
      if (this.#quota.held) await this.#quota.turn()
      await (oneway ? this.#store(command) : this.#quota.within(() => this.#store(command)))
    } catch (error) {
      if (inbox !== undefined && isNobody(error)) return NO_SUBSCRIBERS
      throw error
    }
    return SUCCESS
  }

  async #store(command: CommandOf<'publish'>): Promise<void> {
    const { gateway, session } = this.#options
    const { traceparent } = command.messages[0]!
    const context = gateway.context(session, PATIENCE, traceparent === undefined ? undefined : { traceparent })
    const reply = await gateway.handle(command, context)
    const [stored] = reply.stored
    if (Fault.is(stored)) throw stored
  }

  #recipient(topic: string): string | undefined {
    const clientId = this.#options.apsara ? readRecipient(topic) : undefined
    return clientId === undefined ? undefined : inboxOf(clientId)
  }

  #where(): Published {
    const { gateway, session } = this.#options
    return { now: gateway.clock.now(), host: session.remoteAddress, bodyBytes: gateway.limits.bodyBytes }
  }

  #refuse(place: Place, cmd: 'puback' | 'pubrec', messageId: number, fault: Fault): void {
    const { refuses, explained, fail } = this.#options
    this.#note(fault)
    const { puback, passing } = reasonOf(fault)
    if (puback === undefined || (passing && !refuses)) return place.end(() => fail(fault))
    // A client of 3.1.1 would send for ever what will never be taken [3.1.1: MQTT-3.3.5-2].
    const reasonCode = refuses ? puback : SUCCESS
    place.answer({ cmd, messageId, reasonCode, ...(refuses && explained && described(fault)) })
  }

  /** Once for each kind of refusal: a client may be refused a thousand times a second. */
  #note(error: unknown): void {
    const { code, message } = Fault.from(error)
    if (this.#told.has(code)) return
    this.#told.add(code)
    const { gateway, session } = this.#options
    gateway.log.info('publish.refused', { protocol: 'mqtt', client: session.client, code, reason: message })
  }

  async #during(work: Promise<void>): Promise<void> {
    this.#working++
    await work
    if (--this.#working === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }
}

const ignore = () => undefined
/** The inbox that it is for is not there. */
const isNobody = (error: unknown): boolean => Fault.is(error) && error.code === 'notFound' && error.about === 'inbox'
