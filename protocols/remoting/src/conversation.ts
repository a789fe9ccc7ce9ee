import {
  type Context,
  type ContextExtras,
  type Conversation,
  type Credentials,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Link,
  type Membership,
  type Ms,
  type Notice,
  type Session,
} from '@sluice/core'
import {
  type Frame,
  isOneway,
  isResponse,
  knownHost,
  noHost,
  ONEWAY,
  RESPONSE,
  request,
  response,
  version,
} from '@sluice/remoting'
import type { Answer, Desk } from './desk.ts'
import { codeOf } from './faults.ts'
import { handlers, namedHandlers } from './handlers.ts'
import { toNotice } from './notices.ts'
import { type PullHost, Pulls } from './pulls.ts'
import { hostPort } from './routes.ts'
import { signerOf } from './signature.ts'
import type { Topics } from './topics.ts'

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

const nobody: Membership = { produces: [], consumes: [] }

/**
 * One connection of a client. Its session is named by the first heartbeat; before that, by the socket. A client may have
 * two connections for a while, so that each has a session of its own and takes only its own along when it closes.
 */
export class RemotingConversation implements Conversation<Frame> {
  /** A pull gives nothing into the client's hands. */
  readonly unsettled = 0
  readonly #link: Link<Frame>
  readonly #gateway: Gateway
  readonly #pulls: Pulls
  readonly #desk: ConnectionDesk
  #session: Session | undefined
  /** The last admission; the next one waits for it. */
  #admission: Promise<Session> | undefined
  #closed = false
  #leaving = false
  #slow = false
  #binary = false
  #opaque = 0

  constructor(link: Link<Frame>, gateway: Gateway, topics: Topics) {
    this.#link = link
    this.#gateway = gateway
    this.#desk = new ConnectionDesk(gateway, topics, (client, frame) => this.#identify(client, frame))
    const isSlow = () => this.#slow
    const host: PullHost = {
      desk: this.#desk,
      enter: (frame, patience, more) => this.#enter(frame, patience, more),
      answer: (frame, answer) => this.#answer(frame, answer),
      refuse: (frame, error) => this.#refuse(frame, error),
      get slow() {
        return isSlow()
      },
    }
    this.#pulls = new Pulls(host)
  }

