import type { Binding, EpochMs } from '@sluice/core'
import { bindingKey, boundOf } from './bindings.ts'
import { InboxState, type ShareState, type SlotState } from './inboxes.ts'
import type { State } from './state.ts'
import { Walk } from './walks.ts'

/** Changes of inboxes that serving and recovery share. */

/** @returns whether it had a binding of this pattern and share before */
export const bind = (state: State, inbox: InboxState, binding: Binding): boolean => {
  const before = inbox.binding(bindingKey(binding.pattern, binding.share))
  if (binding.share !== undefined) {
    join(inbox, binding, bindShare(state, binding))
    return before !== undefined
  }
  const bound = boundOf(binding, inbox)
  if (before) state.bindings.remove(before)
  state.bindings.add(bound)
  inbox.setBinding(bound)
  const isWanted = binding.retained === 'send' || (binding.retained === 'ifNew' && !before)
  if (isWanted && state.retained.size > 0) inbox.walk(new Walk(binding.pattern, state.retained.newest))
  return before !== undefined
}

/** @param share that is bound already: its filter and note stay */
export const join = (inbox: InboxState, binding: Binding, share: ShareState): void => {
  share.members.add(inbox)
  share.leftAt = 0
  inbox.draw(share)
  inbox.setBinding(boundOf(binding, share))
}

/** The share of a binding, itself bound to the pattern; the newest filter and note count. */
export const bindShare = (state: State, binding: Binding) => {
  const share = state.share(binding.share!, binding.pattern)
  if (share.bound) state.bindings.remove(share.bound)
  share.bound = boundOf(binding, share)
  state.bindings.add(share.bound)
  return share
}

export const unbind = (state: State, inbox: InboxState, pattern: string, share: string | undefined): boolean => {
  const key = bindingKey(pattern, share)
  const bound = inbox.binding(key)
  if (!bound) return false
  inbox.deleteBinding(key)
  if (bound.target instanceof InboxState) {
    state.bindings.remove(bound)
    inbox.walks.delete(pattern)
  } else {
    inbox.shares.delete(bound.target)
    bound.target.members.delete(inbox)
  }
  return true
}

/** A share that nobody draws from any more ends with its messages. */
export const endShare = (state: State, key: string): void => {
  const share = state.shares.get(key)
  if (!share) return
  state.shares.delete(key)
  if (share.bound) state.bindings.remove(share.bound)
}

/** What it drew from shares and did not settle goes back to them. */
export const endInbox = (state: State, inbox: InboxState, now: EpochMs): void => {
  for (const bound of inbox.bindings) {
    const { pattern, share } = bound.binding
    unbind(state, inbox, pattern, share)
    if (!(bound.target instanceof InboxState) && bound.target.members.size === 0) bound.target.leftAt = now
  }
  for (const slot of inbox.slots.values()) giveToShare(state, slot)
  inbox.slots.clear()
  inbox.ended = true
  inbox.unexpire?.()
  inbox.unfire?.()
  if (state.inboxes.get(inbox.name) === inbox) state.inboxes.delete(inbox.name)
}

export const giveToShare = (state: State, { share, place, size, notes }: SlotState): void => {
  if (!share || !state.applies(share)) return
  share.back({ place, size, notes })
  share.wake()
}
