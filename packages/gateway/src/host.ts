import type { Duplex } from 'node:stream'
import {
  type Address,
  type Clock,
  type Column,
  type CommandOf,
  type Context,
  type ContextExtras,
  type Credentials,
  createPump,
  Fault,
  type Field,
  type Gateway,
  type Handle,
  type Kind,
  type Limits,
  type Log,
  type Membership,
  type Ms,
  type OtherColumn,
  type Peer,
  type Principal,
  type PumpOptions,
  type PumpSupport,
  parseAddress,
  type Seal,
  type Session,
  type Sessions,
  type Source,
  type Wheel,
} from '@sluice/core'

export interface HostParts {
  readonly pipeline: Handle
  readonly sessions: Sessions
  readonly limits: Limits
  readonly clock: Clock
  readonly wheel: Wheel
  readonly seal: Seal
  readonly log: Log
  /** `host:port`, or `dialled`. */
  readonly advertise: string
  authenticate(who: Credentials): Principal | Promise<Principal>
  adopt(protocol: string, socket: Duplex, peer: Peer): void
  lost(from: string, to: Column | OtherColumn, field: Field): void
  returned(protocol: string, messages: number): void
}

/** How long a session's last command may take. */
const LEAVE: Ms = 5_000

/** The process as protocols see it. */
export class Host implements Gateway {
  readonly limits: Limits
  readonly clock: Clock
  readonly seal: Seal
  readonly log: Log
  readonly #parts: HostParts
  /** One for all pumps. */
  readonly #pumps: PumpSupport
  /** Undefined: what each client dialled. */
  readonly #advertised: Address | undefined
  readonly #leaving = new Set<Promise<unknown>>()

  constructor(parts: HostParts) {
    this.#parts = parts
    this.#advertised = parseAddress(parts.advertise)
    this.limits = parts.limits
    this.clock = parts.clock
    this.seal = parts.seal
    this.log = parts.log
    this.#pumps = {
      handle: this.handle,
      clock: parts.clock,
      wheel: parts.wheel,
      pollMs: parts.limits.pollMs,
      context: (session, patience, more) => this.context(session, patience, more),
      returned: (session, messages) => parts.returned(session.protocol, messages),
    }
  }

  readonly handle: Handle = <K extends Kind>(command: CommandOf<K>, context: Context) => {
    const reply = this.#parts.pipeline<K>(command, context)
    if (command.kind !== 'heartbeat') return reply
    // Notices to the group may come here from now on.
    const { member } = command as { member: Membership }
    return reply.then((done) => {
      this.#parts.sessions.joined(context.session, member)
      return done
    })
  }

  authenticate(who: Credentials): Principal | Promise<Principal> {
    return this.#parts.authenticate(who)
  }

  async admit(who: Credentials, notify: Session['notify']): Promise<Session> {
    const principal = await this.#parts.authenticate(who)
    const { sessions, limits } = this.#parts
    if (sessions.size >= limits.connections) throw new Fault('limit', `over ${limits.connections} sessions`)
    return sessions.admit(who, principal, notify)
  }

  release(session: Session): void {
    if (!this.#parts.sessions.release(session)) return
    const left = this.handle({ kind: 'leave', what: 'all' }, this.context(session, LEAVE))
      .catch((error: unknown) => this.log.warn('session.leave', { session: session.id, code: Fault.from(error).code }))
      .finally(() => this.#leaving.delete(left))
    this.#leaving.add(left)
  }

  /** Resolves when every released session has left the backend. */
  async left(): Promise<void> {
    await Promise.all(this.#leaving)
  }

  context(session: Session, patience: Ms, more?: ContextExtras): Context {
    const deadline = this.clock.now() + patience
    if (!more) return { session, principal: session.principal, deadline }
    return { session, principal: session.principal, deadline, ...more }
  }

  pump(source: Source, options: PumpOptions) {
    return createPump(this.#pumps, source, options)
  }

  advertised(session: Session): Address {
    if (this.#advertised) return this.#advertised
    const { localAddress } = session
    const colon = localAddress.lastIndexOf(':')
    return { host: localAddress.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(localAddress.slice(colon + 1)) }
  }

  adopt(protocol: string, socket: Duplex, peer: Peer): void {
    this.#parts.adopt(protocol, socket, peer)
  }

  lost(from: string, to: Column | OtherColumn, field: Field): void {
    this.#parts.lost(from, to, field)
  }
}