  receive(frame: Frame): void | Promise<void> {
    this.#binary = frame.binary
    if (isResponse(frame)) return undefined
    if (this.#isSentAway(frame)) {
      this.#answer(frame, { code: response.goAway, remark: 'please go away' })
      return undefined
    }
    try {
      if (frame.code === request.pullMessage || frame.code === request.litePullMessage)
        return this.#pulls.receive(frame)
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
    const context = this.#enter(frame, PATIENCE)
    return context instanceof Promise
      ? context.then((entered) => handler(frame, entered, this.#desk))
      : handler(frame, context, this.#desk)
  }

  refuse(): undefined {
    return undefined
  }

  goAway(_: GoAwayReason): void {
    this.#leaving = true
    this.#pulls.wake()
  }

  /** Pulls that old clients sent since {@link goAway} are answered before the end. */
  farewell(): undefined {
    this.#pulls.wake()
    return undefined
  }

  tick(now: EpochMs): void {
    this.#pulls.tick(now)
  }

  closed(): void {
    this.#closed = true
    this.#pulls.close()
    if (this.#session) this.#gateway.release(this.#session)
    this.#session = undefined
  }

  #isSentAway({ language, version: said, flag, code }: Frame): boolean {
    if (!this.#leaving || (flag & ONEWAY) !== 0 || exempt.has(code)) return false
    return language === 'JAVA' && said >= version.goAway
  }

  // ── Who ─────────────────────────────────────────────────────────────────────────────────────

  /** Without a promise for a known client that signs nothing. */
  #enter(frame: Frame, patience: Ms, more?: ContextExtras): Context | Promise<Context> {
    const session = this.#session
    const signs = frame.ext.AccessKey !== undefined && frame.ext.AccessKey !== ''
    if (session && !signs) return this.#gateway.context(session, patience, more)
    return this.#enterAnew(frame, patience, more)
  }

  async #enterAnew(frame: Frame, patience: Ms, more?: ContextExtras): Promise<Context> {
    const session = this.#session ?? (await this.#admit(undefined, frame))
    const signer = signerOf(frame)
    if (!signer) return this.#gateway.context(session, patience, more)
    const principal = await this.#gateway.authenticate(this.#credentials(session.client, frame, signer))
    return this.#gateway.context(session, patience, { ...more, principal })
  }

  async #identify(client: string | undefined, frame: Frame): Promise<Context> {
    if (client !== undefined && this.#session?.client !== client) await this.#admit(client, frame)
    return this.#enter(frame, PATIENCE)
  }

  /** One at a time, so that requests that come together find one session. */
  #admit(client: string | undefined, frame: Frame): Promise<Session> {
    const before = this.#admission
    const admission = (async () => {
      await before?.catch(() => undefined)
      const known = this.#session
      if (known && (client === undefined || known.client === client)) return known
      const named = client ?? hostPort({ host: this.#link.peer.address, port: this.#link.peer.port })
      const session = await this.#gateway.admit(this.#credentials(named, frame, signerOf(frame)), (notice) =>
        this.#notify(notice),
      )
      this.#settleIn(session)
      return session
    })()
    this.#admission = admission
    return admission
  }

  #settleIn(session: Session): void {
    const before = this.#session
    if (this.#closed) {
      this.#gateway.release(session)
      throw new Fault('unavailable', 'the connection is closed')
    }
    this.#session = session
    this.#desk.moveIn(session)
    if (before) this.#gateway.release(before)
  }

  #credentials(client: string, frame: Frame, signer: ReturnType<typeof signerOf>): Credentials {
    return {
      protocol: 'remoting',
      client,
      language: frame.language,
      version: frame.version,
      peer: this.#link.peer,
      ...signer,
    }
  }

  async #notify(notice: Notice): Promise<unknown> {
    const said = toNotice(notice, this.#desk.store)
    if (said === 'end') this.#link.end()
    else
      this.#send({
        ...said,
        language: 'JAVA',
        version: version.ours,
        opaque: ++this.#opaque,
        flag: ONEWAY,
        binary: this.#binary,
      })
    return undefined
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────

  #answer(frame: Frame, answer: Answer): void {
    if (isOneway(frame)) return
    const { code, remark, ext, body, parts } = answer
    this.#send({
      code,
      language: 'JAVA',
      version: version.ours,
      opaque: frame.opaque,
      flag: RESPONSE,
      ext: ext ?? bare,
      binary: frame.binary,
      ...(remark && { remark }),
      ...(body && { body }),
      ...(parts && { parts }),
    })
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

/** Every answer says them: clients look for them in any. */
const bare = { MSG_REGION: 'DefaultRegion', TRACE_ON: 'false' } as const

class ConnectionDesk implements Desk {
  readonly gateway: Gateway
  readonly topics: Topics
  readonly identify: Desk['identify']
  member: Membership = nobody
  address = ''
  store: Buffer = noHost.bytes
  #since: ReadonlyMap<string, EpochMs> = new Map()

  constructor(gateway: Gateway, topics: Topics, identify: Desk['identify']) {
    this.gateway = gateway
    this.topics = topics
    this.identify = identify
  }

  /** Message ids hold an address, so that of a name is the one that the client dialled. */
  moveIn(session: Session): void {
    this.address = hostPort(this.gateway.advertised(session))
    this.store = (knownHost(this.address) ?? knownHost(session.localAddress))?.host.bytes ?? noHost.bytes
    this.joined(nobody, 0)
  }

  subscribedAt(group: string, topic: string): EpochMs | undefined {
    return this.#since.get(`${group}\n${topic}`)
  }

  joined(member: Membership, at: EpochMs): void {
    const before = this.#since
    const since = new Map<string, EpochMs>()
    for (const { group, topics } of member.consumes) {
      for (const { topic } of topics) {
        const key = `${group}\n${topic}`
        since.set(key, before.get(key) ?? at)
      }
    }
    this.#since = since
    this.member = member
  }
}
