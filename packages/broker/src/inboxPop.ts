import type { CommandOf, Context, Delivered, Replies, Slot } from '@sluice/core'
import { emptyBatch, RecordBatch } from './batch.ts'
import type { Core } from './core.ts'
import { staleEpoch } from './errors.ts'
import {
  FROM_OWN,
  FROM_RETAINED,
  FROM_SLOTS,
  type TakenItem,
  writeShareSettled,
  writeSlotsSettled,
  writeTaken,
} from './events.ts'
import { inboxOf } from './inboxCommands.ts'
import type { InboxState, ShareState, SlotState } from './inboxes.ts'
import { park } from './park.ts'
import type { Pointer } from './pointers.ts'
import { POP_MAX } from './popPoll.ts'

type PopCommand = CommandOf<'pop'>
type InboxSource = Extract<PopCommand['source'], { kind: 'inbox' }>

interface Picked {
  /** Absent: settled on delivery. */
  readonly slot: SlotState | undefined
  readonly pointer: Pointer
  readonly from: 'own' | 'retained' | 'slots' | ShareState
  readonly attempt: number
}

/** Takes up to `max` messages: what was out before, what is retained, then what waits, its own and of its shares in turns. */
const pick = (inbox: InboxState, max: number, keep: boolean): Picked[] => {
  const picked: Picked[] = []
  while (picked.length < max) {
    const one = again(inbox) ?? fresh(inbox, keep)
    if (!one) break
    picked.push(one)
  }
  return picked
}

const again = (inbox: InboxState): Picked | undefined => {
  for (;;) {
    const slot = inbox.redeliver.shift()
    if (!slot) return undefined
    if (inbox.slots.get(slot.slot) !== slot) continue
    slot.attempt++
    return { slot, pointer: slot, from: 'slots', attempt: slot.attempt }
  }
}

const fresh = (inbox: InboxState, keep: boolean): Picked | undefined => {
  const number = keep ? inbox.freeSlot() : 0
  if (keep && number === 0) return undefined
  const found = next(inbox)
  if (!found) return undefined
  const { pointer, from } = found
  if (!keep) return { slot: undefined, pointer, from, attempt: 1 }
  const share = typeof from === 'string' ? undefined : from
  const slot: SlotState = {
    ...pointer,
    slot: number,
    attempt: 1,
    received: false,
    retained: from === 'retained',
    share,
  }
  inbox.slots.set(number, slot)
  return { slot, pointer, from, attempt: 1 }
}

const next = (inbox: InboxState): { pointer: Pointer; from: 'own' | 'retained' | ShareState } | undefined => {
  const retained = inbox.retained.shift()
  if (retained) return { pointer: retained, from: 'retained' }
  const lines: (InboxState | ShareState)[] = [inbox, ...inbox.shares]
  for (let tries = lines.length; tries > 0; tries--) {
    const line = lines[inbox.turn++ % lines.length]!
    if (line.visible > 0) return { pointer: line.take(), from: line === inbox ? 'own' : (line as ShareState) }
  }
  return undefined
}

/** Not waited for on the disk: after a power cut the messages are there again. */
const writeDown = (core: Core, inbox: InboxState, picked: readonly Picked[]): void => {
  if (!inbox.persistent) {
    settleShares(
      core,
      picked.filter(({ slot }) => slot === undefined),
    )
    return
  }
  const shares = [...new Set(picked.flatMap(({ from }) => (typeof from === 'string' ? [] : [from])))]
  const fromOf = (from: Picked['from']): number => {
    if (from === 'own') return FROM_OWN
    if (from === 'retained') return FROM_RETAINED
    return from === 'slots' ? FROM_SLOTS : shares.indexOf(from)
  }
  const items = picked.map(({ slot, pointer: { place, size, notes }, from, attempt }): TakenItem => {
    return { slot: slot?.slot ?? 0, place, size, attempt, from: fromOf(from), notes }
  })
  core.log.append(
    writeTaken({ inbox: inbox.name, shares: shares.map(({ share, pattern }) => ({ share, pattern })), items }),
  )
}

