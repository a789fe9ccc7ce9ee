import {
  Abort,
  type Addressee,
  type Backend,
  type Clock,
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Kind,
  type Log,
  type Membership,
  type Ms,
  type Notice,
  type Replies,
  type ReplyTo,
  type Session,
  type Wheel,
  waitOf,
} from '@sluice/core'
import type { Channel } from './channel.ts'
import { readCommand } from './commands.ts'
import { readContext, readResumption, readSession } from './context.ts'
import type { GatewayProcess, Gateways, Line } from './gateways.ts'
import type { Resumption } from './holders.ts'
import { readsSpecial } from './messages.ts'
import { Notices } from './notices.ts'
import { malformed, type Reader } from './reader.ts'
import { type RecordCounts, RecordWriter, recordOf } from './records.ts'
import { DeliveryWriter, hasBatch, writeReply } from './replies.ts'
import { readFault, readValue, writeFault } from './values.ts'
import { type Frame, frame } from './wire.ts'
import type { Writer } from './writer.ts'

/** Commands of one gateway under way, polls left out: beyond either nothing more is read from it. */
const COMMANDS_MAX = 65_536
const BYTES_MAX = 64 * 1024 * 1024
const SESSIONS_MAX = 262_144
/** Deliveries of one frame end beyond it. */
const PART_BYTES = 1024 * 1024
const GIVE_BACK_MS: Ms = 5_000

/** A backend that may come back under gateways whose clients stayed. */
export interface ServedBackend extends Backend {
  /**
   * A session goes on with an inbox, though the backend has forgotten that or a connection broke: nothing is taken over.
   * Absent: inboxes are held by their epochs alone.
   * @throws Fault 'conflict' about 'epoch' when somebody has opened it since
   */
  resume?(node: string, resumption: Resumption, context: Context): Promise<Replies['open']>
}

export interface Served {
  readonly backend: ServedBackend
  readonly node: string
  readonly gateways: Gateways
  readonly records: RecordCounts
  readonly clock: Clock
  readonly wheel: Wheel
  readonly log: Log
}

/** One connection of a gateway that is known: its commands, and notices to its clients. */
export class Serving implements Line {
  readonly process: GatewayProcess
  readonly #served: Served
  readonly #channel: Channel
  readonly #special: ReturnType<typeof readsSpecial>
  readonly #records: RecordWriter
  /** By the numbers that the gateway gave them. */
  readonly #sessions = new Map<number, Session>()
  readonly #numbers = new Map<string, number>()
  readonly #polls = new Map<number, Abort>()
  readonly #notices: Notices
  #commands = 0
  #bytes = 0
  #idle: (() => void) | undefined
  #closed = false
  /** It goes for good: what it has need not be kept for it. */
  leaving = false

  constructor(served: Served, channel: Channel, process: GatewayProcess) {
    this.process = process
    this.#served = served
    this.#channel = channel
    this.#special = readsSpecial(served.node)
    this.#records = new RecordWriter(served.records)
    this.#notices = new Notices(channel, served.wheel, served.clock)
  }

  /** @throws Fault 'malformed' */
  received({ type, id, content }: Frame): void {
    switch (type) {
      case frame.command:
      case frame.resume:
        return this.#command(id, content, type === frame.resume)
      case frame.cancel:
        return this.#polls.get(id)?.abort()
      case frame.session:
        return this.#session(id, content)
      case frame.told:
        return this.#told()
      case frame.answer:
        return this.#notices.answered(id)?.resolve(readValue(content, this.#special))
      case frame.answerFault:
        return this.#notices.answered(id)?.reject(readFault(content))
      case frame.bye:
        this.leaving = true
        return
    }
    throw malformed(`no frame of a gateway: ${type}`)
  }

  #session(id: number, content: Reader): void {
    const session = readSession(content, (name) => (notice) => this.#served.gateways.notify({ session: name }, notice))
    if (this.#sessions.size >= SESSIONS_MAX) throw new Fault('limit', `link: over ${SESSIONS_MAX} sessions`)
    this.#sessions.set(id, session)
    // One that has left already has a last command.
    if (id === 0) return
    this.#numbers.set(session.id, id)
    this.#served.gateways.told(this.process, session)
  }

  /** What the gateway does not have any more left while there was no connection. */
  #told(): void {
    for (const id of [...this.process.untold]) {
      const session = this.process.sessions.get(id)
      if (session) void leaveAll(this.#served, this.process, session)
    }
  }

  // ── Commands ────────────────────────────────────────────────────────────────────────────────

  #command(id: number, content: Reader, resumes: boolean): void {
    const bytes = content.left
    const { clock } = this.#served
    let poll: Abort | undefined
    const context = readContext(content, this.#sessions, clock, () => (poll = new Abort()))
    const held = resumes ? readResumption(content) : undefined
    const command = readCommand(content, this.#special)
    if (!poll && waitOf(command) > 0) poll = new Abort()
    if (poll) this.#polls.set(id, poll)
    const { kind } = command
    const leaving = command.kind === 'leave' && command.what === 'all'
    if (!poll) this.#begun(bytes)
    const done = (): void => {
      if (poll) this.#polls.delete(id)
      else this.#begun(-bytes)
      if (leaving) this.#left(context.session)
      if (this.#underWay === 0) this.#idle?.()
    }
    const polled = poll && !context.signal ? { ...context, signal: poll } : context
    this.#execute(command, polled, held).then(
      (reply) => {
        this.#followed(command, context.session)
        this.#reply(id, kind, reply, context)
        done()
      },
      (error: unknown) => {
        this.#fail(id, kind, error)
        done()
      },
    )
  }

  #execute(
    command: CommandOf<Kind>,
    context: Context,
    held: Omit<Resumption, 'open'> | undefined,
  ): Promise<ReplyTo<Kind>> {
    const { backend, node } = this.#served
    if (!held) return backend.execute<Kind>(node, command, context)
    if (command.kind === 'open' && backend.resume) return backend.resume(node, { open: command, ...held }, context)
    return Promise.reject(new Fault('unsupported', 'link: nothing is resumed here'))
  }

  get #underWay(): number {
    return this.#commands + this.#polls.size
  }

