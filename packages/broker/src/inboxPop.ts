import type { CommandOf, Context, Delivered, Replies, Slot } from '@sluice/core'
import type { StoredRecord } from '@sluice/remoting'
import { emptyBatch, ViewBatch } from './batch.ts'
import { bindingKey, notesOf } from './bindings.ts'
import type { Core } from './core.ts'
import { staleEpoch } from './errors.ts'
import { inboxOf } from './inboxCommands.ts'
import {
  FROM_OWN,
  FROM_RETAINED,
  FROM_SLOTS,
  type TakenItem,
  writeShareSettled,
  writeSlotsSettled,
  writeTaken,
} from './inboxEvents.ts'
import { type InboxState, type ShareState, SLOT_MAX, type SlotState } from './inboxes.ts'
import type { Place } from './park.ts'
import type { Pointer } from './pointers.ts'
import { type Answer, type Look, nothing, POP_MAX, Pop } from './popPoll.ts'
import { type Walk, walkOn } from './walks.ts'

type PopCommand = CommandOf<'pop'>
type InboxSource = Extract<PopCommand['source'], { kind: 'inbox' }>

interface Picked extends Pointer {
  /** Absent: settled on delivery. */
  readonly slot: SlotState | undefined
  readonly from: 'own' | 'retained' | 'slots' | ShareState
  readonly attempt: number
}

/** What one pop takes. */
interface Taken {
  readonly picked: readonly Picked[]
  /** Those that went on. */
  readonly walks: readonly Walk[]
}

/**
 * Takes up to `max` messages: what was out before, up to `most` of what is retained, then what waits, its own and of its shares
 * in turns.
 */
const pick = (core: Core, inbox: InboxState, max: number, keep: boolean, most: number): Taken => {
  const picked: Picked[] = []
  while (picked.length < max) {
    const one = again(inbox)
    if (!one) break
    picked.push(one)
  }
  const room = Math.min(most, max - picked.length, keep ? SLOT_MAX - inbox.slots.size : max)
  const walks = room > 0 ? walk(core, inbox, room, keep, picked) : none
  while (picked.length < max && !inbox.isWalking) {
    const one = fresh(inbox, keep)
    if (!one) break
    picked.push(one)
  }
  return { picked, walks }
}

const none: readonly Walk[] = []

/** @returns the walks that went on */
const walk = ({ state, turns }: Core, inbox: InboxState, room: number, keep: boolean, picked: Picked[]) => {
  const { found, walks, cost } = walkOn(inbox.walks, state.retained, room)
  turns.spend(cost)
  for (const { one, walk } of found) {
    const note = inbox.binding(bindingKey(walk.pattern, undefined))?.binding.note
    const notes = note === undefined ? undefined : notesOf(note)
    picked.push(pickedFrom(inbox, 'retained', { place: one.place, size: one.size, notes }, keep ? inbox.freeSlot() : 0))
  }
  return walks
}

const again = (inbox: InboxState): Picked | undefined => {
  for (;;) {
    const slot = inbox.nextAgain()
    if (!slot) return undefined
    if (inbox.slots.get(slot.slot) !== slot) continue
    const { place, size, notes } = slot
    return { place, size, notes, slot, from: 'slots', attempt: ++slot.attempt }
  }
}

const fresh = (inbox: InboxState, keep: boolean): Picked | undefined => {
  const line = inbox.nextLine()
  if (!line) return undefined
  const number = keep ? inbox.freeSlot() : 0
  if (keep && number === 0) return undefined
  return pickedFrom(inbox, line === inbox ? 'own' : (line as ShareState), line.take(), number)
}

/** @param number of its slot; 0: it is settled on delivery */
const pickedFrom = (
  inbox: InboxState,
  from: Picked['from'],
  { place, size, notes }: Pointer,
  number: number,
): Picked => {
  if (number === 0) return { place, size, notes, slot: undefined, from, attempt: 1 }
  const share = typeof from === 'string' ? undefined : from
  const retained = from === 'retained'
  const slot: SlotState = { place, size, notes, slot: number, attempt: 1, received: false, retained, share }
  inbox.setSlot(slot)
  return { place, size, notes, slot, from, attempt: 1 }
}

/** Not waited for on the disk: after a power cut the messages are there again. */
const writeDown = (core: Core, inbox: InboxState, { picked, walks }: Taken): void => {
  if (!inbox.persistent) {
    if (inbox.shares.size > 0)
      settleShares(
        core,
        picked.filter(({ slot }) => slot === undefined),
      )
    return
  }
  if (picked.length === 0 && !walks.some(({ isOver }) => isOver)) return
  const shares = [...new Set(picked.flatMap(({ from }) => (typeof from === 'string' ? [] : [from])))]
  const fromOf = (from: Picked['from']): number => {
    if (from === 'own') return FROM_OWN
    if (from === 'retained') return FROM_RETAINED
    return from === 'slots' ? FROM_SLOTS : shares.indexOf(from)
  }
  const items = picked.map(({ slot, place, size, notes, from, attempt }): TakenItem => {
    return { slot: slot?.slot ?? 0, place, size, attempt, from: fromOf(from), notes }
  })
  core.log.append(
    writeTaken({ inbox: inbox.name, shares: shares.map(({ share, pattern }) => ({ share, pattern })), items, walks }),
  )
}

