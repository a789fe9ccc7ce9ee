import {
  type Conversation,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Link,
  type Ms,
  type Notice,
} from '@sluice/core'
import {
  type Frame,
  isOneway,
  isResponse,
  ONEWAY,
  RESPONSE,
  request,
  response,
  uncutCode,
  version,
} from '@sluice/remoting'
import { type Answer, ConnectionDesk } from './desk.ts'
import { knowsGoAway, lastPullAnswer, lastWord } from './farewell.ts'
import { codeOf } from './faults.ts'
import { handlers, namedHandlers } from './handlers.ts'
import { Identity } from './identity.ts'
import { Inquiries } from './inquiries.ts'
import { type Told, toAnswer, toNotice } from './notices.ts'
import { Pops } from './pops.ts'
import { type PullHost, Pulls } from './pulls.ts'
import { Replies } from './replies.ts'
import { isSend, type SendHost, Sends } from './sends.ts'
import type { Shared } from './shared.ts'

/** Clients wait three seconds for most answers, and close the connection when none came. */
const PATIENCE: Ms = 2_800

/** Served while the rest is sent away: they end something here, or say nothing that would be lost. */
const exempt: ReadonlySet<number> = new Set([
  request.heartBeat,
  request.unregisterClient,
  request.endTransaction,
  request.updateConsumerOffset,
  request.consumerSendMsgBack,
  request.unlockBatchMq,
  request.ackMessage,
  request.batchAckMessage,
  request.changeMessageInvisibleTime,
])

/** One connection of a client: requests and their answers, what it is told, how it is sent away. */
export class RemotingConversation implements Conversation<Frame> {
  /** A pull gives nothing into the client's hands. */
  readonly unsettled = 0
  readonly #link: Link<Frame>
  readonly #gateway: Gateway
  readonly #pulls: Pulls
  readonly #pops: Pops
  readonly #sends: Sends
  readonly #desk: ConnectionDesk
  readonly #identity: Identity
  readonly #inquiries: Inquiries
  readonly #replies: Replies
  #closed = false
  #leaving = false
  #slow = false
  #binary = false
  #language = ''
  #version = 0

