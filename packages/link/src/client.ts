import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type Addressee,
  type Backend,
  type Clock,
  type CommandOf,
  type Context,
  Fault,
  type Kind,
  type Log,
  type Ms,
  type Notice,
  type ReplyTo,
  type Session,
  systemClock,
  Wheel,
} from '@sluice/core'
import { checkSecret, formatLinkAddress, parseLinkAddress } from './address.ts'
import { Calling } from './calling.ts'
import { Channel, type ChannelCounts } from './channel.ts'
import { answerChallenge, readWelcome, type Welcome } from './greeting.ts'
import { Holders, type Resumption } from './holders.ts'
import { Held, noBroker, Pending } from './pending.ts'
import { malformed } from './reader.ts'
import { makeNonce, type Talk } from './trust.ts'
import { frame, frameBytesFor } from './wire.ts'

export interface ConnectOptions {
  /** `unix:PATH` or `host:port`. */
  readonly address: string
  /** Unique among the gateways of the broker; the first part of its sessions' ids. */
  readonly process: string
  readonly secret?: string
  readonly clock?: Clock
  readonly log?: Log
  readonly bodyBytes?: number
  /** How long the broker may take to be there at the start. */
  readonly startMs?: Ms
  /** A new stream to the broker; default: a socket to `address`. */
  readonly dial?: () => Duplex
}

export interface LinkStats {
  readonly connected: boolean
  /** Connections made so far. */
  readonly connections: number
  /** Commands without an answer. */
  readonly inflight: number
  /** Commands that wait for a connection. */
  readonly held: number
  readonly sessions: number
  readonly counts: ChannelCounts
}

export interface LinkedBackend extends Backend {
  /** The broker's own, the same for all its gateways. */
  readonly sealKey: Buffer
  stats(): LinkStats
}

const START_MS: Ms = 30_000
const HANDSHAKE_MS: Ms = 5_000
const BACKOFF_MS: Ms = 50
/** Clients wait meanwhile, and a broker that is not there is found out for next to nothing. */
const BACKOFF_MAX_MS: Ms = 500

const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

/**
 * A broker in another process. Waits for it as long as `startMs` allows.
 * @throws Fault 'invalid' about 'address' or 'secret', 'unauthenticated' or 'unsupported' as the broker says, 'unavailable'
 */
export const connectBackend = async (options: ConnectOptions): Promise<LinkedBackend> => {
  const address = parseLinkAddress(options.address)
  checkSecret(address, options.secret)
  const backend = new Linked({
    ...options,
    dial: options.dial ?? (() => connect({ ...address, noDelay: true })),
    address: formatLinkAddress(address),
  })
  await backend.started()
  return backend
}

class Linked implements LinkedBackend {
  nodes: ReadonlySet<string> = new Set()
  can: Backend['can'] = { inboxes: false, atomicAccepts: false, uncountedRetry: false, sessionLease: false }
  sealKey: Buffer = Buffer.alloc(0)
  readonly #options: ConnectOptions & { readonly dial: () => Duplex }
  readonly #clock: Clock
  readonly #wheel: Wheel
  readonly #log: Log
  readonly #holders = new Holders()
  readonly #held: Held
  readonly #start = Promise.withResolvers<void>()
  #node: string | undefined
  #calling: Calling | undefined
  /** The broker will close this connection: nothing new goes there. */
  #leaving = false
  #connections = 0
  #before: ChannelCounts = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, writes: 0 }
  #tries = 0
  #retry: (() => void) | undefined
  #closed = false
  #channel: Channel | undefined
  #notice: (to: Addressee, notice: Notice) => Promise<unknown> = async () => undefined
  #nodesChanged: (nodes: ReadonlySet<string>) => void = () => undefined