/** What an inbox that is not written down has drawn from shares is gone from them only when it is settled. */
export const settleShares = (
  core: Core,
  drawn: readonly { readonly from: Picked['from']; readonly place: number }[],
): void => {
  const places = new Map<ShareState, number[]>()
  for (const { from, place } of drawn) {
    if (typeof from === 'string') continue
    const list = places.get(from)
    if (list) list.push(place)
    else places.set(from, [place])
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

const seldom = (one: Delivered, isRetained: boolean, notes: readonly string[] | undefined): Delivered => ({
  ...one,
  ...(isRetained && { retained: true }),
  ...(notes && { notes }),
})

/** What nearly all deliveries are is made in one piece: what is put on later stands apart from its object. */
const deliveredOf = (core: Core, { epoch, name }: InboxState, picked: Picked, message: StoredRecord): Delivered => {
  const { slot, from, attempt, notes } = picked
  const isRetained = slot?.retained || from === 'retained'
  if (!slot) return isRetained || !notes ? seldom({ message, attempt }, isRetained, notes) : { message, attempt, notes }
  const receipt: Slot = { of: 'inbox', node: core.settings.node, inbox: name, epoch, way: 'out', slot: slot.slot }
  if (slot.received) return seldom({ message, attempt, receipt, received: true }, isRetained, notes)
  if (isRetained || !notes) return seldom({ message, attempt, receipt }, isRetained, notes)
  return { message, attempt, receipt, notes }
}

/** Woken once by all that became visible together, and takes as much of it as it may. */
class InboxPop extends Pop {
  readonly #inbox: InboxState
  readonly #epoch: number
  readonly #max: number
  readonly #keep: boolean

  constructor(core: Core, inbox: InboxState, command: PopCommand, context: Context, answer: Answer) {
    super(core, command, context, answer)
    this.#inbox = inbox
    this.#epoch = inbox.epoch
    this.#max = Math.min(command.max, POP_MAX)
    this.#keep = command.invisible !== 0
  }

  protected get place(): Place {
    return this.#inbox
  }

  /** What came while the last look waited. */
  protected override get isThereMore(): boolean {
    return this.#inbox.hasVisible && !this.#isFull
  }

  get #isFull(): boolean {
    return this.#keep && this.#inbox.slots.size >= SLOT_MAX
  }

  protected look(wasWoken: boolean): Look | Promise<Look> {
    const inbox = this.#inbox
    this.checkEpoch()
    if (wasWoken && inbox.session === undefined) return nothing
    if (this.#max === 0) return inbox.hasVisible ? { batch: emptyBatch, more: true } : undefined
    return inbox.isWalking ? this.#walk() : this.#take(0)
  }

  /** A page of what is retained in each turn that it gets, until there is something. */
  async #walk(): Promise<Look> {
    const { turns, parking } = this.core
    while (!this.signal?.aborted && !parking.isClosed) {
      const room = turns.room()
      const most = typeof room === 'number' ? room : await room
      this.checkEpoch()
      const found = this.#take(most)
      const reply = found instanceof Promise ? await found : found
      if (reply || !this.#inbox.isWalking || this.#isFull) return reply
    }
    return undefined
  }

  /** @param most of what is retained */
  #take(most: number): Look | Promise<Look> {
    const inbox = this.#inbox
    for (;;) {
      const taken = pick(this.core, inbox, this.#max, this.#keep, most)
      const { picked } = taken
      writeDown(this.core, inbox, taken)
      if (picked.length === 0) return undefined
      // A view of each page would be kept until it is old: of what is far from over.
      const found = this.core.look(picked, inbox.isWalking)
      if (!Array.isArray(found) || (inbox.persistent && this.#keep)) return this.kept(picked, found)
      const reply = this.given(picked, found)
      if (reply || inbox.isWalking) return reply
    }
  }

  /** A client that comes back after a kill finds its numbers as it knew them. */
  protected async kept(picked: readonly Picked[], found: Found | Promise<Found>): Promise<Look> {
    const views = Array.isArray(found) ? found : await found
    if (this.#inbox.persistent && this.#keep) await this.core.log.kept()
    // What was picked keeps its slot and goes to who opened the inbox meanwhile.
    this.checkEpoch()
    return this.given(picked, views) ?? (this.#inbox.isWalking ? undefined : this.look(false))
  }

  protected checkEpoch(): void {
    if (this.#inbox.epoch !== this.#epoch || this.#inbox.ended) throw staleEpoch()
  }

  protected given(picked: readonly Picked[], views: Found): Look {
    const { core } = this
    const inbox = this.#inbox
    const now = core.clock.now()
    const delivered: Delivered[] = []
    const gone: Picked[] = []
    for (let at = 0; at < picked.length; at++) {
      const one = picked[at]!
      const message = views[at]
      const expiresAt = message?.expiresAt
      // A client that has the message already is told to the end, however old it is.
      const over = expiresAt !== undefined && expiresAt <= now && one.attempt === 1 && !one.slot?.received
      if (message && !over) delivered.push(deliveredOf(core, inbox, one, message))
      // Its number must not be given to another: the client takes that for the same message.
      else if (!one.slot?.received) gone.push(one)
    }
    if (gone.length > 0) drop(core, inbox, gone)
    return delivered.length > 0 ? { batch: new ViewBatch(delivered), more: inbox.hasVisible } : undefined
  }
}

type Found = readonly (StoredRecord | undefined)[]

/** @throws Fault 'notFound' about 'inbox', 'conflict' about 'epoch', 'limit' about 'poll' */
export const popInbox = (
  core: Core,
  command: PopCommand,
  source: InboxSource,
  context: Context,
): Promise<Replies['pop']> => {
  try {
    core.log.admit()
    const inbox = inboxOf(core, source.inbox, source.epoch)
    return new Promise((answer) => void new InboxPop(core, inbox, command, context, answer).run())
  } catch (error) {
    return Promise.reject(error)
  }
}
