import { type CommandOf, type Delivered, Fault, losses, type Receipt, type ReplyTo, waitOf } from '@sluice/core'
import { type Asker, contextOf, type Hall, type Poll } from './calls.ts'
import type { Exchange } from './exchange.ts'
import { noMessage, ok } from './faults.ts'
import { checkGroup } from './rules.ts'
import { fromDelivered, sealed, toPop } from './translate.ts'
import { fromMs, type ReceiveMessageRequest, type ReceiveMessageResponse } from './wire.ts'

/** Bytes that are written before the peer has taken any; one message more may be on its way. */
const WINDOW_BYTES = 64 * 1024
const POLL_PATIENCE = 5_000

/**
 * ReceiveMessage: status, messages, time of delivery, in that order; each of them is looked for by some client, and an
 * answer without a status is a failure to all. What did not leave whole goes back to the group at once.
 */
export const receiveMessage: Poll<ReceiveMessageRequest> = async (request, asker, hall) => {
  const { gateway } = hall
  const { exchange } = asker
  const answer = new Answer<ReceiveMessageResponse>(exchange, gateway.clock)
  let receipts: readonly Receipt[] = []
  try {
    const delivered = admitted(await poll(request, asker, hall), asker, hall)
    receipts = receiptsOf(delivered)
    await answer.write({ status: delivered.length > 0 ? ok : noMessage })
    await answer.give(delivered, (one) => messageOf(one, request, hall))
  } catch (error) {
    await answer.write({ status: hall.refuse(error) })
  }
  await answer.write({ delivery_timestamp: fromMs(gateway.clock.now()) })
  const back = () => giveBack(receipts, asker, hall)
  if (receipts.length > 0) exchange.recalled(() => void back())
  answer.end()
  if (receipts.length > 0 && !(await arrived(answer, exchange))) await back()
}

/** What its connection has room for; the others go back at once. */
const admitted = (delivered: readonly Delivered[], asker: Asker, hall: Hall): Delivered[] => {
  const count = asker.exchange.place.owed.admit(delivered.map(bytesOf))
  if (count < delivered.length) void giveBack(receiptsOf(delivered.slice(count)), asker, hall)
  return delivered.slice(0, count)
}

export const bytesOf = ({ message }: Delivered): number => message.body.length

const receiptsOf = (delivered: readonly Delivered[]): readonly Receipt[] =>
  delivered.flatMap(({ receipt }) => (receipt ? [receipt] : []))

const arrived = async (answer: Answer<ReceiveMessageResponse>, exchange: Exchange): Promise<boolean> =>
  !answer.cut && (await exchange.ended) === 'whole' && exchange.place.taken()

const poll = async (request: ReceiveMessageRequest, asker: Asker, hall: Hall): Promise<readonly Delivered[]> => {
  const { client, left, told } = asker
  const group = await hall.groups.of(checkGroup(request.group), contextOf(asker, hall))
  const name = request.group?.name ?? ''
  const lite = client.isLite(name) || group?.lite !== undefined
  const inbox = lite ? await client.inbox(name, asker, hall) : undefined
  const help = { left, requestTimeout: client.requestTimeout, fifo: group?.fifo ?? false, inbox }
  const pop = toPop(request, { ...help, limits: hall.gateway.limits })
  if (told) pop.wait = 0
  try {
    return [...((await polled(asker, hall, pop, () => nothing(hall)))?.batch ?? [])]
  } catch (error) {
    // The client asked by another gateway meanwhile: the next poll opens its inbox anew.
    if (lite) client.forgetInbox(name)
    throw error
  }
}

const nothing = ({ gateway }: Hall): readonly ReceiveMessageResponse[] => [
  { status: noMessage },
  { delivery_timestamp: fromMs(gateway.clock.now()) },
]

/**
 * Parked until there is something; undefined: woken by a drain, or asked by nobody any more. `empty`: what is said when
 * the connection is ended meanwhile.
 */