  constructor(options: ConnectOptions & { readonly dial: () => Duplex }) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#wheel = new Wheel(this.#clock)
    this.#log = options.log ?? quiet
    this.#held = new Held(this.#wheel, () => this.#clock.now())
    this.#dial()
  }

  async started(): Promise<void> {
    const { address, startMs = START_MS } = this.#options
    const late = new Fault('unavailable', `no broker at ${address} within ${startMs} ms`)
    const cancel = this.#clock.after(startMs, () => this.#start.reject(late))
    try {
      await this.#start.promise
    } catch (error) {
      await this.close()
      throw error
    } finally {
      cancel()
    }
  }

  execute<K extends Kind>(node: string, command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> {
    if (node !== this.#node) return Promise.reject(new Fault('unavailable', `no node ${node}`, { node }))
    if (this.#closed) return Promise.reject(noBroker())
    return new Promise((resolve, reject) => {
      const pending = new Pending<K>(command, context, resolve, reject) as unknown as Pending
      if (this.#calling && !this.#leaving) this.#calling.send(pending)
      else this.#hold(pending)
    })
  }

  #hold(pending: Pending): void {
    const { command, context } = pending
    if (command.kind === 'leave' && command.what === 'all') {
      // It is not told of when the link is there again, and so is gone.
      this.#holders.left(context.session)
      return pending.done({})
    }
    this.#held.add(pending)
  }

  onNotice(listener: (to: Addressee, notice: Notice) => Promise<unknown>): void {
    this.#notice = listener
  }

  onNodes(listener: (nodes: ReadonlySet<string>) => void): void {
    this.#nodesChanged = listener
  }

  stats(): LinkStats {
    const now = this.#calling?.channel.counts
    const total = (name: keyof ChannelCounts) => this.#before[name] + (now?.[name] ?? 0)
    return {
      connected: this.#calling !== undefined,
      connections: this.#connections,
      inflight: this.#calling?.inflight ?? 0,
      held: this.#held.size,
      sessions: this.#holders.size,
      counts: {
        framesIn: total('framesIn'),
        framesOut: total('framesOut'),
        bytesIn: total('bytesIn'),
        bytesOut: total('bytesOut'),
        writes: total('writes'),
      },
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#retry?.()
    for (const pending of this.#held.take()) pending.fail(noBroker())
    this.#wheel.close()
    const channel = this.#channel
    if (!channel || channel.closed) return
    if (this.#calling) channel.say(frame.bye)
    await new Promise<void>((resolve) => {
      this.#ended = resolve
      channel.end()
    })
  }

  #ended: () => void = () => undefined

  // ── Connection ──────────────────────────────────────────────────────────────────────────────

  #dial(): void {
    const { dial } = this.#options
    const gatewayNonce = makeNonce()
    let talk: Talk | undefined
    let calling: Calling | undefined
    const channel = new Channel(dial(), {
      clock: this.#clock,
      received: (one) => {
        if (calling) return calling.received(one)
        if (talk) calling = this.#welcomed(channel, readWelcome(one, talk))
        else talk = answerChallenge(channel, one, this.#options, gatewayNonce)
        if (calling) cancel()
      },
      closed: (why) => {
        cancel()
        this.#lost(channel, calling, why)
      },
    })
    this.#channel = channel
    const cancel = this.#clock.after(HANDSHAKE_MS, () => channel.destroy(malformed('handshake took too long')))
  }

  /** @throws Fault when it is another broker than before */
  #welcomed(channel: Channel, welcome: Welcome): Calling {
    const [node = ''] = welcome.nodes
    if (this.#node !== undefined && node !== this.#node)
      throw new Fault('conflict', `link: the broker is ${node} now, and was ${this.#node}`)
    channel.trust(frameBytesFor(this.#options.bodyBytes ?? 0))
    const first = this.#node === undefined
    this.#node = node
    this.can = welcome.can
    this.sealKey = welcome.key
    const calling = new Calling({
      channel,
      node,
      frameBytes: welcome.frameBytes,
      clock: this.#clock,
      holders: this.#holders,
      notified: async (to, notice) => this.#notice(to, notice),
      leaving: () => {
        this.#leaving = true
      },
    })
    this.#calling = calling
    this.#leaving = false
    this.#tries = 0
    this.#connections++
    this.#log.info('link.connected', { broker: this.#options.address, node, kept: welcome.kept })
    calling.tell()
    if (!first) this.#sayAgain(calling, welcome.kept)
    for (const pending of this.#held.take()) calling.send(pending)
    this.#setNodes(welcome.nodes)
    this.#start.resolve()
    return calling
  }

  /**
   * A broker that does not know us any more knows nothing of our clients, who know nothing of that. One that does may
   * have sent them what never came.
   */
  #sayAgain(calling: Calling, kept: boolean): void {
    for (const { session, heartbeat } of kept ? [] : this.#holders.heartbeats())
      this.#say(calling, heartbeat, this.#contextOf(session))
    for (const { session, resumption } of this.#holders.inboxes())
      this.#say(calling, resumption.open, this.#contextOf(session), resumption)
  }

  #say<K extends Kind>(calling: Calling, command: CommandOf<K>, context: Context, resumes?: Resumption): void {
    const { session } = context
    const failed = ({ code }: Fault) => {
      if (code !== 'conflict') return this.#log.warn('link.resume', { session: session.id, kind: command.kind, code })
      // Its inbox is another's by now, and the notice of that may have met no connection. It has no command under way, perhaps.
      session.notify({ kind: 'goAway', reason: 'takenOver' }).catch(() => undefined)
    }
    calling.send(new Pending<K>(command, context, () => undefined, failed) as unknown as Pending, resumes)
  }

  #contextOf(session: Session): Context {
    return { session, principal: session.principal, deadline: this.#clock.now() + HANDSHAKE_MS }
  }

  #setNodes(nodes: Iterable<string>): void {
    this.nodes = new Set(nodes)
    this.#nodesChanged(this.nodes)
  }

  #lost(channel: Channel, calling: Calling | undefined, why: Fault | undefined): void {
    this.#ended()
    const again = calling?.lost() ?? []
    if (this.#calling === calling) this.#calling = undefined
    this.#count(channel.counts)
    if (this.#closed) {
      for (const pending of again) pending.fail(noBroker())
      return
    }
    if (calling) {
      this.#log.warn('link.lost', { broker: this.#options.address, ...(why && { reason: why.message }) })
      this.#setNodes([])
    }
    if (why && isFinal(why) && this.#node === undefined) this.#start.reject(why)
    for (const pending of again) this.#hold(pending)
    this.#dialLater(why)
  }

  #count(counts: ChannelCounts): void {
    const total = { ...this.#before }
    for (const name of Object.keys(total) as (keyof ChannelCounts)[]) total[name] += counts[name]
    this.#before = total
  }

  /** With jitter, so that the gateways of a broker do not all come at once. */
  #dialLater(why: Fault | undefined): void {
    const delay = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#tries++) * (0.5 + Math.random())
    if (this.#tries % WAITS_TOLD === 0)
      this.#log.warn('link.waiting', { broker: this.#options.address, ...(why && { reason: why.message }) })
    this.#retry = this.#clock.after(delay, () => this.#dial())
  }
}

/** Every so many tries the log hears of it. */
const WAITS_TOLD = 8

/** The broker will say the same again. */
const isFinal = ({ code }: Fault): boolean => code === 'unauthenticated' || code === 'unsupported'
