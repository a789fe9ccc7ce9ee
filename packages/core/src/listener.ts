import net from 'node:net'
import type { Duplex } from 'node:stream'
import type tls from 'node:tls'
import type { Limits } from './limits.ts'
import { Fault } from './model.ts'
import type { Log, Peer, Protocol, ProtocolServer } from './protocol.ts'
import { peek } from './transports/head.ts'
import { type ProxyHeader, readProxyHeader } from './transports/proxyProtocol.ts'
import { destroyOnError } from './transports/resets.ts'
import { Handshakes } from './transports/tls.ts'
import type { Wheel } from './wheel.ts'

/** A protocol that runs: its plugin and what its `start` gave. */
export interface Running {
  readonly protocol: Protocol
  readonly server: ProtocolServer
}

export interface ListenOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** Told apart by their first bytes; a single one takes every connection. */
  readonly protocols: readonly Running[]
  /** `require`: plain connections are closed. `accept`: both on one port, told apart by the first byte. */
  readonly tls?: {
    readonly context: tls.SecureContextOptions
    readonly clientAuth: boolean
    readonly mode: 'require' | 'accept'
  }
  /** `require`: a connection without the header is closed. `accept`: both. `off`: the header is no protocol's first byte. */
  readonly proxyProtocol: 'off' | 'accept' | 'require'
  readonly limits: Limits
  /** Connections of the process, counted by all its listeners together; absent: this one has `limits.connections` alone. */
  readonly open?: { count: number }
  readonly wheel: Wheel
  readonly clock: { now(): number }
  readonly log: Log
}

export interface Listener {
  readonly host: string
  readonly port: number
  /** Stops accepting; connections live on. */
  close(): Promise<void>
}

/** Port → PROXY header → TLS → first bytes → Protocol.accept. @throws what `listen` throws, EADDRINUSE for one */
export const listen = async (options: ListenOptions): Promise<Listener> => {
  const door = new Door(options)
  const open = options.open ?? { count: 0 }
  const left = () => void open.count--
  const server = net.createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    if (open.count >= options.limits.connections) {
      socket.destroy()
      return full()
    }
    open.count++
    socket.on('close', left)
    door.enter(socket)
  })
  let port = options.port
  server.maxConnections = options.limits.connections
  const full = occasionally(options.clock, (dropped) =>
    options.log.warn('listener.full', { port, connections: options.limits.connections, dropped }),
  )
  server.on('drop', full)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port, backlog: 1024 }, resolve)
  })
  server.on('error', (error) => options.log.error('listener.failed', { error: error.message }))
  const bound = (server.address() as net.AddressInfo).port
  port = bound
  return {
    host: options.host,
    port: bound,
    async close() {
      // Sockets that are still saying what they are go with the listener; the others are their protocols' matter.
      door.close()
      server.close()
    },
  }
}

class Door {
  readonly #options: ListenOptions
  readonly #handshakes: Handshakes | undefined
  readonly #entering = new Set<Duplex>()
  #local: Peer['local'] | undefined

  constructor(options: ListenOptions) {
    this.#options = options
    this.#handshakes = options.tls && new Handshakes(options.tls, options.protocols)
  }

  enter(socket: net.Socket): void {
    const peer: Peer = {
      address: plain(socket.remoteAddress),
      port: socket.remotePort ?? 0,
      secure: false,
      local: this.#localOf(plain(socket.localAddress), socket.localPort ?? 0),
    }
    this.#entering.add(socket)
    destroyOnError(socket)
    void this.#pass(socket, peer).finally(() => this.#entering.delete(socket))
  }

  /** One object for all that come in at the same address. */
  #localOf(address: string, port: number): Peer['local'] {
    if (this.#local?.address !== address || this.#local.port !== port) this.#local = { address, port }
    return this.#local
  }

