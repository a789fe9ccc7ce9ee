import {
  type Conversation,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Link,
  type Session,
} from '@sluice/core'
import { AmqpSession } from './amqpSession.ts'
import type { Frame, Payload } from './codec.ts'
import { amqpError, conditions, protocolError } from './faults.ts'
import { closing, Greeting, IDLE_MS, type Peer } from './greeting.ts'
import { type AmqpOptions, CHANNEL_MAX, type Host, Memory, OVERHEAD } from './host.ts'
import type { AmqpLink } from './link.ts'
import type { AmqpError, CompositeOf, Performative } from './shapes.ts'
import { PROTOCOL } from './translate.ts'

/** Frames that may come while the client is being let in. */
const EARLY_MAX = 1_024
const EARLY_BYTES_MAX = 256 * 1024

type State =
  | { readonly at: 'greeting'; readonly greeting: Greeting }
  | { readonly at: 'open'; readonly session: Session; readonly peer: Peer }
  | { readonly at: 'closed' }

/** One connection: its greeting, its sessions by channel, its end. */
export class AmqpConversation implements Conversation<Frame>, Host {
  readonly gateway: Gateway
  readonly links = new Map<string, AmqpLink>()
  readonly memory: Memory
  readonly defaultGroup: string
  readonly maxMessage: number
  leaving = false
  slow = false
  readonly #link: Link<Frame>
  readonly #since: EpochMs
  /** By the peer's channel. */
  readonly #sessions = new Map<number, AmqpSession>()
  readonly #stopping = new Set<Promise<void>>()
  #state: State
  /** Frames that wait until the client has been let in. */
  #early: Frame[] | undefined
  #earlyBytes = 0
  #reason: GoAwayReason = 'draining'
  #heard: EpochMs
  #said: EpochMs

