import {
  type Addressee,
  type Clock,
  Fault,
  type Kind,
  type Notice,
  type Replies,
  type ReplyTo,
  type Session,
} from '@sluice/core'
import type { Channel } from './channel.ts'
import { writeCommand } from './commands.ts'
import { writeContext, writeResumption, writeSession } from './context.ts'
import type { Holders, Resumption } from './holders.ts'
import { readsSpecial, writeSpecial } from './messages.ts'
import { mayRepeat, type Pending, settledAgain } from './pending.ts'
import { malformed, type Reader } from './reader.ts'
import { RecordReader } from './records.ts'
import { readDeliveries, readReply } from './replies.ts'
import { readFault, readValue, writeFault, writeValue } from './values.ts'
import { type Frame, frame } from './wire.ts'

/** Bytes that the broker's system has not taken: what comes beyond is refused as `busy`, certainly not done. */
const UNSENT_MAX = 64 * 1024 * 1024
/** The number of a session that has left: it is told anew each time. */
const NOBODY = 0

export interface CallingParts {
  readonly channel: Channel
  readonly node: string
  /** Most bytes of a frame that the broker takes. */
  readonly frameBytes: number
  readonly clock: Clock
  readonly holders: Holders
  notified(to: Addressee, notice: Notice): Promise<unknown>
  /** The broker asks for nothing new on this connection. */
  leaving(): void
}

/** One connection to the broker: commands under way on it, by their numbers. */
export class Calling {
  readonly #parts: CallingParts
  readonly #special: ReturnType<typeof readsSpecial>
  readonly #records: RecordReader
  readonly #numbers = new Map<Session, number>()
  readonly #pending = new Map<number, Pending>()
  #sessions = 0
  #ids = 0

  constructor(parts: CallingParts) {
    this.#parts = parts
    this.#special = readsSpecial(parts.node)
    this.#records = new RecordReader(parts.node)
  }

  get inflight(): number {
    return this.#pending.size
  }

  get channel(): Channel {
    return this.#parts.channel
  }

  /** Every session that the broker is to keep. */
  tell(): void {
    for (const session of this.#parts.holders.sessions()) this.#numberOf(session)
    this.#parts.channel.say(frame.told)
  }

  #numberOf(session: Session): number {
    const known = this.#numbers.get(session)
    if (known !== undefined) return known
    const { channel, holders } = this.#parts
    const number = holders.met(session) ? ++this.#sessions : NOBODY
    if (number !== NOBODY) this.#numbers.set(session, number)
    writeSession(channel.frame(frame.session, number), session)
    channel.sent()
    return number
  }

  /** @param resumes what its `open` is the resumption of */
  send(pending: Pending, resumes?: Resumption): void {
    const { channel, clock, frameBytes, holders } = this.#parts
    if (channel.backlog > UNSENT_MAX)
      return pending.fail(new Fault('busy', 'the broker does not keep up', { retryAfter: 100 }))
    const { command, context } = pending
    const number = this.#numberOf(context.session)
    pending.id = this.#freeId()
    try {
      const writer = channel.frame(resumes ? frame.resume : frame.command, pending.id)
      writeContext(writer, context, number, clock)
      if (resumes) writeResumption(writer, resumes)
      writeCommand<Kind>(writer, command)
      if (writer.frameLength > frameBytes)
        throw new Fault('tooLarge', `a command of ${writer.frameLength} bytes is over ${frameBytes}`)
    } catch (error) {
      channel.abandoned()
      return pending.fail(Fault.from(error))
    }
    pending.position = channel.sent()
    this.#pending.set(pending.id, pending)
    if (command.kind === 'leave' && command.what === 'all') {
      holders.left(context.session)
      this.#numbers.delete(context.session)
    }
    if (!context.signal) return
    pending.cancel = () => channel.say(frame.cancel, pending.id)
    if (context.signal.aborted) pending.cancel()
  }

  #freeId(): number {
    do this.#ids = (this.#ids + 1) >>> 0
    while (this.#pending.has(this.#ids))
    return this.#ids
  }

  /** @throws Fault 'malformed' */
  received({ type, id, content }: Frame): void {
    switch (type) {
      case frame.reply:
        return this.#replied(id, content)
      case frame.fault:
        return this.#taken(id).fail(readFault(content))
      case frame.deliveries:
        return this.#delivered(id, content)
      case frame.notice:
        return this.#notified(id, content)
      case frame.bye:
        return this.#parts.leaving()
    }
    throw malformed(`no frame of a broker: ${type}`)
  }

  #taken(id: number): Pending {
    const pending = this.#pending.get(id)
    if (!pending) throw malformed('an answer to nothing')
    this.#pending.delete(id)
    return pending
  }

  #replied(id: number, content: Reader): void {
    const pending = this.#taken(id)
    const { command, context, items } = pending
    let reply: ReplyTo<Kind>
    try {
      reply = readReply<Kind>(content, command.kind, items, this.#special)
      if (command.kind === 'settle' && pending.again) reply = settledAgain(reply as Replies['settle'])
    } catch (error) {
      pending.fail(new Fault('outcomeUnknown', 'the broker’s answer cannot be read'))
      throw error
    }
    this.#parts.holders.done<Kind>(command, reply, context)
    pending.done(reply)
  }

  #delivered(id: number, content: Reader): void {
    const pending = this.#pending.get(id)
    if (!pending || !('max' in pending.command)) throw malformed('messages for nobody')
    const items = readDeliveries(content, this.#records)
    pending.items = pending.items.length === 0 ? items : pending.items.concat(items)
    if (pending.items.length > Math.max(1, pending.command.max)) throw malformed('more messages than were asked for')
  }

  #notified(id: number, content: Reader): void {
    const said = readValue(content, this.#special) as { readonly to: Addressee; readonly notice: Notice } | null
    if (typeof said !== 'object' || said === null || !said.to || !said.notice) throw malformed('no notice')
    const { channel, notified } = this.#parts
    const fail = (error: unknown): void => {
      if (channel.closed) return
      channel.abandoned()
      writeFault(channel.frame(frame.answerFault, id), Fault.from(error))
      channel.sent()
    }
    notified(said.to, said.notice)
      .then((answer) => {
        if (channel.closed) return
        writeValue(channel.frame(frame.answer, id), answer, writeSpecial)
        channel.sent()
      })
      .catch(fail)
  }

  /** The connection is gone. @returns what may be said again on another one; of the rest nobody knows */
  lost(): readonly Pending[] {
    const again: Pending[] = []
    for (const pending of this.#pending.values()) {
      const left = this.#parts.channel.hasLeft(pending.position)
      pending.again ||= left
      if (!left || mayRepeat(pending.command)) again.push(pending)
      else pending.fail(new Fault('outcomeUnknown', 'the broker went away before it answered'))
    }
    this.#pending.clear()
    return again
  }
}
