import {
  Abort,
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Gateway,
  type Lease,
  type Ms,
  type Receipt,
  type Replies,
} from '@sluice/core'
import { type Frame, request, response } from '@sluice/remoting'
import type { Answer } from './desk.ts'
import { fitting, nothingPopped, type Popped, toPopAnswer } from './popAnswer.ts'
import { type Pop, toNotification, toPop } from './popRequest.ts'
import type { PullHost } from './pulls.ts'
import { recordsOf } from './records.ts'
import { Numbered } from './topics.ts'

const PATIENCE: Ms = 5_000
/** Records of one answer: half of the longest frame. One message goes whatever its size. */
const POP_BYTES = 8 * 1024 * 1024

interface Parked {
  readonly frame: Frame
  readonly pop: Pop
  readonly abort: Abort
}

/** Pops and notifications of one connection: POP_MESSAGE (200050), NOTIFICATION (200054). */
export class Pops {
  readonly #host: PullHost
  readonly #gateway: Gateway
  readonly #parked = new Set<Parked>()

  constructor(host: PullHost) {
    this.#host = host
    this.#gateway = host.desk.gateway
  }

  get parked(): number {
    return this.#parked.size
  }

  /** A promise where the answer does not wait for messages. */
  receive(frame: Frame): void | Promise<void> {
    const { limits } = this.#gateway
    const pop = frame.code === request.notification ? toNotification(frame, limits) : toPop(frame, limits)
    const parked: Parked = { frame, pop, abort: new Abort() }
    if (pop.wait === 0) return this.#wait(parked, false)
    if (!this.#host.mayPark()) {
      this.#host.answer(frame, pop.max === 0 ? told(false, true) : nothingPopped(response.pollingFull))
      return undefined
    }
    this.#parked.add(parked)
    this.#host.desk.parked.add(pop)
    void this.#wait(parked, true)
    return undefined
  }

  /** Tells every parked pop that there is nothing, so that its client asks again, here or elsewhere. */
  wake(): void {
    for (const parked of this.#parked) {
      this.#leave(parked)
      this.#host.answer(parked.frame, nothing(parked.pop))
      parked.abort.abort()
    }
  }

  close(): void {
    for (const parked of this.#parked) {
      this.#leave(parked)
      parked.abort.abort()
    }
  }

  #leave(parked: Parked): boolean {
    if (!this.#parked.delete(parked)) return false
    this.#host.desk.parked.delete(parked.pop)
    return true
  }

  async #wait(parked: Parked, waits: boolean): Promise<void> {
    const { frame, pop, abort } = parked
    let context: Context | undefined
    try {
      context = await this.#host.enter(frame, pop.wait + PATIENCE, { signal: abort })
      const reply = await this.#gateway.handle(await this.#command(pop, context), context)
      if (waits && !this.#leave(parked)) this.#giveBack([...reply.batch], context)
      else this.#host.answer(frame, await this.#say(pop, reply, context))
    } catch (error) {
      if (!waits || this.#leave(parked)) this.#refuse(frame, pop, error)
    }
  }

  async #command(pop: Pop, context: Context): Promise<CommandOf<'pop'>> {
    const { topic, group, queue, filter, max, invisible, wait, fifo, attemptId } = pop
    const one = queue < 0 ? undefined : await this.#host.desk.topics.queue(topic, queue, context)
    const source = { kind: 'group', topic, group, ...(filter && { filter }), ...(one && { queue: one }) } as const
    return { kind: 'pop', source, max, invisible, wait, fifo, ...(attemptId !== undefined && { attemptId }) }
  }

  async #say(pop: Pop, { batch, more }: Replies['pop'], context: Context): Promise<Answer> {
    if (pop.max === 0) return told(more, false)
    if (batch.count === 0) return nothing(pop)
    const delivered = [...batch]
    // What a client cannot take now is not kept for it: it comes with its next pop.
    const keep = this.#host.isSlow() ? 0 : fitting(delivered, sizeOf, POP_BYTES)
    if (keep < delivered.length) this.#giveBack(delivered.slice(keep), context)
    if (keep === 0) return nothing(pop)
    const given = delivered.slice(0, keep)
    const { store, topics } = this.#host.desk
    const bytes = batch.bytes?.slice(0, keep)
    const records = recordsOf(
      { count: keep, bytes, [Symbol.iterator]: () => given[Symbol.iterator]() },
      store,
      this.#gateway,
    )
    const known = topics.get(pop.topic, context)
    const numbered = known instanceof Numbered ? known : await known
    const popped = given.map((one, at) => poppedOf(one, records[at] as Buffer, numbered))
    return toPopAnswer(popped, more || keep < delivered.length, pop.fifo)
  }

  /** They are there for others, and this was no attempt. */
  #giveBack(delivered: readonly Delivered[], context: Context): void {
    const receipts = delivered.flatMap(({ receipt }): readonly Receipt[] => (receipt ? [receipt] : []))
    if (receipts.length === 0) return
    const command = { kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts: false } } as const
    const anew = this.#gateway.context(context.session, PATIENCE, { principal: context.principal })
    this.#gateway.handle(command, anew).catch((error: unknown) => {
      // They come back when their time is over.
      this.#gateway.log.warn('pop.return', { protocol: 'remoting', code: Fault.from(error).code })
    })
  }

  #refuse(frame: Frame, pop: Pop, error: unknown): void {
    // At 215 a client asks again after 20 ms, at this one after a second.
    if (Fault.is(error) && error.code === 'throttled')
      return this.#host.answer(frame, pop.max === 0 ? told(false, true) : nothingPopped(response.pollingFull))
    this.#host.refuse(frame, error)
  }
}

const nothing = (pop: Pop): Answer => (pop.max === 0 ? told(false, false) : nothingPopped(response.pollingTimeout))

const told = (hasMsg: boolean, pollingFull: boolean): Answer => ({
  code: response.success,
  ext: { hasMsg: String(hasMsg), pollingFull: String(pollingFull) },
})

const sizeOf = ({ message }: Delivered): number => message.record?.length ?? message.body.length

const poppedOf = ({ receipt, attempt }: Delivered, record: Buffer, numbered: Numbered): Popped => {
  if (receipt?.of !== 'group') throw new Fault('internal', 'popped without a lease')
  const lease: Lease = receipt
  const queue = { topic: lease.topic, node: lease.node, index: lease.queue }
  return { record, lease, attempt, queue: numbered.number(queue) ?? lease.queue }
}
