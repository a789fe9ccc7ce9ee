import type { ServerResponse } from 'node:http'
import { type Delivered, Fault, type Gateway, losses, type Ms, type Source } from '@sluice/core'
import { inflated } from './body.ts'
import type { HttpConnection } from './connection.ts'
import { problemOf } from './faults.ts'
import { type Asker, giveBack, poll } from './poll.ts'
import { COMMENT, COMMENT_MS, RETRY, RETRY_SOON, sseEvent } from './sse.ts'
import { toReceived } from './translate.ts'

/** Deliveries that may be on their way to one stream. */
const WINDOW = 16
/** Of an auto-acknowledged delivery: its write is over long before. */
const INVISIBLE: Ms = 30_000
/** A body may grow so much when it is inflated for a client that cannot do it. */
export const INFLATE = 4

export interface StreamOptions {
  readonly gateway: Gateway
  readonly connection: HttpConnection
  readonly asker: Asker
  readonly source: Source
  readonly fifo: boolean
  readonly requestId: string
}

/** The client's end of a stream. */
class Events {
  readonly #response: ServerResponse
  readonly closed: Promise<void>

  constructor(response: ServerResponse, connection: HttpConnection) {
    this.#response = response
    this.closed = connection.closed
  }

  open(requestId: string): void {
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-request-id': requestId,
      connection: 'close',
    })
    this.#response.write(RETRY)
  }

  get backlog(): number {
    return this.#response.writableLength
  }

  comment(): void {
    if (this.backlog === 0) this.#response.write(COMMENT)
  }

  /** Whether the socket took it; false: the client is gone. */
  send(text: string): Promise<boolean> {
    const taken = new Promise<boolean>((resolve) => {
      this.#response.write(text, (error) => resolve(!error))
    })
    return Promise.race([taken, this.closed.then(() => false)])
  }

  end(last: string): void {
    this.#response.end(last)
  }
}

const errorEvent = (fault: Fault, requestId: string): string =>
  sseEvent('error', JSON.stringify(problemOf(fault, requestId)))

const eventOf = async (gateway: Gateway, delivered: Delivered, withHandle: boolean): Promise<string> => {
  const { message } = delivered
  const plain = await inflated(message, gateway.limits.bodyBytes * INFLATE)
  for (const field of losses(message, 'http')) gateway.lost(message.via ?? 'remoting', 'http', field)
  const received = toReceived(delivered, plain, 'auto', withHandle ? gateway.seal : undefined)
  return sseEvent('message', JSON.stringify(received), message.id)
}

/** Acknowledged once written; no more under way than the window, and nothing new while the client does not keep up. */
export const autoStream = async (options: StreamOptions, response: ServerResponse): Promise<void> => {
  const { gateway, connection, asker, source, fifo, requestId } = options
  const events = new Events(response, connection)
  const writes = new Set<Promise<void>>()
  let order = Promise.resolve()
  let last: string | undefined
  let finish: () => void = () => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const over = (word: string) => {
    last ??= word
    finish()
  }
  const refill = () => {
    if (last === undefined && events.backlog <= gateway.limits.outboundBytes) pump.credit(WINDOW - pump.unsettled)
  }
  const write = async (delivered: Delivered) => {
    const text = await eventOf(gateway, delivered, false)
    const written = events.send(text).then((taken) => {
      writes.delete(written)
      if (taken) pump.settle([delivered], { kind: 'accept' }, refill)
    })
    writes.add(written)
  }
  const pump = gateway.pump(source, {
    session: asker.session,
    principal: asker.principal,
    invisible: INVISIBLE,
    batch: WINDOW,
    fifo,
    deliver(batch) {
      for (const delivered of batch) {
        order = order.then(() => write(delivered))
        order.catch((error: unknown) => over(errorEvent(Fault.from(error), requestId)))
      }
    },
    failed: (fault) => over(errorEvent(fault, requestId)),
  })
  let commentAt = gateway.clock.now() + COMMENT_MS
  const leave = connection.park({
    get unsettled() {
      return pump.unsettled
    },
    wake: () => over(RETRY_SOON),
    tick(now) {
      if (now < commentAt) return
      commentAt = now + COMMENT_MS
      events.comment()
      refill()
    },
  })
  try {
    events.open(requestId)
    refill()
    await Promise.race([finished, events.closed])
    pump.credit(0)
    await order.catch(() => undefined)
    await Promise.all(writes)
  } finally {
    await pump.stop()
    leave()
    events.end(last ?? '')
  }
}

/** Pops with receipts that the client settles by itself, as many as the client reads. */
export const manualStream = async (
  options: StreamOptions & { readonly invisible: Ms },
  response: ServerResponse,
): Promise<void> => {
  const { gateway, connection, asker, source, fifo, invisible, requestId } = options
  const events = new Events(response, connection)
  events.open(requestId)
  const wait = Math.min(COMMENT_MS, gateway.limits.pollMs)
  try {
    while (!connection.leaving) {
      const batch = await poll(gateway, connection, asker, { kind: 'pop', source, max: WINDOW, invisible, wait, fifo })
      if (batch.length === 0) events.comment()
      else if (!(await sendAll(gateway, asker, events, batch))) return
    }
    events.end(RETRY_SOON)
  } catch (error) {
    events.end(errorEvent(Fault.from(error), requestId))
  }
}

const sendAll = async (
  gateway: Gateway,
  asker: Asker,
  events: Events,
  batch: readonly Delivered[],
): Promise<boolean> => {
  for (const [index, delivered] of batch.entries()) {
    if (await events.send(await eventOf(gateway, delivered, true))) continue
    await giveBack(gateway, asker, batch.slice(index))
    return false
  }
  return true
}
