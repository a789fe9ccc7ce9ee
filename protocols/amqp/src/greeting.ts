import { type Credentials, Fault, type Gateway, type Link, type Session } from '@sluice/core'
import { AMQP, type Frame, MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE, ourHeader, SASL } from './codec.ts'
import { amqpError, conditions, errorOf, protocolError, saslCodeOf } from './faults.ts'
import { CHANNEL_MAX } from './host.ts'
import { type Login, type Mechanism, mechanisms } from './sasl.ts'
import type { AmqpError, CompositeOf, SaslPerformative } from './shapes.ts'
import { PROTOCOL } from './translate.ts'
import { entry, mapOf, symbol, textOf } from './types/values.ts'

/** We want to hear something so often; who says nothing for twice as long is gone. [2.4.5] */
export const IDLE_MS = 30_000
/** Shorter promises than this cannot be kept by a clock that ticks once a second. */
const IDLE_MIN_MS = 1_000
const NAME_MAX = 256

/** What the client's open says of how it wants to be spoken to. */
export interface Peer {
  readonly maxFrame: number
  readonly channelMax: number
  readonly idleMs: number | undefined
}

type State =
  | { readonly at: 'start' }
  /** Mechanisms are offered; once one is chosen its response may follow apart. */
  | { readonly at: 'sasl'; readonly mechanism?: Mechanism }
  /** Who it is is known; the header of the connection proper is still to come. */
  | { readonly at: 'known'; readonly login: Login }
  | { readonly at: 'opening'; readonly login: Login }
  /** Our open is said; whether the client may stay is being looked at. */
  | { readonly at: 'admitting' }
  | { readonly at: 'over' }

export interface Greeted {
  readonly notify: Session['notify']
  open(session: Session, peer: Peer): void
  /** The last word has been said. */
  ended(): void
}

/**
 * From the first byte to `open`:
 *   header 3 → mechanisms → init (→ challenge → response) → outcome → header 0 → open → open
 * or without SASL from header 0 on. The frames of a client that does not wait are read in this order all the same.
 */
export class Greeting {
  readonly #link: Link<Frame>
  readonly #gateway: Gateway
  readonly #offered: readonly Mechanism[]
  readonly #greeted: Greeted
  #state: State = { at: 'start' }

  constructor(link: Link<Frame>, gateway: Gateway, offered: readonly Mechanism[], greeted: Greeted) {
    this.#link = link
    this.#gateway = gateway
    this.#offered = offered
    this.#greeted = greeted
  }

  /** A promise: the frames that follow wait for it. @throws Fault 'malformed' about 'frame' */
  step(frame: Frame): Promise<void> | undefined {
    const state = this.#state
    switch (state.at) {
      case 'start':
        return this.#header(frame, {}, true)
      case 'known':
        return this.#header(frame, state.login, false)
      case 'sasl':
        return this.#sasl(frame, state.mechanism)
      case 'opening':
        return this.#opening(frame, state.login)
      case 'admitting':
      case 'over':
        return undefined
    }
  }

