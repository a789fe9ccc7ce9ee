import type { Duplex } from 'node:stream'
import { FrameConnection, type Owner } from './connection.ts'
import type { Ms } from './model.ts'
import type { Codec, Connection, FrameProtocol, Gateway, Peer, Protocol, ProtocolServer } from './protocol.ts'

/** How late a deadline may be noticed. */
const CHECK_MS: Ms = 250
/** Conversations tick once in so many checks. */
const CHECKS_A_TICK = 4

/**
 * A Protocol of a codec and a conversation: sockets, the in-flight bound, corked writes, slow readers, deadlines of
 * frames, last words. A plugin that throws costs one connection.
 */
export function frameProtocol<Frame>(spec: FrameProtocol<Frame>): Protocol {
  return {
    api: 1,
    name: spec.name,
    ...(spec.detect && { detect: spec.detect.bind(spec) }),
    start: (gateway) => new FrameServer(spec, gateway),
  }
}

class FrameServer<Frame> implements ProtocolServer, Owner<Frame> {
  readonly #spec: FrameProtocol<Frame>
  readonly #codec: Codec<Frame>
  readonly #gateway: Gateway
  readonly #connections = new Set<FrameConnection<Frame>>()
  /** While there are connections: a gateway without clients is to sleep. */
  #stopChecking: (() => void) | undefined
  #dirty: FrameConnection<Frame>[] = []
  #counter = 0
  #checks = 0
  #closed = false

  constructor(spec: FrameProtocol<Frame>, gateway: Gateway) {
    this.#spec = spec
    this.#codec = spec.codec(gateway.limits)
    this.#gateway = gateway
  }

  accept(socket: Duplex, peer: Peer): void {
    if (this.#closed) return void socket.destroy()
    const connection = new FrameConnection(this.#spec, this.#codec, this.#gateway, socket, peer, ++this.#counter, this)
    this.#connections.add(connection)
    this.#stopChecking ??= this.#gateway.clock.every(CHECK_MS, () => this.#check())
    connection.start()
  }

  connections(): Iterable<Connection> {
    return this.#connections
  }

  async close(): Promise<void> {
    this.#closed = true
    const closing = [...this.#connections].map((connection) => {
      connection.end(true)
      return connection.gone
    })
    await Promise.all(closing)
  }

  closed(connection: FrameConnection<Frame>): void {
    this.#connections.delete(connection)
    if (this.#connections.size > 0) return
    this.#stopChecking?.()
    this.#stopChecking = undefined
  }

  flushLater(connection: FrameConnection<Frame>): void {
    // Once for all that have something to say when this callback of the loop has run, its promises included. An immediate
    // would come a turn later for what an immediate of the log's has shown, and a window of requests go round in two halves.
    if (this.#dirty.push(connection) === 1) queueMicrotask(this.#flushNext)
  }

  readonly #flushNext = () => process.nextTick(this.#flush)

  readonly #flush = (): void => {
    const dirty = this.#dirty
    this.#dirty = []
    for (const connection of dirty) connection.flush()
  }

  #check(): void {
    const now = this.#gateway.clock.now()
    const tick = ++this.#checks % CHECKS_A_TICK === 0
    for (const connection of this.#connections) {
      connection.checkDeadlines(now)
      if (tick) connection.tick(now)
    }
  }
}
