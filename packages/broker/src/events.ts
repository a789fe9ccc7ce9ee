import type { EpochMs, GroupSpec, Ms, Offset, Stored, TopicSpec } from '@sluice/core'
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

export const begin = (kind: number): BytesWriter => new BytesWriter().u32(kind).u32(CONTROL)

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

const putStored = (writer: BytesWriter, { id, queue, offset, place, half, recallHandle }: Stored): BytesWriter =>
  writer
    .text(id)
    .text(queue.topic)
    .number(queue.index)
    .number(offset)
    .number(place)
    .maybe(half?.group)
    .maybe(recallHandle)
const takeStored = (body: BytesReader, node: string): Stored => {
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

export const putAnswer = (writer: BytesWriter, stored: readonly Stored[]): BytesWriter => {
  writer.number(stored.length)
  for (const one of stored) putStored(writer, one)
  return writer
}
export const takeAnswer = (body: BytesReader, node: string): readonly Stored[] =>
  body.list(() => takeStored(body, node))

/** The answer to a publish that may be repeated: under a slot of an inbox, or under a key until a time. */
export interface Incoming {
  readonly inbox: string
  readonly slot: number
  readonly stored: readonly Stored[]
}
export const writeIncoming = ({ inbox, slot, stored }: Incoming): Buffer =>
  putAnswer(begin(INCOMING).text(inbox).number(slot), stored).done()
export const readIncoming = (body: BytesReader, node: string): Incoming => ({
  inbox: body.text(),
  slot: body.number(),
  stored: takeAnswer(body, node),
})
export interface OnceKept {
  readonly key: string
  readonly until: EpochMs
  readonly stored: readonly Stored[]
}
export const writeOnce = ({ key, until, stored }: OnceKept): Buffer =>
  putAnswer(begin(ONCE).text(key).number(until), stored).done()
export const readOnce = (body: BytesReader, node: string): OnceKept => ({
  key: body.text(),
  until: body.number(),
  stored: takeAnswer(body, node),
})
