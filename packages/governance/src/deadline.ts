import { asking, type Context, Fault, type Handle, type Kind } from '@sluice/core'

/** What a command is told that had no answer by its deadline. */
export const late = (kind: Kind): Fault =>
  new Fault(asking.has(kind) ? 'unavailable' : 'outcomeUnknown', 'no answer in time')

/** A late reply is dropped, but messages that a late pop took go back at once. */
export const giveBack = (next: Handle, reply: object, context: Context): void => {
  if (!('batch' in reply && 'more' in reply)) return
  const receipts = [...(reply.batch as Iterable<{ receipt?: never }>)].flatMap(({ receipt }) =>
    receipt ? [receipt] : [],
  )
  if (receipts.length === 0) return
  const settled = next({ kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts: false } }, context)
  settled.catch(() => undefined) // then they come back at the end of their invisible time
}