  /** A version that is not spoken is answered with the one that is. [2.2] */
  #header(frame: Frame, login: Login, first: boolean): undefined {
    if (frame.kind !== 'header') throw new Fault('malformed', 'a frame before the header', { about: 'frame' })
    const spoken = frame.version === '1.0.0' && (frame.id === AMQP || (frame.id === SASL && first))
    if (!spoken) {
      this.#refused('malformed', `protocol ${frame.id} of AMQP ${frame.version}`)
      return this.#end(ourHeader(first ? SASL : AMQP))
    }
    this.#link.send(ourHeader(frame.id))
    if (frame.id === AMQP) {
      this.#state = { at: 'opening', login }
      return
    }
    this.#state = { at: 'sasl' }
    this.#link.send({ kind: 'sasl', body: { type: 'saslMechanisms', saslServerMechanisms: this.#offered } })
  }

  // ── SASL ────────────────────────────────────────────────────────────────────────────────────────

  #sasl(frame: Frame, chosen: Mechanism | undefined): Promise<void> | undefined {
    const body = frame.kind === 'sasl' ? frame.body : undefined
    if (body?.type === 'saslInit' && !chosen) {
      const mechanism = this.#offered.find((name) => name === body.mechanism)
      if (!mechanism)
        return this.#outcome(new Fault('unauthenticated', `mechanism ${body.mechanism.slice(0, 50)} is not offered`))
      if (mechanism === 'ANONYMOUS' || body.initialResponse) return this.#login(mechanism, body.initialResponse)
      this.#state = { at: 'sasl', mechanism }
      this.#link.send({ kind: 'sasl', body: { type: 'saslChallenge', challenge: Buffer.alloc(0) } })
      return undefined
    }
    if (body?.type === 'saslResponse' && chosen) return this.#login(chosen, body.response)
    throw new Fault('malformed', `${body?.type ?? frame.kind} during SASL`, { about: 'frame' })
  }

  async #login(mechanism: Mechanism, response: Buffer = Buffer.alloc(0)): Promise<void> {
    try {
      const login = mechanisms[mechanism](response)
      await this.#gateway.authenticate(this.#credentials(login))
      if (this.#state.at !== 'sasl') return
      this.#state = { at: 'known', login }
      this.#link.send({ kind: 'sasl', body: { type: 'saslOutcome', code: 0 } })
    } catch (error) {
      this.#outcome(Fault.from(error))
    }
  }

  /** SASL has failed: its outcome is the last word. [5.3.3.6] */
  #outcome(fault: Fault): undefined {
    if (this.#state.at === 'over') return
    this.#refused(fault.code, fault.message)
    const body: SaslPerformative = { type: 'saslOutcome', code: saslCodeOf(fault) }
    return this.#end({ kind: 'sasl', body })
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

  // ── Open ────────────────────────────────────────────────────────────────────────────────────────

  #opening(frame: Frame, login: Login): Promise<void> | undefined {
    if (frame.kind !== 'amqp') throw new Fault('malformed', `${frame.kind} instead of open`, { about: 'frame' })
    if (!frame.body) return undefined
    if (frame.body.type !== 'open') throw new Fault('malformed', 'the first frame is not open', { about: 'frame' })
    return this.#admit(frame.body, login)
  }

  async #admit(open: CompositeOf<'open'>, login: Login): Promise<void> {
    const { maxFrameSize = 0xffff_ffff, channelMax = 0xffff, idleTimeOut = 0 } = open
    this.#sayOpen()
    this.#state = { at: 'admitting' }
    if (maxFrameSize < MIN_MAX_FRAME_SIZE)
      return this.#close(amqpError(conditions.invalid, `max-frame-size ${maxFrameSize} is below ${MIN_MAX_FRAME_SIZE}`))
    if (idleTimeOut > 0 && idleTimeOut < IDLE_MIN_MS)
      return this.#close(amqpError(conditions.notAllowed, `idle-time-out ${idleTimeOut} is below ${IDLE_MIN_MS} ms`))
    let session: Session
    try {
      session = await this.#gateway.admit(this.#credentials(login, open), this.#greeted.notify)
    } catch (error) {
      const fault = Fault.from(error)
      this.#refused(fault.code, fault.message)
      return this.#close(errorOf(fault))
    }
    if (this.#state.at !== 'admitting') return this.#gateway.release(session)
    this.#state = { at: 'over' }
    const maxFrame = Math.min(maxFrameSize, MAX_FRAME_SIZE)
    this.#greeted.open(session, { maxFrame, channelMax, idleMs: idleTimeOut > 0 ? idleTimeOut : undefined })
  }

  #sayOpen(): void {
    const body: CompositeOf<'open'> = {
      type: 'open',
      containerId: 'sluice',
      maxFrameSize: Math.min(MAX_FRAME_SIZE, this.#gateway.limits.frameBytes),
      channelMax: CHANNEL_MAX,
      idleTimeOut: IDLE_MS,
      offeredCapabilities: ['ANONYMOUS-RELAY', 'DELAYED_DELIVERY'],
      properties: mapOf([[symbol('product'), 'Sluice']]),
    }
    this.#link.send({ kind: 'amqp', channel: 0, body })
  }

  // ── End ─────────────────────────────────────────────────────────────────────────────────────────

  #close(error: AmqpError): undefined {
    return this.#end(closing(error))
  }

  #end(last: Frame): undefined {
    this.#state = { at: 'over' }
    this.#link.end(last)
    this.#greeted.ended()
  }

  /** The last word to a client that has not got as far as `open`; undefined: there is none. */
  lastWord(fault: Fault | AmqpError): Frame | undefined {
    const { at } = this.#state
    this.#state = { at: 'over' }
    switch (at) {
      case 'start':
        return ourHeader(SASL)
      case 'known':
        return ourHeader(AMQP)
      case 'sasl':
        return { kind: 'sasl', body: { type: 'saslOutcome', code: Fault.is(fault) ? 2 : 4 } }
      case 'opening':
      case 'admitting':
        if (at === 'opening') this.#sayOpen()
        return closing(Fault.is(fault) ? protocolError(fault) : fault)
      case 'over':
        return undefined
    }
  }

  #refused(code: string, reason: string): void {
    const remote = this.#link.peer.address
    this.#gateway.log.info('connection.refused', { protocol: PROTOCOL, code, reason, remote })
  }
}

/** The last frame of a connection. */
export const closing = (error?: AmqpError): Frame => ({ kind: 'amqp', channel: 0, body: { type: 'close', error } })
