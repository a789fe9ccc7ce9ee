import type { ServerWritableStream } from '@grpc/grpc-js'
import { type Delivered, Fault, losses, type Receipt } from '@sluice/core'
import { type Asker, contextOf, type Hall } from './calls.ts'
import type { Exchange } from './exchange.ts'
import { noMessage, ok } from './faults.ts'
import { checkGroup } from './rules.ts'
import { fromDelivered, toPop } from './translate.ts'
import { fromMs, type ReceiveMessageRequest, type ReceiveMessageResponse } from './wire.ts'

type Stream = ServerWritableStream<ReceiveMessageRequest, ReceiveMessageResponse>

/** Bytes that are written before the peer has taken any; one message more may be on its way. */
const WINDOW_BYTES = 64 * 1024
const POLL_PATIENCE = 5_000

/**
 * ReceiveMessage: status, messages, time of delivery, in that order; each of them is looked for by some client, and an
 * answer without a status is a failure to all. What did not leave whole goes back to the group at once.
 */
export const receiveMessage = async (stream: Stream, asker: Asker, hall: Hall): Promise<void> => {
  const { gateway } = hall
  const answer = new Answer(stream, asker.exchange, gateway.clock)
  let delivered: readonly Delivered[] = []
  try {
    delivered = await poll(stream.request, asker, hall)
    await answer.write({ status: delivered.length > 0 ? ok : noMessage })
    for (const one of delivered) {
      if (!(await answer.write(messageOf(one, stream.request, hall), one.message.body.length))) break
    }
  } catch (error) {
    await answer.write({ status: hall.refuse(error) })
  }
  await answer.write({ delivery_timestamp: fromMs(gateway.clock.now()) })
  asker.exchange.stalledSince = gateway.clock.now()
  stream.end()
  if ((await asker.exchange.ended) === 'broken') await giveBack(delivered, asker, hall)
}

const poll = async (request: ReceiveMessageRequest, asker: Asker, hall: Hall): Promise<readonly Delivered[]> => {
  const { client, principal, exchange, left, told } = asker
  const { gateway } = hall
  const group = await hall.groups.of(checkGroup(request.group), contextOf(asker, hall))
  const { requestTimeout } = client
  const pop = toPop(request, { left, requestTimeout, fifo: group?.fifo ?? false, limits: gateway.limits })
  if (told) pop.wait = 0
  const signal = exchange.park()
  try {
    const context = gateway.context(client.session, pop.wait + POLL_PATIENCE, { signal, principal })
    return [...(await gateway.handle(pop, context)).batch]
  } catch (error) {
    // Woken by a drain, or asked by nobody any more: in both cases there is nothing to tell but "no message".
    if (signal.aborted) return []
    throw error
  } finally {
    exchange.resumed()
  }
}

const messageOf = (delivered: Delivered, request: ReceiveMessageRequest, { gateway }: Hall): ReceiveMessageResponse => {
  const { message, receipt } = delivered
  if (receipt?.of !== 'group') throw new Fault('internal', 'a delivery without a lease')
  for (const field of losses(message, 'grpc')) gateway.lost(message.via ?? 'remoting', 'grpc', field)
  const topic = request.message_queue?.topic ?? { name: message.topic }
  return { message: fromDelivered(delivered, gateway.seal.lease(receipt), topic) }
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
class Answer {
  readonly #stream: Stream
  readonly #exchange: Exchange
  readonly #clock: { now(): number }
  #pending = 0
  #wake: (() => void) | undefined

  constructor(stream: Stream, exchange: Exchange, clock: { now(): number }) {
    this.#stream = stream
    this.#exchange = exchange
    this.#clock = clock
    void exchange.ended.then(() => this.#wake?.())
  }

  /** Resolves when more may be written. False: nobody reads it any more. */
  async write(part: ReceiveMessageResponse, bytes = 0): Promise<boolean> {
    if (this.#exchange.over) return false
    this.#pending += bytes
    this.#stream.write(part, () => {
      this.#pending -= bytes
      if (this.#exchange.stalledSince !== undefined) this.#exchange.stalledSince = this.#clock.now()
      if (this.#pending <= WINDOW_BYTES) this.#wake?.()
    })
    if (this.#pending > WINDOW_BYTES) {
      this.#exchange.stalledSince = this.#clock.now()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
      this.#exchange.stalledSince = undefined
    }
    return !this.#exchange.over
  }
}
