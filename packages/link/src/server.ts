import { chmodSync, existsSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, Fault, type Log, type Ms, systemClock, Wheel } from '@sluice/core'
import { checkSecret, formatLinkAddress, type LinkAddress, parseLinkAddress } from './address.ts'
import { Channel } from './channel.ts'
import { type GatewayProcess, Gateways } from './gateways.ts'
import { malformed } from './reader.ts'
import { noRecords, type RecordCounts } from './records.ts'
import { leaveAll, type Served, type ServedBackend, Serving } from './serving.ts'
import { isProof, makeNonce, proofOf, type Talk, wrapKey } from './trust.ts'
import { readValue, writeFault, writeValue } from './values.ts'
import { type Frame, frame, frameBytesFor, LINK_VERSION } from './wire.ts'

export interface ServerOptions {
  /** Whoever connects must know it. */
  readonly secret?: string
  /** Handed to every gateway, so that what one of them seals another opens. */
  readonly sealKey: Buffer
  readonly clock?: Clock
  readonly log?: Log
  readonly bodyBytes?: number
  /** How long sessions are kept for a gateway whose connection broke. */
  readonly graceMs?: Ms
}

export interface ListenOptions extends ServerOptions {
  /** `unix:PATH` or `host:port`; port 0: any free one. */
  readonly listen: string
}

export interface LinkServerStats {
  readonly gateways: number
  readonly connected: number
  readonly sessions: number
  readonly records: Readonly<RecordCounts>
}

/** As long as a client's will waits that did not leave by its own fault. */
const GRACE_MS: Ms = 30_000
const HANDSHAKE_MS: Ms = 5_000
const FINISH_MS: Ms = 5_000
/** Bytes that a gateway may leave untaken before no more of its commands are read. */
const BACKLOG_MAX = 64 * 1024 * 1024
const STRANGERS_MAX = 64
const GATEWAYS_MAX = 256

const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** A backend for gateways in other processes. */
export class BackendServer {
  readonly #options: ServerOptions
  readonly #served: Served
  readonly #graceMs: Ms
  readonly #lines = new Map<Channel, Serving>()
  readonly #strangers = new Set<Channel>()
  #closing = false

  constructor(backend: ServedBackend, options: ServerOptions) {
    const clock = options.clock ?? systemClock
    this.#options = options
    this.#graceMs = options.graceMs ?? GRACE_MS
    const [node = ''] = backend.nodes
    this.#served = {
      backend,
      node,
      gateways: new Gateways(),
      records: noRecords(),
      clock,
      wheel: new Wheel(clock),
      log: options.log ?? quiet,
    }
    backend.onNotice((to, notice) => this.#served.gateways.notify(to, notice))
  }

  stats(): LinkServerStats {
    const { gateways, records } = this.#served
    return {
      gateways: gateways.size,
      connected: this.#lines.size,
      sessions: gateways.sessions,
      records: { ...records },
    }
  }

  /** A connection whose other end is a gateway, or says that it is. */
  accept(socket: Duplex): void {
    if (this.#closing || this.#strangers.size >= STRANGERS_MAX) return void socket.destroy()
    const { clock, log } = this.#served
    const brokerNonce = makeNonce()
    let serving: Serving | undefined
    const channel = new Channel(socket, {
      clock,
      backlogBytes: BACKLOG_MAX,
      received: (one) => {
        if (serving) serving.received(one)
        else serving = this.#greeted(channel, one, brokerNonce)
        cancel()
      },
      closed: (why) => {
        cancel()
        this.#strangers.delete(channel)
        if (serving) this.#lost(channel, serving, why)
        else if (why) log.info('link.refused', { code: why.code, reason: why.message })
      },
    })
    this.#strangers.add(channel)
    const cancel = clock.after(HANDSHAKE_MS, () => channel.destroy(malformed('handshake took too long')))
    writeValue(channel.frame(frame.challenge, 0), { version: LINK_VERSION, nonce: brokerNonce })
    channel.sent()
  }

  /** @throws Fault when it is no gateway of ours */
  #greeted(channel: Channel, { type, content }: Frame, brokerNonce: Buffer): Serving | undefined {
    if (type !== frame.hello) throw malformed('no greeting')
    const hello = readValue(content) as Partial<Record<'version' | 'process' | 'nonce' | 'proof', unknown>> | null
    const { version, process: id, nonce, proof } = hello ?? {}
    if (typeof id !== 'string' || !Buffer.isBuffer(nonce) || nonce.length !== brokerNonce.length)
      throw malformed('no greeting')
    const talk: Talk = {
      secret: this.#options.secret ?? '',
      process: id,
      brokerNonce,
      gatewayNonce: Buffer.from(nonce),
    }
    const why = this.#whyNot(version, isProof(proof, 'gateway', talk))
    if (why) {
      this.#served.log.warn('link.refused', { code: why.code, reason: why.message })
      writeFault(channel.frame(frame.refused, 0), why)
      channel.sent()
      channel.end()
      return undefined
    }
    return this.#welcome(channel, talk)
  }

