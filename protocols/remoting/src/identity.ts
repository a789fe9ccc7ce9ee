import {
  type Context,
  type ContextExtras,
  type Credentials,
  Fault,
  type Gateway,
  type Ms,
  type Notice,
  type Peer,
  type Session,
} from '@sluice/core'
import type { Frame } from '@sluice/remoting'
import { hostPort } from './routes.ts'
import { isSigned, signerOf } from './signature.ts'

export interface IdentityHost {
  readonly gateway: Gateway
  readonly peer: Peer
  notify(notice: Notice): Promise<unknown>
  /** From now on requests are this session's. */
  changed(session: Session): void
}

/**
 * Whose requests come over one connection. A session is named by the first heartbeat; before that, by the socket. A
 * client may have two connections for a while, so each has a session of its own and takes only its own along.
 * A signature speaks for its request alone: others of the connection are whosever they are.
 * Source: apache/rocketmq DefaultAuthenticationHandler.java
 */
export class Identity {
  readonly #host: IdentityHost
  readonly #gateway: Gateway
  #session: Session | undefined
  /** Who admitted the session proved it by signing: what comes unsigned is not theirs. */
  #isSigned = false
  /** The last admission; the next one waits for it. */
  #admission: Promise<Session> | undefined
  #closed = false

  constructor(host: IdentityHost) {
    this.#host = host
    this.#gateway = host.gateway
  }

  get session(): Session | undefined {
    return this.#session
  }

  /** Whose request this is, if that needs no proof of its own. */
  sessionOf(frame: Frame): Session | undefined {
    return this.#isSigned || isSigned(frame) ? undefined : this.#session
  }

  /** Without a promise where nothing is signed and the client is known. @throws Fault 'unauthenticated', 'limit' */
  enter(frame: Frame, patience: Ms, more?: ContextExtras): Context | Promise<Context> {
    const session = this.sessionOf(frame)
    return session ? this.#gateway.context(session, patience, more) : this.#prove(frame, patience, more)
  }

  /** @param client undefined: whoever it is @throws as {@link enter} */
  async identify(client: string | undefined, frame: Frame, patience: Ms): Promise<Context> {
    if (client !== undefined && this.#session?.client !== client) await this.#admit(client, frame)
    return this.enter(frame, patience)
  }

  close(): void {
    this.#closed = true
    if (this.#session) this.#gateway.release(this.#session)
    this.#session = undefined
  }

  async #prove(frame: Frame, patience: Ms, more?: ContextExtras): Promise<Context> {
    const session = this.#session ?? (await this.#admit(undefined, frame))
    if (this.sessionOf(frame)) return this.#gateway.context(session, patience, more)
    const principal = await this.#gateway.authenticate(this.#credentials(session.client, frame))
    return this.#gateway.context(session, patience, { ...more, principal })
  }

  /** One at a time, so that requests that come together find one session. */
  #admit(client: string | undefined, frame: Frame): Promise<Session> {
    const before = this.#admission
    const admission = (async () => {
      await before?.catch(() => undefined)
      const known = this.#session
      if (known && (client === undefined || known.client === client)) return known
      const { address, port } = this.#host.peer
      const who = this.#credentials(client ?? hostPort({ host: address, port }), frame)
      const session = await this.#gateway.admit(who, (notice) => this.#host.notify(notice))
      this.#moveIn(session, isSigned(frame))
      return session
    })()
    this.#admission = admission
    return admission
  }

  #moveIn(session: Session, isSigned: boolean): void {
    if (this.#closed) {
      this.#gateway.release(session)
      throw new Fault('unavailable', 'the connection is closed')
    }
    const before = this.#session
    this.#session = session
    this.#isSigned = isSigned
    this.#host.changed(session)
    if (before) this.#gateway.release(before)
  }

  #credentials(client: string, frame: Frame): Credentials {
    const { language, version } = frame
    return { protocol: 'remoting', client, language, version, peer: this.#host.peer, ...signerOf(frame) }
  }
}
