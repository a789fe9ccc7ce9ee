import type { Binding, EpochMs, GroupSpec, Ms, Offset, Stored, TopicSpec } from '@sluice/core'
import { BytesReader, BytesWriter } from './bytes.ts'
import { CONTROL } from './entry.ts'

/**
 * Control events: every change of state but the records themselves.
 *   payload = u32 kind · u32 CONTROL · body as written below
 */
export const SYNCED = 1 // f64: everything below this position is on the disk
export const TOPIC_PUT = 2
export const TOPIC_DELETED = 3
export const GROUP_PUT = 4
export const GROUP_DELETED = 5
export const OFFSET = 6
export const POPPED = 7
export const SETTLED = 8
export const RENEWED = 9
/** What is special about the record that follows in the chain. */
export const PRELUDE = 10
export const DELAY_DONE = 11
export const INBOX_OPENED = 12
export const INBOX_BOUND = 13
export const INBOX_LEFT = 14
export const INBOX_TAKEN = 15
export const INBOX_SETTLED = 16
export const SHARE_SETTLED = 17
export const INCOMING = 18
export const ONCE = 19
export const WILL_DONE = 20
export const SHARE_GONE = 21
/** A half message was committed, rolled back or parked. */
export const HALF_DONE = 22
/** Its producer was asked, and when it will be asked next. */
export const HALF_CHECKED = 23

const begin = (kind: number): BytesWriter => new BytesWriter().u32(kind).u32(CONTROL)

export const readEvent = (payload: Buffer): { readonly kind: number; readonly body: BytesReader } => ({
  kind: payload.readUInt32BE(0),
  body: new BytesReader(payload, 8),
})

// Seldom written and rich in optional fields: their bodies are JSON in a text.
export const writeTopic = (spec: TopicSpec): Buffer => begin(TOPIC_PUT).text(JSON.stringify(spec)).done()
export const writeGroup = (spec: GroupSpec): Buffer => begin(GROUP_PUT).text(JSON.stringify(spec)).done()
export const writeTopicDeleted = (topic: string): Buffer => begin(TOPIC_DELETED).text(topic).done()
export const writeGroupDeleted = (group: string): Buffer => begin(GROUP_DELETED).text(group).done()

export interface Where {
  readonly group: string
  readonly topic: string
  readonly queue: number
}
const where = (writer: BytesWriter, { group, topic, queue }: Where): BytesWriter =>
  writer.text(group).text(topic).number(queue)
export const readWhere = (body: BytesReader): Where => ({
  group: body.text(),
  topic: body.text(),
  queue: body.number(),
})

export const writeOffset = (at: Where, offset: Offset, reset: boolean): Buffer =>
  where(begin(OFFSET), at).number(offset).flag(reset).done()

/** One pop of one queue. `session` instead of a time: held as long as it lives. */
export interface Popped extends Where {
  /** The queue was never popped below it before this pop is done. */
  readonly next: Offset
  readonly poppedAt: EpochMs
  readonly invisible: Ms
  readonly session: string | undefined
  readonly items: readonly { readonly offset: Offset; readonly attempt: number; readonly poppedAt: EpochMs }[]
  /** Of priorities that were popped before their turn: none below it is there any more. */
  readonly levels: readonly { readonly level: number; readonly next: Offset }[]
}
export const writePopped = (popped: Popped): Buffer => {
  const writer = where(begin(POPPED), popped).number(popped.next).number(popped.poppedAt).number(popped.invisible)
  writer.maybe(popped.session).number(popped.items.length)
  for (const { offset, attempt, poppedAt } of popped.items)
    writer
      .number(offset)
      .number(attempt)
      .number(poppedAt - popped.poppedAt)
  writer.number(popped.levels.length)
  for (const { level, next } of popped.levels) writer.number(level).number(next)
  return writer.done()
}
export const readPopped = (body: BytesReader): Popped => {
  const at = readWhere(body)
  const next = body.number()
  const poppedAt = body.number()
  const invisible = body.number()
  const session = body.maybe()
  const items = body.list(() => ({
    offset: body.number(),
    attempt: body.number(),
    poppedAt: poppedAt + body.number(),
  }))
  const levels = body.list(() => ({ level: body.number(), next: body.number() }))
  return { ...at, next, poppedAt, invisible, session, items, levels }
}

export const writeSettled = (at: Where, offsets: readonly Offset[]): Buffer => {
  const writer = where(begin(SETTLED), at).number(offsets.length)
  for (const offset of offsets) writer.number(offset)
  return writer.done()
}

export interface Renewed extends Where {
  readonly offset: Offset
  readonly poppedAt: EpochMs
  readonly invisible: Ms
  readonly attempt: number
  readonly next: number
}
export const writeRenewed = (renewed: Renewed): Buffer =>
  where(begin(RENEWED), renewed)
    .number(renewed.offset)
    .number(renewed.poppedAt)
    .number(renewed.invisible)
    .number(renewed.attempt)
    .number(renewed.next)
    .done()
