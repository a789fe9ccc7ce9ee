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
  let delivered: readonly Delivered[] = []
  try {
    delivered = await poll(request, asker, hall)
    await answer.write({ status: delivered.length > 0 ? ok : noMessage })
    for (const one of delivered) {
      if (!(await answer.write(messageOf(one, request, hall), one.message.body.length))) break
    }
  } catch (error) {
    await answer.write({ status: hall.refuse(error) })
  }
  await answer.write({ delivery_timestamp: fromMs(gateway.clock.now()) })
  answer.end()
  if (delivered.length > 0 && !(await arrived(answer, exchange))) await giveBack(delivered, asker, hall)
}

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
    const context = gateway.context(client.session, waitOf(command) + POLL_PATIENCE, { signal, principal })
    return await gateway.handle<K>(command, context)
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
const giveBack = async (delivered: readonly Delivered[], asker: Asker, { gateway }: Hall): Promise<void> => {
  const receipts = delivered.flatMap(({ receipt }): Receipt[] => (receipt ? [receipt] : []))
  if (receipts.length === 0) return
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
  #pending = 0
  #wake: (() => void) | undefined

  constructor(exchange: Exchange, clock: { now(): number }) {
    this.#exchange = exchange
    this.#clock = clock
    exchange.whenEnded(() => this.#wake?.())
  }

  /** Resolves when more may be written. False: nobody reads it any more. */
  async write(part: Part, bytes = 0): Promise<boolean> {
    this.#pending += bytes
    const said = this.#exchange.write(part, () => {
      this.#pending -= bytes
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
}
