import { type Broker, openBroker } from '@sluice/broker'
import type { Clock, CommandOf, Context, Delivered, Kind, Log, Message, Receipt, ReplyTo, Stored } from '@sluice/core'
import { fakeClock } from '@sluice/testkit'
import { DIR, Disk, type Faults } from './disk.ts'
import { Model } from './model.ts'
import type { Random } from './random.ts'

export const INBOX = 'in'
export const GROUP = 'g'
export const TOPICS = ['A', 'B', 'C'] as const

/** Time that passes as it is told, and can leap: then periodic work is done once and not once a period. */
class LeapClock implements Clock {
  readonly #clock = fakeClock()
  #leapt = 0

  now(): number {
    return this.#clock.now() + this.#leapt
  }
  after(delay: number, run: () => void): () => void {
    return this.#clock.after(delay, run)
  }
  every(period: number, run: () => void): () => void {
    return this.#clock.every(period, run)
  }
  pass(ms: number): Promise<void> {
    return this.#clock.pass(ms)
  }
  leap(ms: number): void {
    this.#leapt += ms
  }
}

/** A broker on a disk of its own, its clients, and what they were told. */
export class World {
  readonly random: Random
  readonly clock = new LeapClock()
  readonly model = new Model()
  /** What went wrong although the power was on. */
  readonly troubles: string[] = []
  disk: Disk
  broker!: Broker
  epoch = 0
  /** Where the log began at the latest: retention may be interrupted by a cut, and what it had begun to delete comes back. */
  start = 0
  readonly #segmentBytes: number
  readonly #retainBytes: number

  constructor(random: Random, faults: Faults) {
    this.random = random
    this.disk = new Disk(random, faults)
    this.#segmentBytes = random.pick([8, 32, 256]) * 1024
    this.#retainBytes = random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 128 * 1024])
  }

  async open(): Promise<void> {
    const { disk } = this
    const complain = (event: string, fields?: object) => {
      if (!disk.isOff) this.troubles.push(`${event} ${JSON.stringify(fields)}`)
    }
    const log: Log = { info: () => undefined, warn: () => undefined, error: complain }
    this.broker = await openBroker({
      dir: DIR,
      files: disk,
      clock: this.clock,
      log,
      segmentBytes: this.#segmentBytes,
      cacheBytes: 64 * 1024,
      retain: { bytes: this.#retainBytes, ms: Number.POSITIVE_INFINITY },
      defaultQueues: 2,
    })
  }

  /** The power goes. */
  cut(): void {
    this.start = Math.max(this.start, this.broker.stats().start)
    this.disk = this.disk.cut()
  }

  run<K extends Kind>(command: CommandOf<K>): Promise<ReplyTo<K>> {
    return this.broker.execute<K>(this.broker.node, command, context)
  }

  async publish(messages: readonly Message[], more: Partial<CommandOf<'publish'>> = {}): Promise<readonly Stored[]> {
    const { stored } = await this.run<'publish'>({ kind: 'publish', messages, oneway: false, ...more })
    return stored.map((one) => {
      if (one instanceof Error) throw one
      return one as Stored
    })
  }

  async pop(topic: string, max: number): Promise<Delivered[]> {
    const source = { kind: 'group', topic, group: GROUP } as const
    const reply = await this.run<'pop'>({ kind: 'pop', source, max, invisible: 10_000, wait: 0, fifo: false })
    return [...reply.batch]
  }

  async popInbox(max: number): Promise<Delivered[]> {
    const source = { kind: 'inbox', inbox: INBOX, epoch: this.epoch } as const
    const reply = await this.run<'pop'>({ kind: 'pop', source, max, invisible: 'session', wait: 0, fifo: false })
    return [...reply.batch]
  }

  async settle(receipts: readonly Receipt[], outcome: CommandOf<'settle'>['outcome']): Promise<ReplyTo<'settle'>> {
    return this.run<'settle'>({ kind: 'settle', receipts, outcome })
  }

  async openInbox(): Promise<void> {
    const { epoch } = await this.run<'open'>({ kind: 'open', inbox: INBOX, fresh: false, expiry: 10 ** 12 })
    this.epoch = epoch
  }
}

const principal = { name: 'c', tenant: '', super: true }
const context: Context = {
  session: {
    id: 'chaos/1',
    client: 'chaos',
    principal,
    protocol: 'test',
    language: 'js',
    version: 1,
    remoteAddress: '127.0.0.1:1',
    localAddress: '127.0.0.1:2',
    notify: async () => undefined,
  },
  principal,
  deadline: Number.MAX_SAFE_INTEGER,
}

/** Now and then a long one. */
export const message = (world: World, topic: string, more: Partial<Message> = {}): Message => {
  const { random } = world
  const length = random.chance(0.03) ? 20_000 : random.chance(0.2) ? 6000 : random.int(300)
  return { topic, body: Buffer.from(world.model.body(length)), properties: { k: 'v' }, ...more }
}
