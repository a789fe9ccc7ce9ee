import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Connection, Gateway, Peer, ProtocolServer } from '@sluice/core'
import type { App, AppOptions } from './app.ts'
import { HttpConnection } from './connection.ts'
import type { WebSockets } from './websocket.ts'

/** fastify and ws are loaded with the first connection that needs them: a gateway without HTTP clients has neither. */
export class HttpServer implements ProtocolServer {
  readonly #gateway: Gateway
  readonly #options: AppOptions
  readonly #connections = new Set<HttpConnection>()
  readonly #bySocket = new WeakMap<object, HttpConnection>()
  readonly #stopTicking: () => void
  #app: Promise<App> | undefined
  #webSockets: Promise<WebSockets> | undefined
  #counter = 0
  #draining = false

  constructor(gateway: Gateway, options: AppOptions) {
    this.#gateway = gateway
    this.#options = options
    this.#stopTicking = gateway.clock.every(1_000, () => {
      const now = gateway.clock.now()
      for (const connection of this.#connections) connection.tick(now)
    })
  }

  accept(socket: Duplex, peer: Peer): void {
    const connection: HttpConnection = new HttpConnection(
      this.#gateway,
      socket,
      peer,
      `http/${++this.#counter}`,
      () => this.#connections.delete(connection),
      () => {
        this.#draining = true
      },
    )
    this.#connections.add(connection)
    this.#bySocket.set(socket, connection)
    this.#app ??= this.#load()
    this.#app.then(
      (app) => {
        if (!socket.writableEnded && !socket.destroyed) app.serve(socket)
      },
      (error: unknown) => {
        this.#app = undefined
        this.#gateway.log.error('plugin.failed', { plugin: 'http', error: String(error) })
        socket.destroy()
      },
    )
  }

  connections(): Iterable<Connection> {
    return this.#connections
  }

  async close(): Promise<void> {
    this.#draining = true
    this.#stopTicking()
    const closing = [...this.#connections].map((connection) => {
      connection.end(true)
      return connection.gone
    })
    await Promise.all(closing)
    const [app, webSockets] = await Promise.all([this.#app, this.#webSockets])
    webSockets?.close()
    await app?.close()
  }

  async #load(): Promise<App> {
    const { createApp } = await import('./app.ts')
    return createApp(
      this.#gateway,
      this.#options,
      (socket) => this.#bySocket.get(socket),
      (request, socket, head, requestId) => void this.#upgrade(request, socket, head, requestId),
    )
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, requestId: string): Promise<void> {
    const connection = this.#bySocket.get(socket)
    // Behind requests without an answer there is no place for the answer to a handshake.
    if (!connection?.idle) return void socket.destroy()
    this.#webSockets ??= import('./websocket.ts').then(
      ({ WebSockets }) => new WebSockets(this.#gateway, () => this.#draining),
    )
    try {
      const webSockets = await this.#webSockets
      webSockets.upgrade(request, socket, head, connection, requestId)
    } catch (error) {
      this.#gateway.log.error('plugin.failed', { plugin: 'http', error: String(error) })
      socket.destroy()
    }
  }
}