export const readRenewed = (body: BytesReader): Renewed => ({
  ...readWhere(body),
  offset: body.number(),
  poppedAt: body.number(),
  invisible: body.number(),
  attempt: body.number(),
  next: body.number(),
})

/** Absent fields: nothing special. A record with `deliverAt`, `into`, `half` or `copy` stands in no queue. */
export interface Prelude {
  /** Not before this time. */
  readonly deliverAt?: EpochMs
  /** With deliverAt or half: the queue that its producer chose. */
  readonly queue?: number
  /** For this inbox alone. */
  readonly into?: string
  /** A noLocal binding of this client left the record out. */
  readonly publisher?: string
  /** A record written again because its segment goes: of the retained message at this place, or of the one that was first stored there. */
  readonly copy?: Offset
  /** A half message of this producer group, first asked about after so long. */
  readonly half?: { readonly group: string; readonly checkAfter: Ms }
}

/** Whether the record that follows stands in no queue. */
export const isBeside = ({ deliverAt, into, copy, half }: Prelude): boolean =>
  deliverAt !== undefined || into !== undefined || copy !== undefined || half !== undefined

export const writePrelude = (prelude: Prelude): Buffer =>
  begin(PRELUDE)
    .number(prelude.deliverAt ?? -1)
    .number(prelude.queue ?? -1)
    .maybe(prelude.into)
    .maybe(prelude.publisher)
    .number(prelude.copy ?? -1)
    .maybe(prelude.half?.group)
    .number(prelude.half?.checkAfter ?? -1)
    .done()
export const readPrelude = (body: BytesReader): Prelude => {
  const deliverAt = body.number()
  const queue = body.number()
  const into = body.maybe()
  const publisher = body.maybe()
  const copy = body.number()
  const group = body.maybe()
  const checkAfter = body.number()
  return {
    ...(deliverAt >= 0 && { deliverAt }),
    ...(queue >= 0 && { queue }),
    ...(into !== undefined && { into }),
    ...(publisher !== undefined && { publisher }),
    ...(copy >= 0 && { copy }),
    ...(group !== undefined && { half: { group, checkAfter } }),
  }
}

export const writeDelayDone = (key: Offset): Buffer => begin(DELAY_DONE).number(key).done()

export const writeHalfDone = (key: Offset): Buffer => begin(HALF_DONE).number(key).done()
export interface HalfChecked {
  readonly key: Offset
  readonly checks: number
  readonly checkAt: EpochMs
}
export const writeHalfChecked = ({ key, checks, checkAt }: HalfChecked): Buffer =>
  begin(HALF_CHECKED).number(key).number(checks).number(checkAt).done()
export const readHalfChecked = (body: BytesReader): HalfChecked => ({
  key: body.number(),
  checks: body.number(),
  checkAt: body.number(),
})

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

export const putStored = (writer: BytesWriter, { id, queue, offset, place, half, recallHandle }: Stored): BytesWriter =>
  writer
    .text(id)
    .text(queue.topic)
    .number(queue.index)
    .number(offset)
    .number(place)
    .maybe(half?.group)
    .maybe(recallHandle)
export const takeStored = (body: BytesReader, node: string): Stored => {
  const id = body.text()
  const topic = body.text()
  const queue = { topic, node, index: body.number() }
  const offset = body.number()
  const place = body.number()
  const group = body.maybe()
  const recallHandle = body.maybe()
  return {
    id,
    queue,
    offset,
    place,
    ...(group !== undefined && { half: { node, topic, group, id, place, offset } }),
    ...(recallHandle !== undefined && { recallHandle }),
  }
}

/** The answer to a publish that may be repeated: under a slot of an inbox, or under a key until a time. */
export interface Incoming {
  readonly inbox: string
  readonly slot: number
  readonly stored: readonly Stored[]
}
export const writeIncoming = ({ inbox, slot, stored }: Incoming): Buffer => {
  const writer = begin(INCOMING).text(inbox).number(slot).number(stored.length)
  for (const one of stored) putStored(writer, one)
  return writer.done()
}
export const readIncoming = (body: BytesReader, node: string): Incoming => ({
  inbox: body.text(),
  slot: body.number(),
  stored: body.list(() => takeStored(body, node)),
})
export interface OnceKept {
  readonly key: string
  readonly until: EpochMs
  readonly stored: readonly Stored[]
}
export const writeOnce = ({ key, until, stored }: OnceKept): Buffer => {
  const writer = begin(ONCE).text(key).number(until).number(stored.length)
  for (const one of stored) putStored(writer, one)
  return writer.done()
}
export const readOnce = (body: BytesReader, node: string): OnceKept => ({
  key: body.text(),
  until: body.number(),
  stored: body.list(() => takeStored(body, node)),
})

export const writeWillDone = (inbox: string): Buffer => begin(WILL_DONE).text(inbox).done()
