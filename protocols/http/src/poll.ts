import {
  Abort,
  type CommandOf,
  type Delivered,
  type Gateway,
  type Lease,
  type Ms,
  type Principal,
  type Session,
} from '@sluice/core'
import type { HttpConnection } from './connection.ts'

/** Beyond a poll's own wait, and for a settle. */
export const PATIENCE: Ms = 5_000

export interface Asker {
  readonly session: Session
  readonly principal: Principal
  readonly traceparent?: string
}

/** Messages that did not reach their client: another may have them at once, and the attempt is not counted. */
export const giveBack = async (gateway: Gateway, asker: Asker, delivered: Iterable<Delivered>): Promise<void> => {
  const receipts: Lease[] = []
  for (const { receipt } of delivered) if (receipt?.of === 'group') receipts.push(receipt)
  if (receipts.length === 0) return
  const context = gateway.context(asker.session, PATIENCE, { principal: asker.principal })
  // A failure leaves them to the end of their invisible time.
  await gateway
    .handle({ kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts: false } }, context)
    .catch(() => undefined)
}

/**
 * A pop that waits only as long as its client does and the drain lets it. Woken, it answers nothing at once, and what
 * it takes meanwhile goes back.
 * @throws Fault 'limit' and what the pop throws
 */
export const poll = async (
  gateway: Gateway,
  connection: HttpConnection,
  asker: Asker,
  pop: CommandOf<'pop'>,
): Promise<readonly Delivered[]> => {
  const { session } = asker
  if (pop.wait === 0) {
    const { batch } = await connection.hold(gateway.handle(pop, gateway.context(session, PATIENCE, asker)))
    return [...batch]
  }
  const abort = new Abort()
  const woken = new Promise<undefined>((resolve) => {
    abort.addEventListener('abort', () => resolve(undefined))
  })
  const leave = connection.park({ wake: () => abort.abort(), unsettled: 0 })
  try {
    if (abort.aborted) return []
    const context = gateway.context(session, pop.wait + PATIENCE, { ...asker, signal: abort })
    const reply = connection.hold(gateway.handle(pop, context))
    const first = await Promise.race([reply, woken])
    if (first) return [...first.batch]
    connection.hold(reply.then(({ batch }) => giveBack(gateway, asker, batch), ignore))
    return []
  } finally {
    leave()
  }
}

const ignore = () => undefined
