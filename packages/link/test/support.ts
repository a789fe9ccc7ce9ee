import {
  type Addressee,
  type Binding,
  type Command,
  type CommandOf,
  type Context,
  Fault,
  type Kind,
  type Message,
  type Notice,
  type ReplyTo,
  type Session,
} from '@sluice/core'
import { encodeRecord, noHost, viewRecord } from '@sluice/remoting'
import { type FakeClock, fakeClock, contextOf as madeContext, sessionOf, socketPair, turns } from '@sluice/testkit'
import { type ConnectOptions, connectBackend, type LinkedBackend } from '../src/client.ts'
import type { Resumption } from '../src/holders.ts'
import { BackendServer, type ServerOptions } from '../src/server.ts'
import type { ServedBackend } from '../src/serving.ts'

export { sessionOf }

export const NODE = 'n0'
export const SEAL_KEY = Buffer.alloc(32, 7)

interface Call {
  readonly command: Command
  readonly context: Context
  answer(reply: ReplyTo<Kind>): void
  fail(error: unknown): void
}

/** A backend whose answers the test gives. */
export class StubBackend implements ServedBackend {
  readonly nodes = new Set([NODE])
  readonly can = { inboxes: true, atomicAccepts: true, uncountedRetry: true, sessionLease: true }
  readonly calls: Call[] = []
  readonly resumed: {
    readonly inbox: string
    readonly epoch: number
    readonly holding: readonly number[]
    readonly bindings: readonly Binding[]
    readonly session: string
  }[] = []
  /** What it answers at once; undefined: the test will. */
  answers: (command: Command) => ReplyTo<Kind> | undefined = () => undefined
  existed = true
  /** Whoever comes back has lost his inbox. */
  takenOver = false
  notify: (to: Addressee, notice: Notice) => Promise<unknown> = async () => undefined

  execute<K extends Kind>(_node: string, command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> {
    const answer = this.answers(command as Command)
    return new Promise<ReplyTo<Kind>>((resolve, reject) => {
      this.calls.push({ command: command as Command, context, answer: resolve, fail: reject })
      if (answer) resolve(answer)
    }) as Promise<ReplyTo<K>>
  }

  async resume(_node: string, { open, epoch, holding, bindings }: Resumption, { session }: Context) {
    this.resumed.push({ inbox: open.inbox, epoch, holding, bindings, session: session.id })
    if (this.takenOver) throw new Fault('conflict', 'opened anew', { about: 'epoch' })
    return { existed: this.existed, epoch, incoming: [] }
  }

  of<K extends Kind>(kind: K): readonly (Call & { readonly command: CommandOf<K> })[] {
    return this.calls.filter((call): call is Call & { readonly command: CommandOf<K> } => call.command.kind === kind)
  }

  onNotice(listener: (to: Addressee, notice: Notice) => Promise<unknown>): void {
    this.notify = listener
  }
  onNodes(): void {}
  async close(): Promise<void> {}
}

/** A broker that can be killed and comes back, and gateways before it; time stands still until a test moves it. */
export class Rig {
  readonly clock: FakeClock = fakeClock()
  readonly lines: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = []
  backend = new StubBackend()
  server: BackendServer | undefined
  readonly links: LinkedBackend[] = []
  /** The broker's ends of the connections. */
  readonly sockets: ReturnType<typeof socketPair>[number][] = []
  readonly #options: Partial<ServerOptions>

  constructor(options: Partial<ServerOptions> = {}) {
    this.#options = options
    this.start()
  }

  start(backend = new StubBackend()): void {
    const note = (event: string, fields: object = {}) =>
      void this.lines.push({ event, fields: fields as Record<string, unknown> })
    this.backend = backend
    const log = { info: note, warn: note, error: note }
    this.server = new BackendServer(backend, { sealKey: SEAL_KEY, clock: this.clock, log, ...this.#options })
  }

  async connect(process: string, options: Partial<ConnectOptions> = {}): Promise<LinkedBackend> {
    const link = await connectBackend({
      address: 'unix:/in/memory',
      process,
      clock: this.clock,
      dial: () => this.dial(),
      ...options,
    })
    this.links.push(link)
    return link
  }

  dial() {
    const [ours, theirs] = socketPair()
    this.sockets.push(theirs)
    if (this.server) this.server.accept(theirs)
    else theirs.destroy()
    return ours
  }

  /** Time passes, and what begins in it is done. */
  async pass(ms: number): Promise<void> {
    await this.clock.pass(ms)
    await turns(16)
  }

  /** The connections break. */
  async cut(): Promise<void> {
    for (const socket of this.sockets.splice(0)) socket.destroy()
    await turns(12)
  }

  /** As kill -9. */
  async kill(): Promise<void> {
    this.server = undefined
    await this.cut()
  }

  async end(): Promise<void> {
    await Promise.all(this.links.splice(0).map((link) => link.close()))
    await this.cut()
  }
}

/** As a gateway gives one: five seconds are left. */
export const contextOf = (session: Session, clock: FakeClock, more: Partial<Context> = {}): Context =>
  madeContext(session, { deadline: clock.now() + 5_000, ...more })

export const message = (body = 'x'): Message => ({ topic: 'T', body: Buffer.from(body), properties: {} })

export const storedAt = (place: number, body = `b${place}`) =>
  viewRecord(encodeRecord(message(body), noHost, { queue: 0, offset: place, place, storedAt: 1 }), NODE)

/** How a promise ends: its value, or the code of its Fault. */
export const ending = (promise: Promise<unknown>): Promise<unknown> =>
  promise.catch((error: unknown) => Fault.from(error).code)
