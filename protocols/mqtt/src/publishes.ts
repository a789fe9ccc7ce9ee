import {
  type CommandOf,
  Fault,
  type FaultCode,
  type Message,
  type Ms,
  type Once,
  type Replies,
  type Slot,
} from '@sluice/core'
import { Answers, type Place } from './answers.ts'
import { readRecipient } from './apsara.ts'
import type { Client } from './client.ts'
import { inboxOf } from './connect.ts'
import { described, ID_UNKNOWN, NO_SUBSCRIBERS, reasonOf, SUCCESS } from './faults.ts'
import type { Ack, Publish, QoS } from './packets.ts'
import { isOver, Quota } from './quota.ts'
import { type Run, Runs } from './runs.ts'
import { isOwn } from './system.ts'
import { readInbox } from './topics.ts'
import { type Published, toMessage } from './translate.ts'

const PATIENCE: Ms = 5_000
/** QoS 2 ids of a session that wait for their PUBREL: clients of 3.1.1 know no receive maximum. */
export const INCOMING_MAX = 1_024

/** What a client publishes: aliases, the receive maximum, QoS 2 ids, answers in order and only after the store. */
export class Publishes {
  readonly #client: Client
  /** Most clients only listen: these three are made for the first publish. */
  #lazyAnswers: Answers | undefined
  #lazyQuota: Quota | undefined
  #lazyRuns: Runs | undefined
  #aliases: Map<number, string> | undefined
  /** 'storing': no PUBREC yet. 'dropped': 3.1.1 was told PUBREC for what was refused. 'restored': of an earlier connection. */
  #ids: Map<number, 'storing' | 'stored' | 'dropped' | 'restored'> | undefined
  #told: Set<FaultCode> | undefined
  /** Publishes with QoS 1 and 2 of this connection that are not completed. */
  #unfinished = 0
  #working = 0
  #idle: (() => void) | undefined

  /** `incoming`: QoS 2 ids that the session had when it was opened. */
  constructor(client: Client, incoming: readonly number[]) {
    this.#client = client
    for (const id of incoming) this.#set(id, 'restored')
  }

  get #answers(): Answers {
    return (this.#lazyAnswers ??= new Answers(this.#client.mouth))
  }
  get #quota(): Quota {
    return (this.#lazyQuota ??= new Quota(this.#client.gateway.clock, this.#client.mouth))
  }
  get #runs(): Runs {
    return (this.#lazyRuns ??= new Runs(this))
  }