  #begun(bytes: number): void {
    this.#commands += Math.sign(bytes)
    this.#bytes += bytes
    if (!this.#closed) this.#channel.hold(this.#commands >= COMMANDS_MAX || this.#bytes > BYTES_MAX)
  }

  /** Notices to a group go where its members are. */
  #followed(command: CommandOf<Kind>, session: Session): void {
    if (command.kind === 'heartbeat') {
      const { member }: { member: Membership } = command
      if (this.process.sessions.has(session.id)) this.process.joined(session.id, member)
    } else if (command.kind === 'leave' && typeof command.what === 'object' && 'group' in command.what)
      this.process.leftGroup(session.id, command.what.group)
  }

  #left({ id }: Session): void {
    this.#served.gateways.left(this.process, id)
    const number = this.#numbers.get(id)
    if (number === undefined) return
    this.#numbers.delete(id)
    this.#sessions.delete(number)
  }

  #reply<K extends Kind>(id: number, kind: K, reply: ReplyTo<K>, context: Context): void {
    if (this.#closed) return this.#giveBack(kind, reply, context)
    try {
      if (hasBatch(kind)) this.#deliver(id, reply as Replies['pop'])
      writeReply(this.#channel.frame(frame.reply, id), kind, reply)
      this.#channel.sent()
    } catch (error) {
      this.#channel.abandoned()
      this.#fail(id, kind, error)
    }
  }

  /** @throws Fault 'internal' before anything is written */
  #deliver(id: number, { batch }: Replies['pop']): void {
    if (batch.count === 0) return
    const items = [...batch]
    if (!items.every(({ message }) => recordOf(message)))
      throw new Fault('internal', 'link: a message that is no record cannot travel')
    let writer: Writer | undefined
    let deliveries: DeliveryWriter | undefined
    for (const item of items) {
      if (!writer || !deliveries) {
        writer = this.#channel.frame(frame.deliveries, id)
        deliveries = new DeliveryWriter(writer, this.#records)
      }
      deliveries.write(item)
      if (writer.frameLength < PART_BYTES) continue
      this.#channel.sent()
      writer = undefined
    }
    if (writer) this.#channel.sent()
  }

  #fail(id: number, kind: Kind, error: unknown): void {
    const fault = Fault.from(error)
    if (fault.code === 'internal') {
      const { cause = fault } = fault
      const words = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
      this.#served.log.error('command.failed', { kind, error: words })
    }
    if (this.#closed) return
    writeFault(this.#channel.frame(frame.fault, id), fault)
    this.#channel.sent()
  }

  /** Nobody is there to take them. */
  #giveBack(kind: Kind, reply: ReplyTo<Kind>, context: Context): void {
    if (kind !== 'pop') return
    const items = [...((reply as Replies['pop']).batch as Iterable<Delivered>)]
    const receipts = items.flatMap(({ receipt }) => receipt ?? [])
    if (receipts.length === 0) return
    const { backend, node, clock } = this.#served
    const { session, principal } = context
    backend
      .execute<'settle'>(
        node,
        { kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts: false } },
        { session, principal, deadline: clock.now() + GIVE_BACK_MS },
      )
      .catch(() => undefined) // then they come back at the end of their invisible time
  }

  notify(to: Addressee, notice: Notice): Promise<unknown> {
    return this.#notices.send(to, notice)
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────

  /** Asks the gateway for nothing new, wakes its polls, and resolves when the rest is answered. */
  async finish(): Promise<void> {
    this.#channel.say(frame.bye)
    for (const poll of this.#polls.values()) poll.abort()
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }

  closed(): void {
    this.#closed = true
    for (const poll of this.#polls.values()) poll.abort()
    this.#notices.closed()
    this.#idle?.()
  }
}

/** As the gateway would say it that is gone. */
export const leaveAll = async (served: Served, process: GatewayProcess, session: Session): Promise<void> => {
  const { backend, node, gateways, clock, log } = served
  gateways.left(process, session.id)
  const context = { session, principal: session.principal, deadline: clock.now() + GIVE_BACK_MS }
  try {
    await backend.execute<'leave'>(node, { kind: 'leave', what: 'all' }, context)
  } catch (error) {
    log.warn('session.leave', { session: session.id, code: Fault.from(error).code })
  }
}
