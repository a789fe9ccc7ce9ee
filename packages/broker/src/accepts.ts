import { type CommandOf, type Context, Fault, type Lease, type Receipt, type Replies, type Slot } from '@sluice/core'
import type { Core } from './core.ts'
import { receiptExpired } from './errors.ts'
import { keep, memoryOf, nothing } from './once.ts'
import { MESSAGES_MAX, moreOf, publishOne, tryOne } from './publish.ts'
import { acceptAll, heldBy } from './settle.ts'
import { checkSlot, settleSlots } from './slots.ts'

type Publish = CommandOf<'publish'>

const RECEIPTS_MAX = 10_000

const keyOf = (receipt: Receipt): string =>
  receipt.of === 'group'
    ? `${receipt.group}\x00${receipt.topic}\x00${receipt.queue}\x00${receipt.offset}`
    : `${receipt.inbox}\x00${receipt.way}\x00${receipt.slot}`

/** @throws Fault 'receiptExpired' about 'receipt' when one does not hold, or is named twice */
const check = (core: Core, receipts: readonly Receipt[]): void => {
  const seen = new Set<string>()
  for (const receipt of receipts) {
    if (receipt.of === 'group') heldBy(core, receipt)
    else checkSlot(core, receipt)
    const key = keyOf(receipt)
    if (seen.has(key)) throw receiptExpired()
    seen.add(key)
  }
}

const settleAll = (core: Core, receipts: readonly Receipt[]): void => {
  const answer = { failed: [], renewed: undefined }
  const leases: { at: number; receipt: Lease }[] = []
  const slots: { at: number; receipt: Slot }[] = []
  receipts.forEach((receipt, at) => {
    if (receipt.of === 'group') leases.push({ at, receipt })
    else slots.push({ at, receipt })
  })
  acceptAll(core, leases, answer)
  settleSlots(core, slots, { kind: 'accept' }, answer.failed)
}

/**
 * Stores all messages and accepts all receipts, or does nothing: they are one chain in the log.
 * @throws Fault of the first message that cannot be taken or the first receipt that does not hold; then nothing was done
 */
export const publishAndAccept = async (core: Core, command: Publish, context: Context): Promise<Replies['publish']> => {
  const { messages, into, once, accepts = [] } = command
  if (messages.length > MESSAGES_MAX) throw new Fault('limit', `over ${MESSAGES_MAX} messages in one command`)
  if (accepts.length > RECEIPTS_MAX) throw new Fault('limit', `over ${RECEIPTS_MAX} receipts in one command`)
  core.log.admit()
  const memory = once && memoryOf(core, once)
  if (memory?.known) {
    await memory.known.durable
    return { stored: memory.known.stored }
  }
  const before = { halves: 0, delayed: 0 }
  for (const message of messages) tryOne(core, message, into, before)
  check(core, accepts)
  const more = moreOf(command, context)
  const stored = core.log.chain(
    () => {
      const all = messages.map((message) => publishOne(core, message, into, more))
      settleAll(core, accepts)
      return all
    },
    (all) => memory?.event(all) ?? nothing(),
    nothing,
  )
  if (memory) await keep(core, memory, stored)
  else if (!command.oneway) await core.log.done()
  return { stored: command.oneway ? [] : stored }
}
