import { Fault, type Outcome, type Replies, type Slot } from '@sluice/core'
import type { Core } from './core.ts'
import { receiptExpired } from './errors.ts'
import { type SlotsSettled, writeSlotsSettled } from './events.ts'
import { inboxOf } from './inboxCommands.ts'
import type { InboxState, SlotState } from './inboxes.ts'
import { settleShares } from './inboxPop.ts'
import { giveToShare } from './inboxState.ts'

type Failed = Replies['settle']['failed'][number]

/** @throws Fault 'receiptExpired' about 'receipt', 'notFound' about 'inbox', 'conflict' about 'epoch' when it holds nothing */
export const checkSlot = (core: Core, { inbox: name, epoch, way, slot }: Slot): void => {
  const inbox = inboxOf(core, name, epoch)
  if (!(way === 'in' ? inbox.incoming : inbox.slots).has(slot)) throw receiptExpired()
}

interface Done {
  readonly inbox: InboxState
  readonly way: 'in' | 'out'
  readonly how: SlotsSettled['how']
  readonly slots: number[]
  readonly drawn: SlotState[]
}

/**
 * Settles numbered deliveries, and publishes that the client will not repeat. Of an inbox there is nobody to blame and
 * no dead letters: 'dead' is the end of it.
 * @returns whether something was written that must be durable
 */
export const settleSlots = (
  core: Core,
  slots: readonly { readonly at: number; readonly receipt: Slot }[],
  outcome: Outcome,
  failed: Failed[],
): boolean => {
  const done = new Map<string, Done>()
  for (const { at, receipt } of slots) {
    try {
      const inbox = inboxOf(core, receipt.inbox, receipt.epoch)
      const how =
        receipt.way === 'in' ? settleIn(inbox, receipt.slot, outcome) : settleOut(core, inbox, receipt.slot, outcome)
      if (!how) continue
      const key = `${receipt.way} ${how.how} ${receipt.inbox}`
      let batch = done.get(key)
      if (!batch) done.set(key, (batch = { inbox, way: receipt.way, how: how.how, slots: [], drawn: [] }))
      batch.slots.push(receipt.slot)
      if (how.slot) batch.drawn.push(how.slot)
    } catch (error) {
      failed.push({ at, fault: Fault.from(error) })
    }
  }
  let written = false
  for (const batch of done.values()) written = writeDown(core, batch) || written
  return written
}

const writeDown = (core: Core, { inbox, way, how, slots, drawn }: Done): boolean => {
  if (inbox.persistent) {
    core.log.append(writeSlotsSettled({ inbox: inbox.name, way, how, slots }))
    return true
  }
  if (how !== 'accept') return false
  const shared = drawn.flatMap((slot) => (slot.share ? [{ from: slot.share, place: slot.place }] : []))
  settleShares(core, shared)
  return shared.length > 0
}

type How = { readonly how: SlotsSettled['how']; readonly slot?: SlotState } | undefined

const settleIn = (inbox: InboxState, slot: number, outcome: Outcome): How => {
  if (outcome.kind !== 'accept')
    throw new Fault('invalid', `a publish cannot be settled with ${outcome.kind}`, { about: 'outcome' })
  if (!inbox.incoming.delete(slot)) throw receiptExpired()
  return { how: 'accept' }
}

const settleOut = (core: Core, inbox: InboxState, number: number, outcome: Outcome): How => {
  const slot = inbox.slots.get(number)
  if (!slot) throw receiptExpired()
  switch (outcome.kind) {
    case 'received':
      slot.received = true
      return { how: 'received' }
    case 'retry':
      return retry(core, inbox, slot, outcome)
    case 'accept':
    case 'dead':
      inbox.slots.delete(number)
      return { how: 'accept', slot }
  }
}

/** A shared message goes back to where the others draw from; any other keeps its number and comes again. */
const retry = (core: Core, inbox: InboxState, slot: SlotState, outcome: Extract<Outcome, { kind: 'retry' }>): How => {
  if (slot.share) {
    inbox.slots.delete(slot.slot)
    giveToShare(core.state, slot)
    return { how: 'back', slot }
  }
  if (!outcome.counts) slot.attempt--
  const { epoch } = inbox
  const back = () => {
    // Who opened the inbox meanwhile gets all that was out anyway.
    if (inbox.epoch !== epoch || inbox.slots.get(slot.slot) !== slot) return
    inbox.redeliverOne(slot)
    inbox.wake()
  }
  const after = outcome.after ?? 0
  if (after > 0) core.wheel.at(core.clock.now() + after, back)
  else back()
  return undefined
}
