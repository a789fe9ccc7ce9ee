import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Duplex } from 'node:stream'
import {
  type Addressee,
  type Clock,
  type Column,
  type CommandOf,
  type Context,
  type Credentials,
  createPump,
  createSeal,
  defaultLimits,
  Fault,
  type Field,
  type Gateway,
  type Kind,
  type Limits,
  type Notice,
  type OtherColumn,
  type Peer,
  type Principal,
  type ReplyTo,
  type Session,
  Sessions,
  type StoredMessage,
  Wheel,
} from '@sluice/core'
import { type FakeClock, fakeClock } from './clock.ts'
import { MemoryBackend, type MemoryOptions } from './fake/backend.ts'

export interface FakeGatewayOptions<C extends Clock = FakeClock> extends MemoryOptions {
  readonly limits?: Partial<Limits>
  /** A fake one unless given. `systemClock` for libraries that have timers of their own. */
  readonly clock?: C
  /** Secrets by user name; absent: everyone is let in as `anonymous`. */
  readonly users?: Readonly<Record<string, string>>
  /** Protocols that `adopt` takes; absent: all, and it only notes them. */
  readonly adopts?: Readonly<Record<string, (socket: Duplex, peer: Peer) => void>>
  readonly advertised?: { readonly host: string; readonly port: number }
}

export interface Seen<K extends Kind = Kind> {
  readonly command: CommandOf<K>
  readonly context: Context
}

/** Replies of one kind that wait for the test. */
export interface Hold {
  /** Commands whose reply waits. */
  readonly waiting: number
  /** Lets the next `count` go, or all and those to come. */
  release(count?: number): void
}

/** A Gateway for tests: real sessions, pumps and seals over a broker in memory, with everything noted down. */
export interface FakeGateway<C extends Clock = FakeClock> extends Gateway {
  readonly clock: C
  readonly limits: Limits & { -readonly [Name in keyof Limits]: Limits[Name] }
  readonly sessions: Sessions
  readonly logs: {
    readonly level: 'info' | 'warn' | 'error'
    readonly event: string
    readonly fields: Readonly<Record<string, unknown>>
  }[]
  readonly losses: { readonly from: string; readonly to: Column | OtherColumn; readonly field: Field }[]
  /** Messages that pumps gave back because their connection ended. */
  readonly returned: { readonly session: Session; readonly messages: number }[]
  readonly adopted: { readonly protocol: string; readonly socket: Duplex; readonly peer: Peer }[]
  /** The last 10,000 commands that came through `handle`. */
  readonly commands: readonly Seen[]
  /** Commands of this kind so far. */
  of<K extends Kind>(kind: K): readonly CommandOf<K>[]
  /** Resolves with the next command of this kind, before it is carried out. */
  next<K extends Kind>(kind: K): Promise<CommandOf<K>>
  /** Polls that wait at the broker. */
  readonly parked: number
  /** Messages that pops and reads have given so far, repeats counted. */
  readonly given: number
  /** What a topic holds, in order of arrival. */
  messages(topic: string): readonly StoredMessage[]
  /** The next `times` commands of this kind are refused, or answered by something that is no Fault. */
  failNext(kind: Kind, error: Fault | Error, times?: number): void
  /** From now on commands of this kind are answered so instead. */
  answer<K extends Kind>(
    kind: K,
    by: (command: CommandOf<K>, context: Context) => ReplyTo<K> | Promise<ReplyTo<K>>,
  ): void
  /** From now on replies of this kind wait for the test; the broker has done the work by then. */
  hold(kind: Kind): Hold
  /** As the broker would: asks or tells clients. */
  notify(to: Addressee, notice: Notice): Promise<unknown>
  /** Stops its timers. */
  close(): void
}

export const ANONYMOUS: Principal = { name: 'anonymous', tenant: '', super: true }
const COMMANDS_MAX = 10_000