  #whyNot(version: unknown, trusted: boolean): Fault | undefined {
    if (version !== LINK_VERSION)
      return new Fault('unsupported', `link version ${String(version)}, this broker speaks ${LINK_VERSION}`)
    if (!trusted) return new Fault('unauthenticated', 'link: the secret is another one')
    if (this.#lines.size >= GATEWAYS_MAX) return new Fault('limit', `over ${GATEWAYS_MAX} gateways`)
    return undefined
  }

  #welcome(channel: Channel, talk: Talk): Serving {
    const { backend, gateways, log } = this.#served
    const { process, kept } = gateways.arrived(talk.process)
    process.unexpire?.()
    process.unexpire = undefined
    for (const [other, { process: of }] of this.#lines)
      if (of === process) other.destroy(new Fault('unavailable', 'link: the gateway has connected anew'))
    process.untold = new Set(process.sessions.keys())
    const serving = new Serving(this.#served, channel, process)
    process.line = serving
    this.#strangers.delete(channel)
    this.#lines.set(channel, serving)
    const frameBytes = frameBytesFor(this.#options.bodyBytes ?? 0)
    channel.trust(frameBytes)
    writeValue(channel.frame(frame.welcome, 0), {
      version: LINK_VERSION,
      kept,
      nodes: [...backend.nodes],
      can: { ...backend.can },
      frameBytes,
      proof: proofOf('broker', talk),
      key: wrapKey(this.#options.sealKey, talk),
    })
    channel.sent()
    log.info('link.connected', { gateway: process.id, kept })
    return serving
  }

  #lost(channel: Channel, serving: Serving, why: Fault | undefined): void {
    const { process, leaving } = serving
    const { clock, log } = this.#served
    this.#lines.delete(channel)
    serving.closed()
    log.info('link.closed', { gateway: process.id, ...(why && { reason: why.message }) })
    if (process.line !== serving) return
    process.line = undefined
    if (this.#closing) return
    if (leaving) return this.#expired(process)
    process.unexpire = clock.after(this.#graceMs, () => this.#expired(process))
  }

  #expired(process: GatewayProcess): void {
    const { gateways, log } = this.#served
    gateways.gone(process)
    if (process.sessions.size > 0) log.info('link.left', { gateway: process.id, sessions: process.sessions.size })
    for (const session of [...process.sessions.values()]) void leaveAll(this.#served, process, session)
  }

  /** What is under way is answered first, for five seconds at the most. */
  async close(): Promise<void> {
    this.#closing = true
    const { clock, gateways, wheel } = this.#served
    const late = new Promise<void>((resolve) => clock.after(FINISH_MS, resolve))
    await Promise.race([late, Promise.all([...this.#lines.values()].map((serving) => serving.finish()))])
    for (const process of gateways.all()) process.unexpire?.()
    for (const channel of [...this.#lines.keys(), ...this.#strangers]) channel.end()
    wheel.close()
  }
}

export interface LinkServer {
  /** Where it really listens. */
  readonly address: string
  stats(): LinkServerStats
  close(): Promise<void>
}

/**
 * Listens for gateways. A Unix socket is for its own user only.
 * @throws Fault 'invalid' about 'address' or 'secret', 'conflict' about 'address' when another broker listens there;
 * EADDRINUSE, EACCES
 */
export const serveBackend = async (backend: ServedBackend, options: ListenOptions): Promise<LinkServer> => {
  const address = parseLinkAddress(options.listen)
  checkSecret(address, options.secret)
  if ('path' in address) await clearSocket(address.path)
  const server = createServer({ noDelay: true })
  await listening(server, address)
  const backendServer = new BackendServer(backend, options)
  server.on('connection', (socket) => backendServer.accept(socket))
  server.on('error', (error) => options.log?.error('link.listen', { error: error.message }))
  const at = 'path' in address ? address : { ...address, port: (server.address() as AddressInfo).port }
  return {
    address: formatLinkAddress(at),
    stats: () => backendServer.stats(),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      await backendServer.close()
      await closed
    },
  }
}

const listening = (server: Server, address: LinkAddress): Promise<void> =>
  new Promise((resolve, reject) => {
    const before = 'path' in address ? process.umask(0o177) : undefined
    // A path of over 107 bytes, a host that is not ours.
    const fail = (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE' || error.code === 'EACCES'
          ? error
          : new Fault('invalid', error.message, { about: 'address', cause: error }),
      )
    server.once('error', fail)
    server.listen(address, () => {
      server.off('error', fail)
      if ('path' in address) chmodSync(address.path, 0o600)
      resolve()
    })
    if (before !== undefined) process.umask(before)
  })

/** A broker that was killed leaves its socket behind; one that lives answers there. */
const clearSocket = async (path: string): Promise<void> => {
  if (!existsSync(path)) return
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => resolve(true)).once('error', () => resolve(false))
    probe.once('connect', () => probe.destroy())
  })
  if (answers) throw new Fault('conflict', `another broker listens at ${path}`, { about: 'address' })
  rmSync(path, { force: true })
}