  /** Whether the client can be told no: with MQTT 5. */
  get #refuses(): boolean {
    return this.#client.terms.version === 5
  }

  #set(id: number, state: 'storing' | 'stored' | 'dropped' | 'restored'): void {
    this.#ids ??= new Map()
    this.#ids.set(id, state)
  }

  /** Packets whose answer has not left. */
  get waiting(): number {
    return this.#lazyAnswers?.size ?? 0
  }

  /** What has come so far is on its way to the broker when this returns. */
  cut(): void {
    this.#lazyRuns?.cut()
  }

  /** Resolves when the broker has answered everything. */
  idle(): Promise<void> {
    this.cut()
    return this.#working === 0 ? Promise.resolve() : new Promise((resolve) => (this.#idle = resolve))
  }

  /** @throws Fault for what ends the connection at once */
  publish(frame: Publish): Promise<void> | undefined {
    const topic = this.#resolve(frame)
    const { qos } = frame
    if (qos === 2) return this.#second(frame, topic)
    if (qos === 1) this.#begin()
    const message = this.#messageOf(frame, topic)
    if (Fault.is(message)) return this.#refused(frame, message)
    const inbox = this.#inboxOf(topic)
    if (inbox === undefined && message.traceparent === undefined) return this.#joined(frame, qos, message)
    this.cut()
    if (qos === 0) return this.#during(this.#offer(message, 0, inbox).then(ignore, (error) => this.#note(error)))
    return this.#during(this.#once(message, inbox, frame.messageId!))
  }

  /** @throws Fault 'limit' about 'receive' [MQTT-3.3.4-9] */
  #begin(): void {
    if (++this.#unfinished > this.#client.house.settings.receiveMaximum && this.#refuses) {
      throw new Fault('limit', 'over the receive maximum', { about: 'receive' })
    }
  }

  #joined({ messageId }: Publish, qos: 0 | 1, message: Message): Promise<void> {
    const run = this.#runs.of(qos, message.topic)
    run.messages.push(message)
    if (qos === 1) {
      run.ids.push(messageId!)
      run.places.push(this.#answers.next())
    }
    return run.done
  }

  /** What is no message of ours. */
  #refused({ qos, messageId }: Publish, fault: Fault): undefined {
    this.cut()
    if (qos === 0) this.#note(fault)
    else {
      this.#unfinished--
      this.#refuse(this.#answers.next(), 'puback', messageId!, fault)
    }
    return undefined
  }

  #second(frame: Publish, topic: string): Promise<void> | undefined {
    const id = frame.messageId!
    const known = this.#ids?.get(id)
    if (known === 'storing') return undefined // its PUBREC is on its way
    if (known !== undefined) {
      this.#answers.next().answer({ cmd: 'pubrec', messageId: id })
      return undefined
    }
    this.#begin()
    if ((this.#ids?.size ?? 0) >= INCOMING_MAX)
      throw new Fault('limit', `over ${INCOMING_MAX} publishes wait for PUBREL`)
    this.cut()
    return this.#during(this.#exactlyOnce(this.#messageOf(frame, topic), this.#inboxOf(topic), id))
  }

  /** PUBREL always gets its PUBCOMP [MQTT-4.3.3-8…-12; 3.1.1: MQTT-4.3.3-2]. */
  release({ messageId }: Ack): Promise<void> | undefined {
    this.cut()
    const known = this.#ids?.get(messageId)
    const place = this.#answers.next()
    if (known === undefined || known === 'storing') {
      // A PUBREL that is repeated because its PUBCOMP was lost is no mistake, and some clients take 0x92 for a failed publish.
      const reasonCode = known === undefined && this.#client.resumed ? SUCCESS : ID_UNKNOWN
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

  /** Never rejects. */
  storeRun(run: Run): Promise<void> {
    return this.#during(this.#storeMessages(run))
  }

  async #storeMessages({ qos, messages, ids, places }: Run): Promise<void> {
    try {
      if (this.#quota.held) await this.#quota.turn()
      const stored = await this.#store({ kind: 'publish', messages, oneway: qos === 0 })
      if (qos === 0) return
      ids.forEach((messageId, at) => {
        const one = stored[at]
        if (Fault.is(one)) this.#refuse(places[at]!, 'puback', messageId, one)
        else places[at]!.prepare({ cmd: 'puback', messageId, reasonCode: SUCCESS })
      })
      this.#answers.leave()
    } catch (error) {
      if (qos === 0) return this.#note(error)
      if (isOver(error)) await this.#storeApart(messages, ids, places, error)
      else
        for (const [at, messageId] of ids.entries()) this.#refuse(places[at]!, 'puback', messageId, Fault.from(error))
    }
    this.#unfinished -= ids.length
  }

  /** Together they were over quota. */
  async #storeApart(
    messages: readonly Message[],
    ids: readonly number[],
    places: readonly Place[],
    error: Fault,
  ): Promise<void> {
    const works = messages.map(
      (message) => () => this.#storeOne({ kind: 'publish', messages: [message], oneway: false }),
    )
    const ends = this.#quota.apart(works, error).map((end, at) => this.#acknowledge(places[at]!, ids[at]!, end))
    await Promise.all(ends)
  }

  async #acknowledge(place: Place, messageId: number, stored: Promise<number | void>): Promise<void> {
    try {
      const reasonCode = (await stored) ?? SUCCESS
      place.answer({ cmd: 'puback', messageId, reasonCode })
    } catch (error) {
      this.#refuse(place, 'puback', messageId, Fault.from(error))
    }
  }

  async #once(message: Message, inbox: string | undefined, messageId: number): Promise<void> {
    await this.#acknowledge(this.#answers.next(), messageId, this.#offer(message, 1, inbox))
    this.#unfinished--
  }

  async #exactlyOnce(message: Message | Fault, inbox: string | undefined, messageId: number): Promise<void> {
    const place = this.#answers.next()
    this.#set(messageId, 'storing')
    try {
      if (Fault.is(message)) throw message
      const reasonCode = await this.#offer(message, 2, inbox, this.#slot(messageId))
      this.#set(messageId, reasonCode === SUCCESS ? 'stored' : 'dropped')
      place.answer({ cmd: 'pubrec', messageId, reasonCode })
    } catch (error) {
      if (this.#refuses) this.#forget(messageId)
      else this.#set(messageId, 'dropped')
      this.#refuse(place, 'pubrec', messageId, Fault.from(error))
    }
  }

  async #complete(messageId: number, place: Place): Promise<void> {
    const { gateway, session } = this.#client
    try {
      const receipts = [this.#slot(messageId)]
      const context = gateway.context(session, PATIENCE)
      const { failed } = await gateway.handle({ kind: 'settle', receipts, outcome: { kind: 'accept' } }, context)
      const fault = failed[0]?.fault
      if (fault && fault.code !== 'receiptExpired' && fault.code !== 'notFound') throw fault
      this.#forget(messageId)
      place.answer({ cmd: 'pubcomp', messageId })
    } catch (error) {
      place.end(() => this.#client.mouth.fail(Fault.from(error)))
    }
  }

  #forget(messageId: number): void {
    if (this.#ids?.get(messageId) !== 'restored') this.#unfinished--
    this.#ids?.delete(messageId)
  }

  #slot(slot: number): Slot {
    const { inbox, epoch } = this.#client
    // The node is the one that keeps the inbox, which routing knows and we do not.
    return { of: 'inbox', node: '', inbox, epoch, way: 'in', slot }
  }

  /** @throws Fault 'malformed' about 'alias' */
  #resolve({ topic, properties }: Publish): string {
    const alias = properties?.topicAlias
    if (alias === undefined) return topic
    if (alias === 0 || alias > this.#client.house.settings.topicAliasMaximum) {
      throw new Fault('malformed', `topic alias ${alias}`, { about: 'alias' }) // [MQTT-3.3.2-8, -9]
    }
    if (topic !== '') {
      this.#aliases ??= new Map()
      this.#aliases.set(alias, topic)
      return topic
    }
    const known = this.#aliases?.get(alias)
    if (known === undefined) throw new Fault('malformed', 'unknown topic alias', { about: 'protocol' })
    return known
  }

  /** Why not, where it is no message of ours. */
  #messageOf(frame: Publish, topic: string): Message | Fault {
    this.#client.house.tally.received++
    if (isOwn(topic)) return new Fault('forbidden', '$SYS is the server’s own', { about: 'topic' })
    try {
      return toMessage(frame, topic, this.#where())
    } catch (error) {
      return Fault.from(error)
    }
  }

  #inboxOf(topic: string): string | undefined {
    return readInbox(topic) ?? this.#recipient(topic)
  }

  /** Resolves once the message is stored; with QoS 0, once it is on its way. @throws Fault */
  async #offer(message: Message, qos: QoS, inbox: string | undefined, once?: Once): Promise<number> {
    const command: CommandOf<'publish'> = {
      kind: 'publish',
      messages: [message],
      oneway: qos === 0,
      ...(inbox !== undefined && { into: { inbox } }),
      ...(once && { once }),
    }
    try {
      if (this.#quota.held) await this.#quota.turn()
      await (qos === 0 ? this.#storeOne(command) : this.#quota.within(() => this.#storeOne(command)))
    } catch (error) {
      if (inbox !== undefined && isNobody(error)) return NO_SUBSCRIBERS
      throw error
    }
    return SUCCESS
  }

  async #storeOne(command: CommandOf<'publish'>): Promise<void> {
    const [stored] = await this.#store(command)
    if (Fault.is(stored)) throw stored
  }

  async #store(command: CommandOf<'publish'>): Promise<Replies['publish']['stored']> {
    const { gateway, session } = this.#client
    const { traceparent } = command.messages[0]!
    const context = gateway.context(session, PATIENCE, traceparent === undefined ? undefined : { traceparent })
    return (await gateway.handle(command, context)).stored
  }

  #recipient(topic: string): string | undefined {
    const clientId = this.#client.house.settings.apsara ? readRecipient(topic) : undefined
    return clientId === undefined ? undefined : inboxOf(clientId)
  }

  #where(): Published {
    const { gateway, session } = this.#client
    return { now: gateway.clock.now(), host: session.remoteAddress, bodyBytes: gateway.limits.bodyBytes }
  }

  #refuse(place: Place, cmd: 'puback' | 'pubrec', messageId: number, fault: Fault): void {
    const { terms, mouth } = this.#client
    const refuses = this.#refuses
    this.#note(fault)
    const { puback, passing } = reasonOf(fault)
    if (puback === undefined || (passing && !refuses)) return place.end(() => mouth.fail(fault))
    // A client of 3.1.1 would send for ever what will never be taken [3.1.1: MQTT-3.3.5-2].
    const reasonCode = refuses ? puback : SUCCESS
    place.answer({ cmd, messageId, reasonCode, ...(refuses && terms.explained && described(fault)) })
  }

  /** Once for each kind of refusal: a client may be refused a thousand times a second. */
  #note(error: unknown): void {
    const { code, message } = Fault.from(error)
    if (this.#told?.has(code)) return
    this.#told ??= new Set()
    this.#told.add(code)
    const { gateway, session } = this.#client
    gateway.log.info('publish.refused', { protocol: 'mqtt', client: session.client, code, reason: message })
  }

  async #during(work: Promise<void>): Promise<void> {
    this.#working++
    await work
    if (--this.#working === 0) this.#idle?.()
  }
}

const ignore = () => undefined
/** The inbox that it is for is not there. */
const isNobody = (error: unknown): boolean => Fault.is(error) && error.code === 'notFound' && error.about === 'inbox'