export const fakeGateway = <C extends Clock = FakeClock>(options: FakeGatewayOptions<C> = {}): FakeGateway<C> => {
  const clock = options.clock ?? (fakeClock() as unknown as C)
  const wheel = new Wheel(clock)
  const sessions = new Sessions('fake')
  const backend = new MemoryBackend(options, clock, sessions)
  const interference = new Interference()
  const limits = { ...defaultLimits, ...options.limits }
  const logs: FakeGateway['logs'] = []
  const losses: FakeGateway['losses'] = []
  const returned: FakeGateway['returned'] = []
  const adopted: FakeGateway['adopted'] = []
  const log =
    (level: 'info' | 'warn' | 'error') =>
    (event: string, fields: object = {}) =>
      void logs.push({ level, event, fields: fields as Record<string, unknown> })

  const handle = <K extends Kind>(command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> =>
    interference.around(command, context, () => backend.execute(command, context))

  const context: Gateway['context'] = (session, patience, more = {}) => ({
    session,
    principal: more.principal ?? session.principal,
    deadline: clock.now() + patience,
    ...(more.signal && { signal: more.signal }),
    ...(more.traceparent !== undefined && { traceparent: more.traceparent }),
  })

  return {
    handle,
    limits,
    clock,
    sessions,
    logs,
    losses,
    returned,
    adopted,
    get commands() {
      return interference.commands
    },
    of: (kind) => interference.of(kind),
    next: (kind) => interference.next(kind),
    get parked() {
      return backend.parked
    },
    get given() {
      return interference.given
    },
    messages: (topic) => backend.log.of(topic),
    failNext: (kind, error, times = 1) => interference.failNext(kind, error, times),
    answer: (kind, by) => interference.answer(kind, by),
    hold: (kind) => interference.hold(kind),
    notify: (to, notice) => sessions.notify(to, notice),
    close() {
      backend.close()
      wheel.close()
    },
    authenticate: (who) => principalOf(who, options.users),
    admit: async (who, notify) => sessions.admit(who, principalOf(who, options.users), notify),
    release(session) {
      if (sessions.release(session)) backend.release(session)
    },
    context,
    pump: (source, pumpOptions) =>
      createPump(
        {
          handle,
          clock,
          wheel,
          pollMs: limits.pollMs,
          context,
          returned: (session, messages) => void returned.push({ session, messages }),
        },
        source,
        pumpOptions,
      ),
    seal: createSeal(Buffer.from('the fixed key of the fake gateway')),
    advertised(session) {
      if (options.advertised) return options.advertised
      const colon = session.localAddress.lastIndexOf(':')
      return { host: session.localAddress.slice(0, colon), port: Number(session.localAddress.slice(colon + 1)) }
    },
    adopt(protocol, socket, peer) {
      adopted.push({ protocol, socket, peer })
      if (!options.adopts) return
      const take = options.adopts[protocol]
      if (!take) throw new Fault('unsupported', `${protocol} is not running here`)
      take(socket, peer)
    },
    lost: (from, to, field) => void losses.push({ from, to, field }),
    log: { info: log('info'), warn: log('warn'), error: log('error') },
  }
}

/** What stands between a protocol and the broker in a test: notes, failures, answers and delays. */
class Interference {
  readonly commands: Seen[] = []
  given = 0
  readonly #waiting: { readonly kind: Kind; readonly resolve: (command: never) => void }[] = []
  readonly #failures: { readonly kind: Kind; readonly error: Error; left: number }[] = []
  readonly #answers = new Map<Kind, (command: never, context: Context) => unknown>()
  readonly #holds = new Map<Kind, { waiting: (() => void)[]; open: boolean }>()

  of<K extends Kind>(kind: K): readonly CommandOf<K>[] {
    return this.commands
      .map(({ command }) => command)
      .filter((command): command is CommandOf<K> => command.kind === kind)
  }

  next<K extends Kind>(kind: K): Promise<CommandOf<K>> {
    return new Promise((resolve) => this.#waiting.push({ kind, resolve }))
  }

  failNext(kind: Kind, error: Error, times: number): void {
    this.#failures.push({ kind, error, left: times })
  }

  answer(kind: Kind, by: (command: never, context: Context) => unknown): void {
    this.#answers.set(kind, by)
  }

  hold(kind: Kind): Hold {
    const hold = { waiting: [] as (() => void)[], open: false }
    this.#holds.set(kind, hold)
    return {
      get waiting() {
        return hold.waiting.length
      },
      release: (count) => {
        if (count === undefined) {
          hold.open = true
          if (this.#holds.get(kind) === hold) this.#holds.delete(kind)
        }
        for (const go of hold.waiting.splice(0, count ?? hold.waiting.length)) go()
      },
    }
  }

  async around<K extends Kind>(
    command: CommandOf<K>,
    context: Context,
    execute: () => Promise<ReplyTo<K>>,
  ): Promise<ReplyTo<K>> {
    const kind = command.kind
    if (this.commands.push({ command, context }) > COMMANDS_MAX) this.commands.shift()
    for (const waiting of this.#waiting.filter((one) => one.kind === kind)) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      waiting.resolve(command as never)
    }
    const failure = this.#failures.find((one) => one.kind === kind && one.left > 0)
    if (failure) {
      failure.left--
      throw failure.error
    }
    const answer = this.#answers.get(kind)
    const reply = answer ? await (answer(command as never, context) as Promise<ReplyTo<K>>) : await execute()
    if ('batch' in reply) this.given += reply.batch.count
    const hold = this.#holds.get(kind)
    if (hold && !hold.open) await new Promise<void>((resolve) => hold.waiting.push(resolve))
    return reply
  }
}

const refused = () => new Fault('unauthenticated', 'user or password is wrong')
const same = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b)

/** @throws Fault 'unauthenticated', 'unsupported' for a challenge-response */
const principalOf = (who: Credentials, users: Readonly<Record<string, string>> | undefined): Principal => {
  if (!users) return who.user === undefined ? ANONYMOUS : { ...ANONYMOUS, name: who.user }
  if (who.exchange && who.secret === undefined) throw new Fault('unsupported', 'the fake gateway knows no exchange')
  const secret = who.user === undefined ? undefined : users[who.user]
  if (secret === undefined) throw refused()
  const { signed } = who
  const right = signed
    ? same(createHmac('sha1', secret).update(signed.content).digest(), signed.digest)
    : same(Buffer.from(secret), who.secret ?? Buffer.alloc(0))
  if (!right) throw refused()
  return { name: who.user!, tenant: '', super: false }
}