  constructor(link: Link<Frame>, gateway: Gateway, options: AmqpOptions) {
    this.#link = link
    this.gateway = gateway
    this.defaultGroup = options.defaultGroup ?? 'amqp-default'
    this.maxMessage = gateway.limits.bodyBytes + OVERHEAD
    this.memory = new Memory(gateway.limits.bodyBytes, () => this.#each((session) => session.eased()))
    this.#since = this.#heard = this.#said = gateway.clock.now()
    const greeting = new Greeting(link, gateway, options.mechanisms ?? ['PLAIN', 'ANONYMOUS'], {
      notify: async (notice) => {
        if (notice.kind === 'goAway') this.close(amqpError(conditions.forced, notice.reason))
      },
      open: (session, peer) => {
        this.#state = { at: 'open', session, peer }
      },
      ended: () => {
        this.#state = { at: 'closed' }
      },
    })
    this.#state = { at: 'greeting', greeting }
  }

  // ── Host ────────────────────────────────────────────────────────────────────────────────────────

  get session(): Session {
    return this.#open().session
  }

  get maxFrame(): number {
    return this.#open().peer.maxFrame
  }

  get room(): number {
    return this.gateway.limits.sessionInflight - this.unsettled
  }

  get unsettled(): number {
    let unsettled = 0
    for (const session of this.#sessions.values()) unsettled += session.unsettled
    return unsettled
  }

  send(channel: number, body: Performative, payload?: Payload): void {
    if (this.#state.at === 'open') this.#say({ kind: 'amqp', channel, body, ...(payload && { payload }) })
  }

  close(error: AmqpError): undefined {
    if (this.#state.at !== 'open') return
    this.#over()
    this.#link.end(closing(error))
  }

  stopping(stopped: Promise<void>): void {
    const done = stopped.catch(() => undefined).finally(() => this.#stopping.delete(done))
    this.#stopping.add(done)
  }

  #open(): Extract<State, { at: 'open' }> {
    if (this.#state.at !== 'open') throw new Error(`a session of a connection that is ${this.#state.at}`)
    return this.#state
  }

  #say(frame: Frame): void {
    this.#said = this.gateway.clock.now()
    if (this.#link.send(frame) || this.slow) return
    this.slow = true
    this.#each((session) => session.recredit())
    void this.#link.writable().then(() => {
      this.slow = false
      this.#each((session) => session.recredit())
    })
  }

  #each(call: (session: AmqpSession) => void): void {
    for (const session of this.#sessions.values()) call(session)
  }

  // ── In ──────────────────────────────────────────────────────────────────────────────────────────

  receive(frame: Frame): Promise<void> | undefined {
    this.#heard = this.gateway.clock.now()
    if (this.#early) return this.#later(this.#early, frame)
    const state = this.#state
    if (state.at === 'open') return this.#frame(frame, state.peer)
    if (state.at === 'closed') return undefined
    const waits = state.greeting.step(frame)
    return waits && this.#wait(waits)
  }

  #later(early: Frame[], frame: Frame): undefined {
    this.#earlyBytes += frame.kind === 'amqp' && Buffer.isBuffer(frame.payload) ? frame.payload.length : 0
    if (early.push(frame) > EARLY_MAX || this.#earlyBytes > EARLY_BYTES_MAX)
      throw new Fault('limit', 'too many frames before the connection is open')
  }

  /** Frames that come meanwhile wait until this is done. */
  async #wait(done: Promise<void>): Promise<void> {
    const early: Frame[] = (this.#early = [])
    await done
    this.#early = undefined
    this.#earlyBytes = 0
    const steps: (Promise<void> | undefined)[] = []
    for (let frame = early.shift(); frame; frame = early.shift()) steps.push(this.receive(frame))
    await Promise.all(steps)
  }

  #frame(frame: Frame, peer: Peer): Promise<void> | undefined {
    if (frame.kind !== 'amqp') throw new Fault('malformed', `${frame.kind} on an open connection`, { about: 'frame' })
    const { channel, body, payload } = frame
    if (!body) return undefined
    if (body.type === 'close') return this.#peerClosed()
    if (body.type === 'open') return this.close(amqpError(conditions.illegal, 'a second open'))
    if (channel > CHANNEL_MAX)
      return this.close(amqpError(conditions.framing, `channel ${channel} where ${CHANNEL_MAX} is the highest`))
    const session = this.#sessions.get(channel)
    if (body.type === 'begin') {
      if (session) return this.close(amqpError(conditions.illegal, `channel ${channel} has a session`))
      return this.#begin(channel, body, peer)
    }
    if (!session)
      return this.close(amqpError(conditions.illegal, `${body.type} on channel ${channel} without a session`))
    const done = session.receive(body, payload as Buffer | undefined)
    if (session.ended) this.#sessions.delete(channel)
    return done
  }

  #begin(remote: number, begin: CompositeOf<'begin'>, { channelMax }: Peer): undefined {
    const used = new Set([...this.#sessions.values()].map(({ channel }) => channel))
    let channel = remote <= channelMax && !used.has(remote) ? remote : 0
    while (used.has(channel)) channel++
    if (channel > channelMax)
      return this.close(amqpError(conditions.notAllowed, 'no channel is left below channel-max'))
    this.#sessions.set(remote, new AmqpSession(this, channel, remote, begin))
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────────

  #peerClosed(): undefined {
    this.#over()
    this.#link.end(closing())
  }

  /** Nothing is said or done any more, except for one last frame. */
  #over(): void {
    const state = this.#state
    this.#each((session) => session.dispositions.flush())
    this.#state = { at: 'closed' }
    this.#each((session) => session.drop())
    this.#sessions.clear()
    if (state.at === 'open') this.stopping(this.#release(state.session))
  }

  /** The session outlives its pumps: what they held goes back in its name. */
  async #release(session: Session): Promise<void> {
    await Promise.all(this.#stopping)
    this.gateway.release(session)
  }

  /** The last frame with this reason, as far as the client has got. */
  #lastWord(reason: Fault | AmqpError): Frame | undefined {
    const state = this.#state
    this.#over()
    if (state.at === 'closed') return undefined
    if (state.at === 'greeting') return state.greeting.lastWord(reason)
    return closing(Fault.is(reason) ? protocolError(reason) : reason)
  }

  refuse(fault: Fault): Frame | undefined {
    return this.#lastWord(fault)
  }

  goAway(reason: GoAwayReason): void {
    this.leaving = true
    this.#reason = reason
    this.#each((session) => session.goAway())
  }

  farewell(): Frame | undefined {
    return this.#lastWord(amqpError(conditions.forced, this.#reason))
  }

  tick(now: EpochMs): void {
    const state = this.#state
    if (state.at === 'closed') return
    if (state.at === 'greeting') {
      // The engine's deadline ends with the first frame; this one with `open`.
      if (now - this.#since > this.gateway.limits.handshakeMs) this.#tooSlow()
      return
    }
    if (now - this.#heard > IDLE_MS * 2)
      return this.close(amqpError(conditions.exhausted, `nothing came for ${IDLE_MS * 2} ms`))
    const { idleMs } = state.peer
    // A tick earlier than half of it, as the next one may come too late.
    if (idleMs !== undefined && now - this.#said >= idleMs / 2 - 1_000) this.#say({ kind: 'amqp', channel: 0 })
    this.#each((session) => session.tick())
  }

  #tooSlow(): void {
    const fault = new Fault('malformed', 'handshake took too long', { about: 'frame' })
    const remote = this.#link.peer.address
    this.gateway.log.info('connection.refused', { protocol: PROTOCOL, code: fault.code, reason: fault.message, remote })
    this.#link.end(this.refuse(fault))
  }

  async closed(): Promise<void> {
    this.#lastWord(amqpError(conditions.forced, 'gone'))
    await Promise.all(this.#stopping)
  }
}