  constructor(link: Link<Frame>, gateway: Gateway, shared: Shared) {
    this.#link = link
    this.#gateway = gateway
    this.#inquiries = new Inquiries(() => gateway.clock.now())
    const identity = new Identity({
      gateway,
      peer: link.peer,
      notify: (notice) => this.#notify(notice),
      changed: (session) => {
        this.#desk.moveIn(session)
        this.#replies.moveTo(gateway.context(session, PATIENCE))
      },
    })
    this.#identity = identity
    this.#desk = new ConnectionDesk(gateway, shared, {
      identify: (client, frame) => identity.identify(client, frame, PATIENCE),
      tell: (notice) => void this.#notify(notice),
      awaitReplies: (context, client, group) => this.#replies.open(context, client, group),
    })
    const { desk } = { desk: this.#desk }
    this.#replies = new Replies({
      gateway,
      get store() {
        return desk.store
      },
      ask: (told) => this.#ask(told),
    })
    const host: PullHost & SendHost = {
      desk: this.#desk,
      sessionOf: (frame) => identity.sessionOf(frame),
      enter: (frame, patience, more) => identity.enter(frame, patience, more),
      answer: (frame, answer) => this.#answer(frame, answer),
      refuse: (frame, error) => this.#refuse(frame, error),
      tell: (encoded) => this.#send({ ...written, encoded }),
      mayPark: () => this.#pulls.parked + this.#pops.parked < gateway.limits.parked,
      isSlow: () => this.#slow || this.#closed,
    }
    this.#pulls = new Pulls(host)
    this.#pops = new Pops(host)
    this.#sends = new Sends(host, PATIENCE)
  }

  receive(received: Frame): void | Promise<void> {
    const frame = received.binary ? { ...received, code: uncutCode(received.code) } : received
    this.#binary = frame.binary
    this.#language = frame.language
    this.#version = frame.version
    if (isResponse(frame)) return this.#inquiries.answered(frame)
    if (this.#isSentAway(frame)) {
      this.#answer(frame, { code: response.goAway, remark: 'please go away' })
      return undefined
    }
    try {
      if (isSend(frame.code)) return this.#sends.receive(frame)
      this.#sends.cut()
      if (frame.code === request.pullMessage || frame.code === request.litePullMessage)
        return this.#pulls.receive(frame)
      if (frame.code === request.popMessage || frame.code === request.notification) return this.#pops.receive(frame)
      const answer = this.#handle(frame)
      if (answer instanceof Promise) {
        return answer.then(
          (given) => this.#answer(frame, given),
          (error: unknown) => this.#refuse(frame, error),
        )
      }
      this.#answer(frame, answer)
    } catch (error) {
      this.#refuse(frame, error)
    }
    return undefined
  }

  #handle(frame: Frame): Answer | Promise<Answer> {
    const named = namedHandlers[frame.code]
    if (named) return named(frame, this.#desk)
    const handler = handlers[frame.code]
    if (!handler) throw new Fault('unsupported', `request code ${frame.code} is not supported`)
    const context = this.#identity.enter(frame, PATIENCE)
    return context instanceof Promise
      ? context.then((entered) => handler(frame, entered, this.#desk))
      : handler(frame, context, this.#desk)
  }

  refuse(): undefined {
    return undefined
  }

  goAway(_: GoAwayReason): void {
    this.#leaving = true
    this.#wake()
  }

  leave(): void {
    this.#pulls.leave()
  }

  farewell(): Frame | undefined {
    const client = { language: this.#language, version: this.#version }
    this.#pulls.farewell(lastPullAnswer(client))
    this.#pops.wake()
    return lastWord(client)
  }

  #wake(): void {
    this.#pulls.wake()
    this.#pops.wake()
  }

  tick(now: EpochMs): void {
    this.#pulls.tick(now)
    this.#inquiries.tick(now)
  }

  closed(): void {
    this.#closed = true
    this.#pulls.close()
    this.#pops.close()
    this.#inquiries.close()
    this.#replies.close()
    this.#identity.close()
  }

  #isSentAway(frame: Frame): boolean {
    return this.#leaving && (frame.flag & ONEWAY) === 0 && !exempt.has(frame.code) && knowsGoAway(frame)
  }

  async #notify(notice: Notice): Promise<unknown> {
    const { store, member } = this.#desk
    const session = this.#identity.session
    const told = toNotice(notice, {
      store,
      language: session?.language ?? '',
      client: session?.client ?? '',
      group: member.consumes[0]?.group,
    })
    if (told === 'end') return this.#link.end()
    if (!told) return undefined
    if (told.answered) return toAnswer(await this.#ask(told))
    if (notice.kind === 'checkTransaction') this.#desk.halves.add(notice.half)
    this.#tell(told, this.#inquiries.next(), ONEWAY)
    return undefined
  }

  #ask(told: Told): Promise<Frame> {
    return this.#inquiries.ask((opaque) => this.#tell(told, opaque, 0))
  }

  #tell({ answered: _, ...told }: Told, opaque: number, flag: number): void {
    this.#send({ ...told, language: 'JAVA', version: version.ours, opaque, flag, binary: this.#binary })
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────

  #answer(frame: Frame, answer: Answer): void {
    if (isOneway(frame)) return
    const { code, remark, ext = bare, body, parts } = answer
    const said: Writable<Frame> = {
      code,
      language: 'JAVA',
      version: version.ours,
      opaque: frame.opaque,
      flag: RESPONSE,
      ext,
      binary: frame.binary,
    }
    if (remark) said.remark = remark
    if (body) said.body = body
    if (parts) said.parts = parts
    this.#send(said)
  }

  #refuse(frame: Frame, error: unknown): void {
    const fault = Fault.from(error)
    if (fault.code === 'internal') {
      const { cause } = fault
      this.#gateway.log.error('request.failed', {
        protocol: 'remoting',
        code: frame.code,
        error: cause instanceof Error ? (cause.stack ?? cause.message) : fault.message,
      })
    }
    this.#answer(frame, { code: codeOf(fault), remark: fault.code === 'internal' ? 'internal error' : fault.message })
  }

  #send(frame: Frame): void {
    if (this.#closed || this.#link.send(frame) || this.#slow) return
    this.#slow = true
    void this.#link.writable().then(() => {
      this.#slow = false
    })
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const written = { code: 0, language: 'JAVA', version: version.ours, opaque: 0, flag: RESPONSE, ext: {}, binary: false }

/** Every answer says them: clients look for them in any. */
const bare = { MSG_REGION: 'DefaultRegion', TRACE_ON: 'false' } as const
