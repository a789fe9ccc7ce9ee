import {
  type CommandOf,
  type Delivered,
  Fault,
  type Kind,
  type Log,
  type Message,
  type Receipt,
  type ReplyTo,
  type Stored,
} from '@sluice/core'
import { openBoxes } from './boxes.ts'
import type { Coverage } from './coverage.ts'
import { prepareDoomed } from './doomed.ts'
import { Model } from './model.ts'
import type { Random } from './random.ts'
import type { Settings, Site, Subject } from './site.ts'

export const INBOX = 'in'
export const GROUP = 'g'
export const TOPICS = ['A', 'B', 'C'] as const
/** Of every lease. */
export const INVISIBLE_MS = 10_000
/** A message may come as often as it likes: how often it came is not what its group is about. */
const ATTEMPTS = 10_000

/** A broker over all its lives, its clients, and what they were told. */
export class World {
  readonly random: Random
  readonly site: Site
  readonly coverage: Coverage
  readonly model = new Model()
  /** What went wrong although the broker lived. */
  readonly troubles: string[] = []
  broker!: Subject
  /** Where the log began at the latest: retention may be interrupted, and what it had begun to delete comes back. */
  start = 0
  readonly #settings: Settings

  constructor(random: Random, site: Site, coverage: Coverage, settings: Settings) {
    this.random = random
    this.site = site
    this.coverage = coverage
    this.#settings = settings
  }

  /** Nothing was deleted yet. */
  get isWhole(): boolean {
    return this.start === 0
  }

  async open(): Promise<void> {
    let opened: Subject | undefined
    const log: Log = {
      info: (event, fields) => this.#hear(event, fields),
      warn: () => undefined,
      error: (event, fields) => {
        if (!opened?.isDown) this.troubles.push(`${event} ${JSON.stringify(fields)}`)
      },
    }
    this.broker = opened = await this.site.open(this.#settings, log)
    const { start, delayed, halves } = await this.broker.stats()
    this.start = Math.max(this.start, start)
    this.coverage.hit('opened')
    if (delayed > 0) this.coverage.hit('opened with timers')
    if (halves > 0) this.coverage.hit('opened with transactions')
  }

  #hear(event: string, fields: object = {}): void {
    const { start = 0, bytes = 0 } = fields as { start?: number; bytes?: number }
    if (event === 'segment.sealed') this.coverage.hit('segments rolled')
    if (event !== 'segment.deleted') return
    this.coverage.hit('segments deleted')
    this.start = Math.max(this.start, start + bytes)
  }

  run<K extends Kind>(command: CommandOf<K>): Promise<ReplyTo<K>> {
    return this.broker.execute<K>(command)
  }

  async publish(messages: readonly Message[], more: Partial<CommandOf<'publish'>> = {}): Promise<readonly Stored[]> {
    const { stored } = await this.run<'publish'>({ kind: 'publish', messages, oneway: false, ...more })
    return stored.map((one) => {
      if (Fault.is(one)) throw one
      return one
    })
  }

  async pop(topic: string, max: number, more: Partial<CommandOf<'pop'>> = {}): Promise<Delivered[]> {
    const source = { kind: 'group', topic, group: GROUP } as const
    const ask = { kind: 'pop', source, max, invisible: INVISIBLE_MS, wait: 0, fifo: false, ...more } as const
    const { batch } = await this.run<'pop'>(ask)
    const delivered = [...batch]
    for (const { message, receipt } of delivered) {
      this.model.show(message)
      if (receipt?.of === 'group') this.model.lease(receipt)
    }
    return delivered
  }

  async popInbox(max: number, inbox: string, epoch: number): Promise<Delivered[]> {
    const source = { kind: 'inbox', inbox, epoch } as const
    const reply = await this.run<'pop'>({ kind: 'pop', source, max, invisible: 'session', wait: 0, fifo: false })
    const delivered = [...reply.batch]
    for (const { message } of delivered) this.model.show(message)
    return delivered
  }

  async settle(receipts: readonly Receipt[], outcome: CommandOf<'settle'>['outcome']): Promise<ReplyTo<'settle'>> {
    for (const receipt of receipts) if (receipt.of === 'group') this.model.unlease(receipt)
    return this.run<'settle'>({ kind: 'settle', receipts, outcome })
  }

  /** Settled, as far as one is told. */
  async accept(delivered: readonly Delivered[]): Promise<void> {
    if (delivered.length === 0) return
    const { model } = this
    for (const { message } of delivered) model.unsure.add(message.body.toString())
    const receipts = delivered.map(({ receipt }) => receipt!)
    const { failed } = await this.settle(receipts, { kind: 'accept' })
    const refused = new Set(failed.map(({ at }) => at))
    delivered.forEach(({ message: { topic, queue, offset } }, at) => {
      if (!refused.has(at)) model.settle(topic, queue.index, offset)
    })
  }

  async openInboxes(): Promise<void> {
    for (const boxes of [this.model.inbox, this.model.shared]) await openBoxes(this, boxes)
  }

  async openBox(inbox: string): Promise<number> {
    return (await this.run<'open'>({ kind: 'open', inbox, fresh: false, expiry: 10 ** 12 })).epoch
  }

  /** Once, in the first life. */
  async prepare(): Promise<void> {
    const spec = { group: GROUP, fifo: false, maxAttempts: ATTEMPTS, backoff: [1000] }
    await this.run<'admin'>({ kind: 'admin', action: { do: 'putGroup', spec } })
    await prepareDoomed(this)
  }
}

/** Now and then a long one. */
export const message = (world: World, topic: string, more: Partial<Message> = {}): Message => {
  const { random } = world
  const length = random.chance(0.03) ? 20_000 : random.chance(0.2) ? 6000 : random.int(300)
  return { topic, body: Buffer.from(world.model.body(length)), properties: { k: 'v' }, ...more }
}