  close(): void {
    for (const socket of this.#entering) socket.destroy()
  }

  async #pass(raw: net.Socket, from: Peer): Promise<void> {
    let stage = 'proxy'
    try {
      const proxied = this.#options.proxyProtocol === 'off' ? from : await this.#unproxy(raw, from)
      if (!proxied) return void raw.destroy()
      stage = 'tls'
      const opened = this.#handshakes
        ? await this.#untls(raw, proxied, this.#handshakes)
        : { socket: raw, peer: proxied }
      if (!opened) return void raw.destroy()
      stage = 'detect'
      await this.#detect(opened.socket, opened.peer)
    } catch (error) {
      const fault = Fault.from(error)
      if (!Fault.is(error)) this.#options.log.error('listener.failed', { stage, error: text(error) })
      this.#options.log.info('listener.refused', {
        stage,
        code: fault.code,
        reason: fault.message,
        remote: from.address,
      })
      raw.destroy()
    }
  }

  async #unproxy(socket: net.Socket, from: Peer): Promise<Peer | undefined> {
    const seen = await peek<ProxyHeader | { length: 0 }>(
      socket,
      (head) => {
        const header = readProxyHeader(head)
        return header === false ? { length: 0 } : header
      },
      this.#deadline,
    )
    if (!seen) return undefined
    const header: ProxyHeader = seen.value
    if (header.length === 0) {
      if (this.#options.proxyProtocol === 'require')
        throw new Fault('malformed', 'no PROXY header where one is required')
      return from
    }
    discard(socket, header.length)
    return {
      ...from,
      ...header.source,
      local: header.destination ?? from.local,
    }
  }

  async #untls(
    socket: net.Socket,
    from: Peer,
    handshakes: Handshakes,
  ): Promise<{ socket: Duplex; peer: Peer } | undefined> {
    const seen = await peek(socket, (head) => head[0] === 0x16, this.#deadline)
    if (!seen) return undefined
    const { mode, clientAuth } = this.#options.tls!
    if (!seen.value) {
      if (mode === 'require') throw new Fault('malformed', 'plain connection on a TLS port')
      return { socket, peer: from }
    }
    const secured = await handshakes.shake(socket, this.#deadline)
    if (clientAuth && !secured.authorized) throw new Fault('unauthenticated', 'client certificate is not trusted')
    const alpn = secured.alpnProtocol
    const certificate = clientAuth && secured.getPeerCertificate()
    return {
      socket: secured,
      peer: { ...from, secure: true, ...(alpn && { alpn }), ...(certificate && { certificate }) },
    }
  }

  async #detect(socket: Duplex, peer: Peer): Promise<void> {
    const { protocols } = this.#options
    const [first] = protocols
    if (first && protocols.length === 1) return this.#accept(first, socket, peer)
    const seen = await peek(socket, (head) => this.#who(head), this.#deadline)
    if (!seen) return void socket.destroy()
    if (seen.value === 'nobody') {
      throw new Fault(
        'malformed',
        seen.head[0] === 0x16 ? 'TLS where none is configured' : 'first bytes of no protocol here',
      )
    }
    this.#accept(seen.value, socket, peer)
  }

  #accept(running: Running, socket: Duplex, peer: Peer): void {
    this.#call(running, () => running.server.accept(socket, peer))
  }

  /** A throw of a plugin costs this connection and is logged under its name. */
  #call<T>({ protocol }: Running, call: () => T): T {
    try {
      return call()
    } catch (error) {
      this.#options.log.error('plugin.failed', { plugin: protocol.name, error: text(error) })
      throw Fault.from(error)
    }
  }

  #who(head: Buffer): Running | 'nobody' | undefined {
    let open = false
    for (const running of this.#options.protocols) {
      const ours = this.#call(running, () => running.protocol.detect?.(head))
      if (ours) return running
      open ||= ours === undefined && running.protocol.detect !== undefined
    }
    return open ? undefined : 'nobody'
  }

  readonly #deadline = (expire: () => void): (() => void) =>
    this.#options.wheel.at(this.#options.clock.now() + this.#options.limits.handshakeMs, expire)
}

/** Takes bytes off the front of a stream whose head was just put back. */
const discard = (socket: Duplex, bytes: number): void => {
  const head = socket.read() as Buffer
  if (head.length > bytes) socket.unshift(head.subarray(bytes))
}

const text = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))

/** Most often a call in ten seconds; told how many there were since the last. */
const occasionally = (clock: { now(): number }, call: (times: number) => void): (() => void) => {
  let last = Number.NEGATIVE_INFINITY
  let times = 0
  return () => {
    times++
    if (clock.now() - last < 10_000) return
    last = clock.now()
    call(times)
    times = 0
  }
}

/** IPv4 in IPv6 clothes, as a dual-stack listener reports it. */
const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:(?=\d+\.)/, '')