export const polled = async <K extends 'pop' | 'read'>(
  { client, principal, exchange }: Asker,
  { gateway }: Hall,
  command: CommandOf<K>,
  empty: () => readonly object[],
): Promise<ReplyTo<K> | undefined> => {
  const signal = exchange.park()
  exchange.finish = () => {
    for (const part of empty()) exchange.write(part)
    exchange.end()
  }
  try {
    const { owed } = exchange.place
    const wait = owed.isFull ? await owed.room(gateway.clock, waitOf(command), signal) : waitOf(command)
    if (wait === undefined) return undefined
    const context = gateway.context(client.session, wait + POLL_PATIENCE, { signal, principal })
    return await gateway.handle<K>({ ...command, wait }, context)
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  } finally {
    exchange.finish = undefined
    exchange.resumed()
  }
}

const messageOf = (delivered: Delivered, request: ReceiveMessageRequest, { gateway }: Hall): ReceiveMessageResponse => {
  const { message, receipt } = delivered
  if (!receipt) throw new Fault('internal', 'a delivery without a receipt')
  for (const field of losses(message, 'grpc')) gateway.lost(message.via ?? 'remoting', 'grpc', field)
  const topic = request.message_queue?.topic ?? { name: message.topic }
  const lite = receipt.of === 'inbox'
  return { message: fromDelivered(delivered, topic, { handle: sealed(receipt, gateway.seal), lite }) }
}

/** Uncounted where the broker can; what then still fails comes back at the end of its invisible time. */
const giveBack = async (receipts: readonly Receipt[], asker: Asker, { gateway }: Hall): Promise<void> => {
  const { client, principal } = asker
  const settle = (counts: boolean) =>
    gateway.handle(
      { kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts } },
      gateway.context(client.session, POLL_PATIENCE, { principal }),
    )
  await settle(false).catch((error: unknown) => {
    if (Fault.from(error).code === 'unsupported') return settle(true)
    return undefined
  })
}

/** Writes under the peer's flow control. */
export class Answer<Part extends object> {
  readonly #exchange: Exchange
  readonly #clock: { now(): number }
  /** It was ended before all was said. */
  cut = false
  /** Of what its connection was given. */
  #owes = 0
  #pending = 0
  #wake: (() => void) | undefined

  constructor(exchange: Exchange, clock: { now(): number }) {
    this.#exchange = exchange
    this.#clock = clock
    exchange.whenEnded(() => {
      this.#wake?.()
      this.#pay(this.#owes)
    })
  }

  /**
   * Messages that were admitted, one after another as the peer takes them. None is held for longer than it waits for that: the
   * list is emptied.
   */
  async give(delivered: Delivered[], partOf: (one: Delivered) => Part): Promise<void> {
    this.#owes = delivered.reduce((sum, one) => sum + bytesOf(one), 0)
    if (this.#exchange.over) return this.#pay(this.#owes)
    for (let one = delivered.shift(); one; one = delivered.shift()) {
      if (!(await this.write(partOf(one), bytesOf(one)))) return
    }
  }

  /** Resolves when more may be written. False: nobody reads it any more. */
  async write(part: Part, bytes = 0): Promise<boolean> {
    this.#pending += bytes
    const said = this.#exchange.write(part, () => {
      this.#pending -= bytes
      this.#pay(Math.min(bytes, this.#owes))
      if (this.#exchange.stalledSince !== undefined) this.#exchange.stalledSince = this.#clock.now()
      if (this.#pending <= WINDOW_BYTES) this.#wake?.()
    })
    if (!said) {
      this.cut = true
      return false
    }
    if (this.#pending > WINDOW_BYTES && !this.#exchange.over) {
      this.#exchange.stalledSince = this.#clock.now()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
      this.#exchange.stalledSince = undefined
    }
    return !this.#exchange.over
  }

  /** What was written goes on its way; a peer that does not take it has the patience for readers. */
  end(): void {
    this.#exchange.stalledSince = this.#clock.now()
    this.#exchange.end()
  }

  #pay(bytes: number): void {
    if (bytes === 0) return
    this.#owes -= bytes
    this.#exchange.place.owed.given(bytes)
  }
}
