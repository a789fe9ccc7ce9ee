import {
  type Conversation,
  type Credentials,
  type EpochMs,
  Fault,
  type Gateway,
  type GoAwayReason,
  type Link,
  type Session,
} from '@sluice/core'
import { AmqpSession } from './amqpSession.ts'
import { AMQP, type Frame, MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE, ourHeader, type Payload, SASL } from './codec.ts'
import { amqpError, conditions, errorOf, protocolError, saslCodeOf } from './faults.ts'
import { type AmqpOptions, CHANNEL_MAX, type Host, Memory, OVERHEAD } from './host.ts'
import type { AmqpLink } from './link.ts'
import type { AmqpError, CompositeOf, Performative, SaslPerformative } from './performatives.ts'
import { type Login, type Mechanism, mechanisms } from './sasl.ts'
import { PROTOCOL } from './translate.ts'
import { entry, mapOf, symbol, textOf } from './types/values.ts'

/** We want to hear something so often; who says nothing for twice as long is gone. [2.4.5] */
const IDLE_MS = 30_000
/** Shorter promises than this cannot be kept by a clock that ticks once a second. */
const IDLE_MIN_MS = 1_000
/** Frames that may come while the client is being let in. */
const EARLY_MAX = 1_024
const EARLY_BYTES_MAX = 256 * 1024
const NAME_MAX = 256

type State =
  | { readonly at: 'start' }
  /** Mechanisms are offered; once one is chosen its response may follow apart. */
  | { readonly at: 'sasl'; readonly mechanism?: Mechanism }
  /** Who it is is known; the header of the connection proper is still to come. */
  | { readonly at: 'known'; readonly login: Login }
  | { readonly at: 'opening'; readonly login: Login }
  | { readonly at: 'open'; readonly session: Session; readonly peer: Peer }
  | { readonly at: 'closed' }

interface Peer {
  readonly maxFrame: number
  readonly channelMax: number
  readonly idleMs: number | undefined
}

export class AmqpConversation implements Conversation<Frame>, Host {
  readonly gateway: Gateway
  readonly links = new Map<string, AmqpLink>()
  readonly memory: Memory
  readonly defaultGroup: string
  readonly maxMessage: number
  leaving = false
  slow = false
  readonly #link: Link<Frame>
  readonly #offered: readonly Mechanism[]
  readonly #since: EpochMs
  /** By the peer's channel. */
  readonly #sessions = new Map<number, AmqpSession>()
  readonly #stopping = new Set<Promise<void>>()
  #state: State = { at: 'start' }
  /** Frames that wait until the client has been let in. */
  #early: Frame[] | undefined
  #earlyBytes = 0
  #reason: GoAwayReason = 'draining'
  #heard: EpochMs
  #said: EpochMs

