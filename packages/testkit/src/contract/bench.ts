import assert from 'node:assert/strict'
import type { Clock, Connection, Ms, ProtocolServer } from '@sluice/core'
import { type FakeClock, turns } from '../clock.ts'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway } from '../gateway.ts'
import { fakePeer, socketPair, Wire } from '../wire.ts'
import type { Client, Driver } from './driver.ts'

/** A refused delivery comes back so late. Real time where the driver has a real clock. */
export const BACKOFF_MS = 200
export const GROUP = 'workers'

/** One gateway with the protocol under test, its clients, and everything closed at the end. */
export class Bench {
  readonly driver: Driver
  readonly gateway: FakeGateway<Clock>
  readonly server: ProtocolServer
  readonly topic: string
  readonly #patience: Ms
  readonly #wires: Wire[] = []

  private constructor(driver: Driver, gateway: FakeGateway<Clock>, server: ProtocolServer, patience: Ms) {
    this.driver = driver
    this.#patience = patience
    this.gateway = gateway
    this.server = server
    this.topic = driver.topic ?? 'orders'
  }

  /** `patience`: real time for what should happen at once. */
  static async open(driver: Driver, options: FakeGatewayOptions<Clock>, patience: Ms): Promise<Bench> {
    const gateway = fakeGateway<Clock>({
      groups: [{ group: GROUP, fifo: false, maxAttempts: 16, backoff: [BACKOFF_MS] }],
      topics: [driver.topic ?? 'orders'],
      ...(driver.clock && { clock: driver.clock }),
      ...driver.gateway,
      ...options,
    })
    return new Bench(driver, gateway, await driver.protocol().start(gateway), patience)
  }

  /** The way a connection comes in; nothing has been said yet. */
  wire(highWaterMark?: number): Wire {
    const [near, far] = socketPair(highWaterMark)
    const wire = new Wire(near, fakePeer())
    this.#wires.push(wire)
    this.server.accept(far, wire.peer)
    return wire
  }

  /** A client that has been greeted. Whatever it waits for comes in time or fails with what it was. */
  async client(highWaterMark?: number): Promise<Client & { readonly wire: Wire }> {
    const wire = this.wire(highWaterMark)
    const client = await this.#within('the greeting', this.driver.greet(wire))
    return {
      wire,
      publish: (topic, body) => this.#within('the acknowledgement of a publish', client.publish(topic, body)),
      subscribe: (topic, group, credit) => this.#within('the subscription', client.subscribe(topic, group, credit)),
      next: () => this.#within('a delivery', client.next()),
      settle: (incoming, outcome) => this.#within(`the settlement '${outcome}'`, client.settle(incoming, outcome)),
      get waiting() {
        return client.waiting
      },
      get told() {
        return client.told
      },
      close: () => client.close(),
    }
  }

  connections(): readonly Connection[] {
    return [...this.server.connections()]
  }

  /** The last connection that came. */
  connection(): Connection {
    const connection = this.connections().at(-1)
    assert.ok(connection, 'the server lists no connection')
    return connection
  }

  /** Everything that can happen without time has happened. */
  async quiet(): Promise<void> {
    await turns(30)
    const { settleMs = 0 } = this.driver
    if (settleMs > 0) await new Promise((resolve) => setTimeout(resolve, settleMs))
  }

  /** So much time has passed, and what it caused has happened. */
  async elapse(ms: Ms): Promise<void> {
    if ('pass' in this.gateway.clock) await (this.gateway.clock as FakeClock).pass(ms)
    else await new Promise((resolve) => setTimeout(resolve, ms))
    await this.quiet()
  }

  /** Resolves once it is so. @throws when patience is at its end */
  async eventually(what: string, so: () => boolean): Promise<void> {
    const end = Date.now() + this.#patience
    for (let turn = 0; !so(); turn++) {
      if (Date.now() > end) assert.fail(`did not happen: ${what}`)
      if (turn < 50) await turns(1)
      else await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  async #within<T>(what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new assert.AssertionError({ message: `did not come: ${what}` })), this.#patience)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  async close(): Promise<void> {
    for (const wire of this.#wires) wire.destroy()
    await this.server.close()
    this.gateway.close()
  }
}

export const bodyOf = (number: number): Buffer => Buffer.from(`message-${number}`)
export const numberOf = (body: Buffer): number => Number(/^message-(\d+)/.exec(body.toString('latin1'))?.[1] ?? -1)
