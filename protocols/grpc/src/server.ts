import type { Duplex } from 'node:stream'
import { type Connection, Fault, type Gateway, type Peer, type ProtocolServer } from '@sluice/core'
import type { Hall } from './calls.ts'
import { GrpcConnection } from './connection.ts'
import { Clients } from './conversation.ts'
import { statusOf } from './faults.ts'
import { Groups } from './groups.ts'
import { NoticeDuplex } from './notice.ts'
import type { Service } from './service.ts'

/** Sockets in, HTTP/2 sessions on grpc-js, which is loaded (0.15 s, 50 MB) when the first of them comes. */
export class GrpcServer implements ProtocolServer {
  readonly #gateway: Gateway
  readonly #clients: Clients
  readonly #hall: Hall
  readonly #connections = new Set<GrpcConnection>()
  readonly #stopTicking: () => void
  #service: Promise<Service> | undefined
  #counter = 0

  constructor(gateway: Gateway) {
    this.#gateway = gateway
    this.#clients = new Clients(gateway)
    this.#hall = {
      gateway,
      clients: this.#clients,
      groups: new Groups(gateway.handle, gateway.clock.now),
      refuse: (error) => {
        if (!Fault.is(error)) this.#report(error)
        return statusOf(error)
      },
    }
    this.#stopTicking = gateway.clock.every(1_000, () => {
      const now = gateway.clock.now()
      for (const connection of this.#connections) connection.tick(now)
      this.#safely(() => this.#clients.tick(now))
    })
  }

  accept(socket: Duplex, peer: Peer): void {
    const connection = new GrpcConnection(`grpc/${++this.#counter}`, new NoticeDuplex(socket), peer, this.#gateway)
    this.#connections.add(connection)
    void connection.gone.then(() => this.#connections.delete(connection))
    this.#service ??= import('./service.ts').then(({ Service }) => new Service(this.#hall))
    this.#service
      .then((service) => {
        if (connection.state !== 'closed') service.take(connection)
      })
      .catch((error: unknown) => {
        this.#report(error)
        connection.socket.destroy()
      })
  }

  connections(): Iterable<Connection> {
    return this.#connections
  }

  async close(): Promise<void> {
    this.#stopTicking()
    const closing = [...this.#connections].map((connection) => {
      connection.end(true)
      return connection.gone
    })
    await Promise.all(closing)
    this.#safely(() => this.#clients.close())
    await this.#service?.then((service) => service.close()).catch(() => undefined)
  }

  #safely(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#report(error)
    }
  }

  #report(error: unknown): void {
    this.#gateway.log.error('plugin.failed', {
      plugin: 'grpc',
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }
}