/** What an inbox that is not written down has drawn from shares is gone from them only when it is settled. */
export const settleShares = (
  core: Core,
  drawn: readonly { readonly from: Picked['from']; readonly pointer: Pointer }[],
): void => {
  const places = new Map<ShareState, number[]>()
  for (const { from, pointer } of drawn) {
    if (typeof from === 'string') continue
    const list = places.get(from)
    if (list) list.push(pointer.place)
    else places.set(from, [pointer.place])
  }
  for (const [{ share, pattern }, list] of places) core.log.append(writeShareSettled({ share, pattern, places: list }))
}

const drop = (core: Core, inbox: InboxState, gone: readonly Picked[]): void => {
  const slots = gone.flatMap(({ slot }) => (slot ? [slot] : []))
  if (slots.length === 0) return
  for (const slot of slots) inbox.slots.delete(slot.slot)
  if (inbox.persistent)
    core.log.append(
      writeSlotsSettled({ inbox: inbox.name, way: 'out', how: 'accept', slots: slots.map(({ slot }) => slot) }),
    )
  else settleShares(core, gone)
}

const deliver = (
  core: Core,
  inbox: InboxState,
  kept: readonly (Picked & { record: Buffer })[],
): Replies['pop']['batch'] => {
  if (kept.length === 0) return emptyBatch
  const { epoch, name } = inbox
  const { node } = core.settings
  return new RecordBatch(
    kept.map(({ record }) => record),
    (record, index): Delivered => {
      const { slot, pointer, from, attempt } = kept[index]!
      const receipt: Slot | undefined = slot && { of: 'inbox', node, inbox: name, epoch, way: 'out', slot: slot.slot }
      return {
        message: core.view(record, pointer.place),
        attempt,
        ...(receipt && { receipt }),
        ...(slot?.received && { received: true }),
        ...((slot?.retained || from === 'retained') && { retained: true }),
        ...(pointer.notes && { notes: pointer.notes }),
      }
    },
  )
}

const takeOnce = async (
  core: Core,
  inbox: InboxState,
  max: number,
  keep: boolean,
): Promise<Replies['pop'] | undefined> => {
  if (max === 0) return inbox.hasVisible ? { batch: emptyBatch, more: true } : undefined
  const picked = pick(inbox, max, keep)
  if (picked.length === 0) return undefined
  writeDown(core, inbox, picked)
  const { epoch } = inbox
  const found = core.read(picked.map(({ pointer }) => pointer))
  const records = Array.isArray(found) ? found : await found
  // A client that comes back after a kill finds its numbers as it knew them.
  if (inbox.persistent && keep) await core.log.kept()
  // What was picked keeps its slot and goes to who opened the inbox meanwhile.
  if (inbox.epoch !== epoch || inbox.ended) throw staleEpoch()
  const now = core.clock.now()
  const kept: (Picked & { record: Buffer })[] = []
  const gone: Picked[] = []
  picked.forEach((one, index) => {
    const record = records[index]
    const expiresAt = record && core.view(record, one.pointer.place).expiresAt
    // A client that has the message already is told to the end, however old it is.
    const over = expiresAt !== undefined && expiresAt <= now && one.attempt === 1 && !one.slot?.received
    if (record && !over) kept.push({ ...one, record })
    else gone.push(one)
  })
  drop(core, inbox, gone)
  return { batch: deliver(core, inbox, kept), more: inbox.hasVisible }
}

export const popInbox = async (
  core: Core,
  command: PopCommand,
  source: InboxSource,
  context: Context,
): Promise<Replies['pop']> => {
  core.log.admit()
  const inbox = inboxOf(core, source.inbox, source.epoch)
  const keep = command.invisible !== 0
  const until = Math.min(core.clock.now() + command.wait, context.deadline)
  const max = Math.min(command.max, POP_MAX)
  while (!context.signal?.aborted) {
    const reply = await takeOnce(core, inbox, max, keep)
    if (reply && (reply.batch.count > 0 || max === 0)) return reply
    if (reply) continue
    if (core.clock.now() >= until || context.signal?.aborted || !(await arrival(core, inbox, until, context.signal)))
      break
    if (inbox.epoch !== source.epoch || inbox.ended) throw staleEpoch()
    if (inbox.session === undefined) break
  }
  return { batch: emptyBatch, more: false }
}

const arrival = (core: Core, inbox: InboxState, until: number, signal: AbortSignal | undefined): Promise<boolean> =>
  park(core, until, signal, inbox)