  constructor(link: Link<Frame>, gateway: Gateway, options: AmqpOptions) {
    this.#link = link
    this.gateway = gateway
    this.#offered = options.mechanisms ?? ['PLAIN', 'ANONYMOUS']
    this.defaultGroup = options.defaultGroup ?? 'amqp-default'
    this.maxMessage = gateway.limits.bodyBytes + OVERHEAD
    this.memory = new Memory(gateway.limits.bodyBytes, () => this.#each((session) => session.eased()))
    this.#since = this.#heard = this.#said = gateway.clock.now()
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
    if (this.#state.at === 'closed') return
    this.#say({ kind: 'amqp', channel, body, ...(payload && { payload }) })
  }

  close(error: AmqpError): undefined {
    if (this.#state.at === 'closed') return
    this.#over()
    this.#link.end({ kind: 'amqp', channel: 0, body: { type: 'close', error } })
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
    if (!this.#early) return this.#step(frame)
    this.#earlyBytes += frame.kind === 'amqp' && Buffer.isBuffer(frame.payload) ? frame.payload.length : 0
    if (this.#early.push(frame) > EARLY_MAX || this.#earlyBytes > EARLY_BYTES_MAX)
      throw new Fault('limit', 'too many frames before the connection is open')
    return undefined
  }

  /** Frames wait until this is done. */
  async #wait(done: Promise<void>): Promise<void> {
    const early: Frame[] = (this.#early = [])
    await done
    this.#early = undefined
    this.#earlyBytes = 0
    const steps: (Promise<void> | undefined)[] = []
    for (let frame = early.shift(); frame; frame = early.shift()) steps.push(this.receive(frame))
    await Promise.all(steps)
  }

  #step(frame: Frame): Promise<void> | undefined {
    const state = this.#state
    switch (state.at) {
      case 'start':
      case 'known':
        return this.#header(frame, state)
      case 'sasl':
        return this.#sasl(frame, state.mechanism)
      case 'opening':
        return this.#opening(frame, state.login)
      case 'open':
        return this.#amqp(frame, state.peer)
      case 'closed':
        return undefined
    }
  }

  /** A version that is not spoken is answered with the one that is. [2.2] */
  #header(frame: Frame, state: Extract<State, { at: 'start' | 'known' }>): undefined {
    if (frame.kind !== 'header') throw new Fault('malformed', 'a frame before the header', { about: 'frame' })
    const spoken = frame.version === '1.0.0' && (frame.id === AMQP || (frame.id === SASL && state.at === 'start'))
    if (!spoken) {
      this.#over()
      this.#refused('malformed', `AMQP ${frame.id} ${frame.version}`)
      return this.#link.end(ourHeader(state.at === 'start' ? SASL : AMQP)) as undefined
    }
    this.#say(ourHeader(frame.id))
    if (frame.id === SASL) {
      this.#state = { at: 'sasl' }
      this.#say({ kind: 'sasl', body: { type: 'saslMechanisms', saslServerMechanisms: this.#offered } })
    } else {
      this.#state = { at: 'opening', login: state.at === 'known' ? state.login : {} }
    }
  }

  #sasl(frame: Frame, chosen: Mechanism | undefined): Promise<void> | undefined {
    const body = frame.kind === 'sasl' ? frame.body : undefined
    if (body?.type === 'saslInit' && !chosen) {
      const mechanism = this.#offered.find((name) => name === body.mechanism)
      if (!mechanism)
        return this.#outcome(new Fault('unauthenticated', `mechanism ${body.mechanism.slice(0, 50)} is not offered`))
      if (mechanism === 'ANONYMOUS' || body.initialResponse) return this.#login(mechanism, body.initialResponse)
      this.#state = { at: 'sasl', mechanism }
      this.#say({ kind: 'sasl', body: { type: 'saslChallenge', challenge: Buffer.alloc(0) } })
      return undefined
    }
    if (body?.type === 'saslResponse' && chosen) return this.#login(chosen, body.response)
    throw new Fault('malformed', `${body?.type ?? frame.kind} during SASL`, { about: 'frame' })
  }

  #login(mechanism: Mechanism, response: Buffer = Buffer.alloc(0)): Promise<void> {
    return this.#wait(
      (async () => {
        try {
          const login = mechanisms[mechanism](response)
          await this.gateway.authenticate(this.#credentials(login))
          if (this.#state.at !== 'sasl') return
          this.#state = { at: 'known', login }
          this.#say({ kind: 'sasl', body: { type: 'saslOutcome', code: 0 } })
        } catch (error) {
          this.#outcome(Fault.from(error))
        }
      })(),
    )
  }

  /** SASL has failed: its outcome is the last word. [5.3.3.6] */
  #outcome(fault: Fault): undefined {
    if (this.#state.at === 'closed') return
    this.#over()
    this.#refused(fault.code, fault.message)
    const body: SaslPerformative = { type: 'saslOutcome', code: saslCodeOf(fault) }
    this.#link.end({ kind: 'sasl', body })
  }

  #credentials(login: Login, open?: CompositeOf<'open'>): Credentials {
    const { peer } = this.#link
    return {
      protocol: PROTOCOL,
      client: open?.containerId.slice(0, NAME_MAX) || `${peer.address}:${peer.port}`,
      language: (textOf(entry(open?.properties, 'product')) ?? '').slice(0, NAME_MAX),
      version: 100,
      peer,
      ...login,
    }
  }

  #opening(frame: Frame, login: Login): Promise<void> | undefined {
    if (frame.kind === 'amqp' && !frame.body) return undefined
    if (frame.kind !== 'amqp' || frame.body?.type !== 'open')
      throw new Fault('malformed', 'the first frame is not open', { about: 'frame' })
    const open = frame.body
    return this.#wait(this.#admit(open, login))
  }

