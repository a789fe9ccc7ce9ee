import { bindingKey } from './bindings.ts'
import type { BytesReader } from './bytes.ts'
import * as events from './events.ts'
import * as inboxEvents from './inboxEvents.ts'
import type { InboxState, Line } from './inboxes.ts'
import { bind, bindShare, endInbox, endShare, giveToShare, unbind } from './inboxState.ts'
import type { State } from './state.ts'

/** Inbox events read again. Inboxes that are not written down have none, and are gone after a restart. */
export const replayInbox = (state: State, kind: number, body: BytesReader): void => {
  switch (kind) {
    case events.INBOX_OPENED:
      return opened(state, inboxEvents.readOpened(body))
    case events.INBOX_BOUND:
      return bound(state, inboxEvents.readBound(body))
    case events.INBOX_LEFT:
      return left(state, inboxEvents.readLeft(body))
    case events.INBOX_TAKEN:
      return taken(state, inboxEvents.readTaken(body))
    case events.INBOX_SETTLED:
      return settled(state, inboxEvents.readSlotsSettled(body))
    case events.SHARE_SETTLED: {
      const { share, pattern, places } = inboxEvents.readShareSettled(body)
      const line = state.shares.get(bindingKey(pattern, share))
      if (line && state.applies(line)) for (const place of places) line.remove(place)
      return
    }
    case events.SHARE_GONE: {
      const share = body.text()
      const key = bindingKey(body.text(), share)
      const line = state.shares.get(key)
      return line && state.applies(line) ? endShare(state, key) : undefined
    }
    case events.INCOMING: {
      const { inbox, slot, stored } = events.readIncoming(body, state.node)
      knownInbox(state, inbox)?.answered(slot, { stored })
      return
    }
    case events.ONCE: {
      const { key, until, stored } = events.readOnce(body, state.node)
      if (stored.length > 0) state.keep(key, until, { stored })
      return
    }
    case events.WILL_DONE: {
      const name = body.text()
      const inbox = knownInbox(state, name)
      if (inbox) inbox.will = undefined
      return willGone(state, name)
    }
  }
}

const opened = (state: State, event: inboxEvents.Opened): void => {
  state.epoch = Math.max(state.epoch, event.epoch)
  willGone(state, event.inbox)
  const before = state.inboxes.get(event.inbox)
  if (before && !state.applies(before)) return
  if (before && event.fresh) endInbox(state, before, event.epoch)
  const inbox = state.inbox(event.inbox)
  inbox.epoch = event.epoch
  inbox.client = event.client
  inbox.expiry = event.expiry
  inbox.leftAt = 0
  inbox.logged = true
  inbox.will = event.will
}

/** The inbox, if what is read now is new to it. */
const knownInbox = (state: State, name: string): InboxState | undefined => {
  const inbox = state.inboxes.get(name)
  return inbox && state.applies(inbox) ? inbox : undefined
}

const willGone = (state: State, name: string): void => {
  const will = state.wills.get(name)
  if (will && state.applies(will)) state.wills.delete(name)
}

const bound = (state: State, { inbox: name, add, remove }: inboxEvents.BoundEvent): void => {
  const inbox = state.inboxes.get(name)
  if (!inbox) {
    for (const binding of add) if (binding.share !== undefined) bindShare(state, binding)
    return
  }
  if (!state.applies(inbox)) return
  for (const { pattern, share } of remove) unbind(state, inbox, pattern, share)
  for (const binding of add) bind(state, inbox, binding)
}

const left = (state: State, { inbox: name, at, expiry, willAfter }: inboxEvents.Left): void => {
  const inbox = knownInbox(state, name)
  if (!inbox) return
  inbox.will = willAfter < 0 ? undefined : inbox.will && { ...inbox.will, after: willAfter }
  inbox.leftAt = at
  inbox.expiry = expiry
  if (expiry > 0) return
  const later = state.wills.get(name)
  if (inbox.will && !(later && !state.applies(later)))
    state.wills.set(name, { record: inbox.will.record, client: inbox.client, fireAt: at + inbox.will.after })
  endInbox(state, inbox, at)
}

const taken = (state: State, { inbox: name, shares, items, walks }: inboxEvents.Taken): void => {
  const inbox = knownInbox(state, name)
  if (!inbox) return
  for (const { slot, place, size, attempt, from, notes } of items) {
    if (from === inboxEvents.FROM_SLOTS) {
      const known = inbox.slots.get(slot)
      if (known) known.attempt = attempt
      continue
    }
    const named = from >= 0 ? shares[from] : undefined
    const share = named && state.shares.get(bindingKey(named.pattern, named.share))
    const line: Line | undefined = from === inboxEvents.FROM_OWN ? inbox : share
    if (line && state.applies(line)) line.remove(place)
    if (slot === 0) continue
    const retained = from === inboxEvents.FROM_RETAINED
    inbox.setSlot({ slot, place, size, notes, attempt, received: false, retained, share })
  }
  for (const walk of walks) inbox.walked(walk)
}

const settled = (state: State, { inbox: name, way, how, slots }: inboxEvents.SlotsSettled): void => {
  const inbox = knownInbox(state, name)
  if (!inbox) return
  for (const slot of slots) {
    if (way === 'in') inbox.incoming.delete(slot)
    else settleSlot(state, inbox, slot, how)
  }
}

const settleSlot = (state: State, inbox: InboxState, number: number, how: inboxEvents.SlotsSettled['how']): void => {
  const slot = inbox.slots.get(number)
  if (!slot) return
  if (how === 'received') {
    slot.received = true
    return
  }
  inbox.slots.delete(number)
  if (how === 'back') giveToShare(state, slot)
}
