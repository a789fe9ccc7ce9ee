import type { Binding, EpochMs, Ms, Offset } from '@sluice/core'
import type { BytesReader, BytesWriter } from './bytes.ts'
import {
  begin,
  INBOX_BOUND,
  INBOX_LEFT,
  INBOX_OPENED,
  INBOX_SETTLED,
  INBOX_TAKEN,
  SHARE_GONE,
  SHARE_SETTLED,
  WILL_DONE,
} from './events.ts'
import type { Walk } from './walks.ts'

/** Bodies of the events of inboxes and shares: see `events.ts`. */

export interface Opened {
  readonly inbox: string
  readonly epoch: number
  readonly fresh: boolean
  readonly expiry: Ms
  readonly client: string
  readonly will?: { readonly record: Buffer; readonly after: Ms }
}
export const writeOpened = (opened: Opened): Buffer => {
  const writer = begin(INBOX_OPENED).text(opened.inbox).number(opened.epoch).flag(opened.fresh)
  writer
    .number(opened.expiry)
    .text(opened.client)
    .flag(opened.will !== undefined)
  if (opened.will) writer.bytes(opened.will.record).number(opened.will.after)
  return writer.done()
}
export const readOpened = (body: BytesReader): Opened => {
  const opened = {
    inbox: body.text(),
    epoch: body.number(),
    fresh: body.flag(),
    expiry: body.number(),
    client: body.text(),
  }
  return body.flag() ? { ...opened, will: { record: Buffer.from(body.bytes()), after: body.number() } } : opened
}

/** An inbox without a name: bindings of a share whose members are not written down. */
export interface BoundEvent {
  readonly inbox: string
  readonly add: readonly Binding[]
  readonly remove: readonly { readonly pattern: string; readonly share?: string }[]
}
export const writeBound = ({ inbox, add, remove }: BoundEvent): Buffer =>
  begin(INBOX_BOUND).text(inbox).text(JSON.stringify({ add, remove })).done()
export const readBound = (body: BytesReader): BoundEvent => {
  const inbox = body.text()
  return { inbox, ...(JSON.parse(body.text()) as Pick<BoundEvent, 'add' | 'remove'>) }
}

/** Left at a time, to be kept for so long; 0 ends it. */
export interface Left {
  readonly inbox: string
  readonly at: EpochMs
  readonly expiry: Ms
  /** How long after `at` the will is fired; −1: it was, or is not to be. */
  readonly willAfter: Ms
}
export const writeLeft = ({ inbox, at, expiry, willAfter }: Left): Buffer =>
  begin(INBOX_LEFT).text(inbox).number(at).number(expiry).number(willAfter).done()
export const readLeft = (body: BytesReader): Left => ({
  inbox: body.text(),
  at: body.number(),
  expiry: body.number(),
  willAfter: body.number(),
})

/** One pop of a persistent inbox. Each item leaves the line it stood in. */
export interface Taken {
  readonly inbox: string
  readonly shares: readonly { readonly share: string; readonly pattern: string }[]
  readonly items: readonly TakenItem[]
  /** How far it came in what is retained. */
  readonly walks: readonly Pick<Walk, 'pattern' | 'after'>[]
}
export interface TakenItem {
  /** 0: settled on delivery. */
  readonly slot: number
  readonly place: Offset
  readonly size: number
  readonly attempt: number
  /** Index into `shares`, or one of the three below. */
  readonly from: number
  readonly notes: readonly string[] | undefined
}
export const FROM_OWN = -1
export const FROM_RETAINED = -2
export const FROM_SLOTS = -3

export const writeTaken = (taken: Taken): Buffer => {
  const writer = begin(INBOX_TAKEN).text(taken.inbox).number(taken.shares.length)
  for (const { share, pattern } of taken.shares) writer.text(share).text(pattern)
  writer.number(taken.items.length)
  for (const { slot, place, size, attempt, from, notes } of taken.items) {
    writer
      .number(slot)
      .number(place)
      .number(size)
      .number(attempt)
      .number(from + 3)
    putNotes(writer, notes)
  }
  writer.number(taken.walks.length)
  for (const { pattern, after } of taken.walks) writer.text(pattern).number(after)
  return writer.done()
}
export const readTaken = (body: BytesReader): Taken => ({
  inbox: body.text(),
  shares: body.list(() => ({ share: body.text(), pattern: body.text() })),
  items: body.list(() => ({
    slot: body.number(),
    place: body.number(),
    size: body.number(),
    attempt: body.number(),
    from: body.number() - 3,
    notes: readNotes(body),
  })),
  // Logs of before have none.
  walks: body.left > 0 ? body.list(() => ({ pattern: body.text(), after: body.number() })) : [],
})
export const putNotes = (writer: BytesWriter, notes: readonly string[] | undefined): void => {
  writer.number(notes?.length ?? 0)
  for (const note of notes ?? []) writer.text(note)
}
export const readNotes = (body: BytesReader): readonly string[] | undefined => {
  const notes = body.list(() => body.text())
  return notes.length > 0 ? notes : undefined
}

export interface SlotsSettled {
  readonly inbox: string
  readonly way: 'in' | 'out'
  readonly how: 'accept' | 'received' | 'back'
  readonly slots: readonly number[]
}
const hows = ['accept', 'received', 'back'] as const
export const writeSlotsSettled = ({ inbox, way, how, slots }: SlotsSettled): Buffer => {
  const writer = begin(INBOX_SETTLED)
    .text(inbox)
    .flag(way === 'in')
    .byte(hows.indexOf(how))
    .number(slots.length)
  for (const slot of slots) writer.number(slot)
  return writer.done()
}
export const readSlotsSettled = (body: BytesReader): SlotsSettled => ({
  inbox: body.text(),
  way: body.flag() ? 'in' : 'out',
  how: hows[body.byte()]!,
  slots: body.list(() => body.number()),
})

/** Drawn by an inbox that is not written down, and accepted. */
export interface ShareSettled {
  readonly share: string
  readonly pattern: string
  readonly places: readonly Offset[]
}
export const writeShareSettled = ({ share, pattern, places }: ShareSettled): Buffer => {
  const writer = begin(SHARE_SETTLED).text(share).text(pattern).number(places.length)
  for (const place of places) writer.number(place)
  return writer.done()
}
export const readShareSettled = (body: BytesReader): ShareSettled => ({
  share: body.text(),
  pattern: body.text(),
  places: body.list(() => body.number()),
})
export const writeShareGone = (share: string, pattern: string): Buffer =>
  begin(SHARE_GONE).text(share).text(pattern).done()

export const writeWillDone = (inbox: string): Buffer => begin(WILL_DONE).text(inbox).done()
