import { Fault, type Outcome, type Replies, type Slot } from '@sluice/core'
import type { Core } from './core.ts'
import { receiptExpired } from './errors.ts'
import { inboxOf } from './inboxCommands.ts'
import { type SlotsSettled, writeSlotsSettled } from './inboxEvents.ts'
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

/** The receipts of one command: by what is done to whom. Nearly all of them are one run of one client. */
class Batches {
  #last: Done | undefined
  #others: Map<string, Done> | undefined

  of(inbox: InboxState, way: Done['way'], how: Done['how']): Done {
    const last = this.#last
    if (last && last.inbox === inbox && last.way === way && last.how === how) return last
    if (last && !this.#others) this.#others = new Map([[keyOf(last), last]])
    const batch: Done = { inbox, way, how, slots: [], drawn: [] }
    const known = this.#others?.get(keyOf(batch))
    if (known) return (this.#last = known)
    this.#others?.set(keyOf(batch), batch)
    return (this.#last = batch)
  }

  all(): Iterable<Done> {
    return this.#others?.values() ?? (this.#last ? [this.#last] : [])
  }
}

const keyOf = ({ inbox, way, how }: Done): string => `${way} ${how} ${inbox.name}`

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
  const done = new Batches()
  for (const { at, receipt } of slots) {
    try {
      const inbox = inboxOf(core, receipt.inbox, receipt.epoch)
      if (receipt.way === 'in') settleIn(inbox, receipt.slot, outcome, done)
      else settleOut(core, inbox, receipt.slot, outcome, done)
    } catch (error) {
      failed.push({ at, fault: Fault.from(error) })
    }
  }
  let written = false
  for (const batch of done.all()) written = writeDown(core, batch) || written
  return written
}

const writeDown = (core: Core, { inbox, way, how, slots, drawn }: Done): boolean => {
  if (inbox.persistent) {
    core.log.append(writeSlotsSettled({ inbox: inbox.name, way, how, slots }))
    return true
  }
  if (how !== 'accept') return false
  if (drawn.length === 0) return false
  settleShares(
    core,
    drawn.map(({ share, place }) => ({ from: share!, place })),
  )
  return true
}

const settleIn = (inbox: InboxState, slot: number, outcome: Outcome, done: Batches): void => {
  if (outcome.kind !== 'accept')
    throw new Fault('invalid', `a publish cannot be settled with ${outcome.kind}`, { about: 'outcome' })
  if (!inbox.incoming.delete(slot)) throw receiptExpired()
  done.of(inbox, 'in', 'accept').slots.push(slot)
}

const settleOut = (core: Core, inbox: InboxState, number: number, outcome: Outcome, done: Batches): void => {
  const slot = inbox.slots.get(number)
  if (!slot) throw receiptExpired()
  switch (outcome.kind) {
    case 'received':
      slot.received = true
      done.of(inbox, 'out', 'received').slots.push(number)
      return
    case 'retry':
      return retry(core, inbox, slot, outcome, done)
    case 'accept':
    case 'dead':
      inbox.slots.delete(number)
      settled(done.of(inbox, 'out', 'accept'), slot)
  }
}

const settled = (batch: Done, slot: SlotState): void => {
  batch.slots.push(slot.slot)
  if (slot.share) batch.drawn.push(slot)
}

/** A shared message goes back to where the others draw from; any other keeps its number and comes again. */
const retry = (
  core: Core,
  inbox: InboxState,
  slot: SlotState,
  outcome: Extract<Outcome, { kind: 'retry' }>,
  done: Batches,
): void => {
  if (slot.share) {
    inbox.slots.delete(slot.slot)
    giveToShare(core.state, slot)
    return settled(done.of(inbox, 'out', 'back'), slot)
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
}