  async #admit(open: CompositeOf<'open'>, login: Login): Promise<void> {
    const { maxFrameSize = 0xffff_ffff, channelMax = 0xffff, idleTimeOut = 0 } = open
    this.#sayOpen()
    if (maxFrameSize < MIN_MAX_FRAME_SIZE)
      return this.close(amqpError(conditions.invalid, `max-frame-size ${maxFrameSize} is below ${MIN_MAX_FRAME_SIZE}`))
    if (idleTimeOut > 0 && idleTimeOut < IDLE_MIN_MS)
      return this.close(amqpError(conditions.notAllowed, `idle-time-out ${idleTimeOut} is below ${IDLE_MIN_MS} ms`))
    let session: Session
    try {
      session = await this.gateway.admit(this.#credentials(login, open), async (notice) => {
        if (notice.kind === 'goAway') this.close(amqpError(conditions.forced, notice.reason))
      })
    } catch (error) {
      const fault = Fault.from(error)
      this.#refused(fault.code, fault.message)
      return this.close(errorOf(fault))
    }
    if (this.#state.at !== 'opening') return this.gateway.release(session)
    const idleMs = idleTimeOut > 0 ? idleTimeOut : undefined
    this.#state = {
      at: 'open',
      session,
      peer: { maxFrame: Math.min(maxFrameSize, MAX_FRAME_SIZE), channelMax, idleMs },
    }
  }

  #sayOpen(): void {
    this.send(0, {
      type: 'open',
      containerId: 'sluice',
      maxFrameSize: Math.min(MAX_FRAME_SIZE, this.gateway.limits.frameBytes),
      channelMax: CHANNEL_MAX,
      idleTimeOut: IDLE_MS,
      offeredCapabilities: ['ANONYMOUS-RELAY'],
      properties: mapOf([[symbol('product'), 'Sluice']]),
    })
  }

  #amqp(frame: Frame, peer: Peer): Promise<void> | undefined {
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
    this.#link.end({ kind: 'amqp', channel: 0, body: { type: 'close' } })
  }

  /** Nothing is said or done any more, except for one last frame. */
  #over(): void {
    const state = this.#state
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

  refuse(fault: Fault): Frame | undefined {
    const { at } = this.#state
    if (at === 'closed') return undefined
    if (at === 'opening') this.#sayOpen()
    this.#over()
    if (at === 'start') return ourHeader(SASL)
    if (at === 'sasl') return { kind: 'sasl', body: { type: 'saslOutcome', code: 2 } }
    if (at === 'known') return ourHeader(AMQP)
    return { kind: 'amqp', channel: 0, body: { type: 'close', error: protocolError(fault) } }
  }

  goAway(reason: GoAwayReason): void {
    this.leaving = true
    this.#reason = reason
    this.#each((session) => session.goAway())
  }

  farewell(): Frame | undefined {
    const { at } = this.#state
    if (at === 'opening') this.#sayOpen()
    this.#over()
    if (at !== 'open' && at !== 'opening') return undefined
    return { kind: 'amqp', channel: 0, body: { type: 'close', error: amqpError(conditions.forced, this.#reason) } }
  }

  tick(now: EpochMs): void {
    const state = this.#state
    if (state.at === 'closed') return
    if (state.at !== 'open') {
      // The engine's deadline ends with the first frame; ours with `open`.
      if (now - this.#since <= this.gateway.limits.handshakeMs) return
      this.#refused('malformed', 'handshake took too long')
      return this.#link.end(this.refuse(new Fault('malformed', 'handshake took too long', { about: 'frame' })))
    }
    if (now - this.#heard > IDLE_MS * 2)
      return this.close(amqpError(conditions.exhausted, `nothing came for ${IDLE_MS * 2} ms`))
    const { idleMs } = state.peer
    // A tick earlier than half of it, as the next one may come too late.
    if (idleMs !== undefined && now - this.#said >= idleMs / 2 - 1_000) this.#say({ kind: 'amqp', channel: 0 })
    this.#each((session) => session.tick())
  }

  #refused(code: string, reason: string): void {
    const remote = this.#link.peer.address
    this.gateway.log.info('connection.refused', { protocol: PROTOCOL, code, reason, remote })
  }

  async closed(): Promise<void> {
    if (this.#state.at !== 'closed') this.#over()
    await Promise.all(this.#stopping)
  }
}
