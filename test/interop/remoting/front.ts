import net from 'node:net'

/**
 * An address that outlives the gateways behind it, as that of a load balancer does. What connects while there is none is
 * let in by the next one. A reset is passed on as one.
 */
export class Front {
  port = 0
  readonly #server = net.createServer({ allowHalfOpen: true }, (client) => this.#came(client))
  readonly #sockets = new Set<net.Socket>()
  readonly #waiting: net.Socket[] = []
  #behind: readonly number[] = []
  #turn = 0

  static async open(): Promise<Front> {
    const front = new Front()
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve))
    front.port = (front.#server.address() as net.AddressInfo).port
    return front
  }

  /** By turns. None: new connections wait. */
  lead(...ports: readonly number[]): void {
    this.#behind = ports
    if (ports.length > 0) for (const client of this.#waiting.splice(0)) this.#came(client)
  }

  close(): void {
    for (const socket of [...this.#sockets, ...this.#waiting]) socket.destroy()
    this.#server.close()
  }

  #came(client: net.Socket): void {
    const port = this.#behind[this.#turn++ % this.#behind.length]
    if (port === undefined) this.#waiting.push(client)
    else this.#join(client, port)
  }

  #join(client: net.Socket, port: number): void {
    const upstream = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from)
      from.setNoDelay(true)
      from.on('error', () => to.resetAndDestroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroySoon()
      })
    }
    client.pipe(upstream).pipe(client)
  }
}
