import {
  type Context,
  Fault,
  type Gateway,
  type Message,
  type Ms,
  type Queue,
  type Replies,
  type Session,
  type Stored,
} from '@sluice/core'
import { type Frame, isOneway, request } from '@sluice/remoting'
import type { Answer } from './desk.ts'
import type { PullHost } from './pulls.ts'
import { answerOf, numberOf, queueOf, send, sendInto, toPublish } from './requests/send.ts'
import { SendAnswers } from './sendAnswers.ts'
import type { Numbered } from './topics.ts'
import { type Send, toSend } from './translate.ts'

/** Most messages of a run, and most bytes of their bodies that it goes on from. */
export const RUN_MAX = 256
export const RUN_BYTES = 1024 * 1024

export const isSend = (code: number): boolean =>
  code === request.sendMessageV2 || code === request.sendMessage || code === request.sendBatchMessage

/** Sends that came in one read for one queue: stored by one command, each with an answer of its own. */
interface Run {
  readonly into: Queue | undefined
  readonly messages: Message[]
  readonly frames: Frame[]
  bytes: number
  /** Resolves when all are answered. */
  readonly done: Promise<void>
  readonly resolve: () => void
}

/** What the sends of one read have in common, and a run for each queue that they name. */
interface Read {
  readonly context: Context
  readonly topic: string
  readonly group: string
  readonly oneway: boolean
  /** By the number of the queue; -1: any. */
  readonly runs: Map<number, Run>
}

export interface SendHost extends Pick<PullHost, 'desk' | 'enter' | 'answer' | 'refuse'> {
  /** Whose request this is, if that needs no proof of its own. */
  sessionOf(frame: Frame): Session | undefined
  /** Answers that are encoded already. */
  tell(encoded: Buffer): void
}

/**
 * The sends of one connection. What comes in one read is collected until the read ends, or until something comes that
 * must stand behind it. A batch, a request for a reply and what must wait before it is stored go alone.
 */
export class Sends {
  readonly #host: SendHost
  readonly #gateway: Gateway
  readonly #patience: Ms
  #read: Read | undefined

  constructor(host: SendHost, patience: Ms) {
    this.#host = host
    this.#gateway = host.desk.gateway
    this.#patience = patience
  }

  /** SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320). @throws Fault what is wrong with this one */
  receive(frame: Frame): Promise<void> {
    const context = this.#contextOf(frame)
    if (context instanceof Promise) {
      this.cut()
      return this.#answer(
        frame,
        context.then((entered) => send(this.#toSend(frame, entered), isOneway(frame), entered, this.#host.desk)),
      )
    }
    const sent = this.#toSend(frame, context)
    const oneway = isOneway(frame)
    const { desk } = this.#host
    const { messages, asker } = sent
    if (asker !== undefined || messages.length > 1) {
      this.cut()
      return this.#answer(frame, send(sent, oneway, context, desk))
    }
    const into = queueOf(sent, context, desk)
    if (into instanceof Promise) {
      this.cut()
      return this.#answer(frame, sendInto(into, sent, oneway, context, desk))
    }
    const run = this.#runOf(sent, into, oneway, context)
    const message = messages[0] as Message
    run.messages.push(message)
    run.frames.push(frame)
    run.bytes += message.body.length
    if (run.messages.length >= RUN_MAX || run.bytes >= RUN_BYTES) this.cut()
    return run.done
  }

  /** What has been collected is on its way when this returns. */
  cut(): void {
    const read = this.#read
    if (!read) return
    this.#read = undefined
    for (const run of read.runs.values()) void this.#store(read, run).then(run.resolve)
  }

  /** Of a read there is one: its requests come at one time, and from one session unless that has just changed. */
  #contextOf(frame: Frame): Context | Promise<Context> {
    const known = this.#read?.context
    if (known && known.session === this.#host.sessionOf(frame)) return known
    return this.#host.enter(frame, this.#patience)
  }

  #toSend(frame: Frame, { session }: Context): Send {
    const { clock, limits } = this.#gateway
    return toSend(frame, { from: session.remoteAddress, at: clock.now() }, limits)
  }

  async #answer(frame: Frame, answer: Promise<Answer>): Promise<void> {
    try {
      this.#host.answer(frame, await answer)
    } catch (error) {
      this.#host.refuse(frame, error)
    }
  }

  #runOf({ topic, group, queue }: Send, into: Queue | undefined, oneway: boolean, context: Context): Run {
    let read = this.#read
    if (!read || read.topic !== topic || read.group !== group || read.oneway !== oneway || read.context !== context) {
      this.cut()
      queueMicrotask(() => this.cut())
      this.#read = read = { context, topic, group, oneway, runs: new Map() }
    }
    const number = into ? queue : -1
    let run = read.runs.get(number)
    if (!run) {
      const { promise: done, resolve } = Promise.withResolvers<void>()
      read.runs.set(number, (run = { into, messages: [], frames: [], bytes: 0, done, resolve }))
    }
    return run
  }

  /** Never rejects. */
  async #store(read: Read, run: Pick<Run, 'into' | 'messages' | 'frames'>): Promise<void> {
    const { topic, context, group, oneway } = read
    const { into, messages, frames } = run
    const { topics } = this.#host.desk
    try {
      const { stored } = await this.#gateway.handle(toPublish(messages, group, oneway, into), context)
      if (oneway) return
      const numbered = topics.get(topic, context)
      this.#tell(topic, frames, stored, numbered instanceof Promise ? await numbered : numbered)
    } catch (error) {
      if (isOver(error) && frames.length > 1) return this.#storeApart(read, run)
      if (Fault.is(error) && error.code === 'topicNotFound') topics.forget(topic, context)
      for (const frame of frames) this.#host.refuse(frame, error)
    }
  }

  /** Each one for itself: it may have been refused alone, and what cannot be said of it is its own trouble. */
  #tell(topic: string, frames: readonly Frame[], stored: Replies['publish']['stored'], numbered: Numbered): void {
    for (let at = 0; at < frames.length; at++) {
      const frame = frames[at] as Frame
      try {
        this.#tellOne(topic, frame, stored[at] as Stored | Fault, numbered)
      } catch (error) {
        this.#host.refuse(frame, error)
      }
    }
    this.#take()
  }

  #tellOne(topic: string, frame: Frame, stored: Stored | Fault, numbered: Numbered): void {
    if (Fault.is(stored)) this.#host.refuse(frame, stored)
    else if (!isPlain(frame, stored) || !this.#add(frame, stored, numbered))
      this.#host.answer(frame, answerOf(topic, [stored], numbered, this.#host.desk))
  }

  #add({ opaque }: Frame, stored: Stored, numbered: Numbered): boolean {
    if (answers.full) this.#take()
    return answers.add(opaque, stored, numberOf(stored, numbered), this.#host.desk.store)
  }

  #take(): void {
    const encoded = answers.take()
    if (encoded) this.#host.tell(encoded)
  }

  /** Together they were over quota. */
  async #storeApart(read: Read, { into, messages, frames }: Pick<Run, 'into' | 'messages' | 'frames'>): Promise<void> {
    const one = (frame: Frame, at: number) =>
      this.#store(read, { into, messages: messages.slice(at, at + 1), frames: [frame] })
    await Promise.all(frames.map(one))
  }
}

/** Of all connections: what is added is taken in the same turn. */
const answers = new SendAnswers()

const isPlain = ({ binary }: Frame, { half, durable, recallHandle }: Stored): boolean =>
  !binary && half === undefined && durable === undefined && recallHandle === undefined

const isOver = (error: unknown): boolean => Fault.is(error) && error.code === 'throttled'
