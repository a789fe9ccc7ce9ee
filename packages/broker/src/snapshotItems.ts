import type { Binding, GroupSpec, TopicSpec } from '@sluice/core'
import { bindingKey } from './bindings.ts'
import type { BytesReader, BytesWriter } from './bytes.ts'
import type { Cursor } from './cursor.ts'
import { putAnswer, takeAnswer } from './events.ts'
import type { GroupState } from './groups.ts'
import type { HalfState } from './halves.ts'
import { putNotes, readNotes } from './inboxEvents.ts'
import type { InboxState, Line, ShareState, SlotState } from './inboxes.ts'
import { bind, bindShare, join } from './inboxState.ts'
import type { Pointer } from './pointers.ts'
import type { Retained } from './retained.ts'
import type { Delayed, Kept, PendingWill, State } from './state.ts'
import type { TopicState } from './topics.ts'
import { Walk } from './walks.ts'

/** What one thing of the state is in a snapshot. What stands in queues is in the sidecars. */

/** @param position how far the log reaches that it speaks of: what its queues have from there on is not counted */
export const putTopic = (writer: BytesWriter, { spec, created, queues }: TopicState, position: number): void => {
  const { topic, queues: count, type, ...more } = spec
  writer.text(topic).number(count).text(type)
  writer.maybe(spec.retain || spec.attributes ? JSON.stringify(more) : undefined)
  writer.number(created).number(queues.length)
  for (const { records } of queues) writer.number(records.min).number(records.reach(position))
}

/** @returns how far its queues reach */
export const takeTopic = (reader: BytesReader, state: State): readonly [topic: TopicState, ends: readonly number[]] => {
  const spec = { topic: reader.text(), queues: reader.number(), type: reader.text() as TopicSpec['type'] }
  const more = reader.maybe()
  const topic = state.putTopic(more === undefined ? spec : { ...spec, ...JSON.parse(more) }, reader.number())
  const ends = reader.list((index) => {
    const min = reader.number()
    topic.queues[index]?.records.startAt(min)
    return reader.number()
  })
  return [topic, ends]
}

export const putGroup = (writer: BytesWriter, group: GroupState): void => {
  writer
    .text(group.spec.group)
    .maybe(group.explicit ? JSON.stringify(group.spec) : undefined)
    .number(group.topics.size)
  for (const { topic, cursors } of group.topics.values()) {
    writer.text(topic).number(cursors.size)
    for (const [queue, cursor] of cursors) putCursor(writer.number(queue), cursor)
  }
}

const putCursor = (writer: BytesWriter, { committed, next, held, levels }: Cursor): void => {
  writer.number(committed).number(next).number(held.size)
  for (const one of held.values()) {
    writer.number(one.offset).number(one.poppedAt).number(one.invisible).number(one.attempt).number(one.next)
    writer.maybe(one.session)
  }
  writer.number(levels.length)
  for (const one of levels) writer.number(one.level).number(one.next)
}

export const takeGroup = (reader: BytesReader, state: State, since: number): void => {
  const group = state.groupAgain(reader.text())
  const spec = reader.maybe()
  if (spec !== undefined) {
    group.spec = JSON.parse(spec) as GroupSpec
    group.explicit = true
  }
  reader.list(() => {
    const groupTopic = group.topic(reader.text())
    reader.list(() => {
      const cursor = groupTopic.cursor(reader.number())
      takeCursor(reader, cursor)
      state.isSince(cursor, since)
    })
  })
}

const takeCursor = (reader: BytesReader, cursor: Cursor): void => {
  cursor.committed = reader.number()
  cursor.next = reader.number()
  reader.list(() =>
    cursor.hold({
      offset: reader.number(),
      poppedAt: reader.number(),
      invisible: reader.number(),
      attempt: reader.number(),
      next: reader.number(),
      session: reader.maybe(),
    }),
  )
  reader.list(() => cursor.took(reader.number(), reader.number()))
}

export const putDelayed = (writer: BytesWriter, { key, place, size, at, queue }: Delayed): void => {
  writer.number(key).number(place).number(size).number(at).number(queue)
}
export const takeDelayed = (reader: BytesReader, state: State): void =>
  state.delay({
    key: reader.number(),
    place: reader.number(),
    size: reader.number(),
    at: reader.number(),
    queue: reader.number(),
  })

export const putHalf = (writer: BytesWriter, half: HalfState): void => {
  writer.number(half.key).number(half.place).number(half.size).text(half.topic).text(half.group).text(half.id)
  writer.number(half.queue).maybe(half.publisher).number(half.storedAt).number(half.checks).number(half.checkAt)
}
export const takeHalf = (reader: BytesReader, { halves }: State): void =>
  halves.add({
    key: reader.number(),
    place: reader.number(),
    size: reader.number(),
    topic: reader.text(),
    group: reader.text(),
    id: reader.text(),
    queue: reader.number(),
    publisher: reader.maybe(),
    storedAt: reader.number(),
    checks: reader.number(),
    checkAt: reader.number(),
    wanted: false,
    ending: false,
  })

export const putRetained = (writer: BytesWriter, { full, place, size, at }: Retained): void => {
  writer.text(full).number(place).number(size).number(at)
}
export const takeRetained = (reader: BytesReader, state: State): void => {
  state.retained.set(reader.text(), reader.number(), reader.number(), reader.number())
}

export const putOnce = (writer: BytesWriter, [key, { until, stored }]: readonly [string, Kept]): void => {
  putAnswer(writer.text(key).number(until), stored)
}
export const takeOnce = (reader: BytesReader, state: State): void =>
  state.keep(reader.text(), reader.number(), { stored: takeAnswer(reader, state.node) })

export const putWill = (
  writer: BytesWriter,
  [name, { record, client, fireAt }]: readonly [string, PendingWill],
): void => {
  writer.text(name).bytes(record).text(client).number(fireAt)
}
export const takeWill = (reader: BytesReader, state: State, since: number): void => {
  const name = reader.text()
  const will = { record: Buffer.from(reader.bytes()), client: reader.text(), fireAt: reader.number() }
  state.wills.set(name, will)
  state.isSince(will, since)
}

const putPointer = (writer: BytesWriter, { place, size, notes }: Pointer): BytesWriter => {
  putNotes(writer.number(place).number(size), notes)
  return writer
}
const takePointer = (reader: BytesReader): Pointer => ({
  place: reader.number(),
  size: reader.number(),
  notes: readNotes(reader),
})

const putLine = (writer: BytesWriter, pointers: readonly Pointer[]): void => {
  writer.number(pointers.length)
  for (const pointer of pointers) putPointer(writer, pointer)
}
const takeLine = (reader: BytesReader, line: Line): void => {
  reader.list(() => {
    const { place, size, notes } = takePointer(reader)
    line.push(place, size, notes, Number.POSITIVE_INFINITY)
  })
}
/** What inboxes that are not written down hold of shares now: it stands in them again. */
export const drawnNow = (state: State): ReadonlyMap<ShareState, readonly Pointer[]> => {
  const drawn = new Map<ShareState, Pointer[]>()
  for (const inbox of state.inboxes.values()) {
    if (inbox.persistent || inbox.shares.size === 0) continue
    for (const slot of inbox.slots.values()) {
      if (!slot.share) continue
      const list = drawn.get(slot.share)
      if (list) list.push(slot)
      else drawn.set(slot.share, [slot])
    }
  }
  return drawn
}

export const putShare = (writer: BytesWriter, share: ShareState, drawn: readonly Pointer[]): void => {
  writer.text(JSON.stringify(share.bound!.binding)).number(share.leftAt)
  putLine(
    writer,
    [...share.all(), ...drawn].sort((a, b) => a.place - b.place),
  )
}
export const takeShare = (reader: BytesReader, state: State, since: number): void => {
  const share = bindShare(state, JSON.parse(reader.text()) as Binding)
  share.leftAt = reader.number()
  takeLine(reader, share)
  state.isSince(share, since)
}

export const putInbox = (writer: BytesWriter, inbox: InboxState): void => {
  writer.text(inbox.name).number(inbox.epoch).text(inbox.client).number(inbox.expiry).number(inbox.leftAt)
  writer.flag(inbox.will !== undefined)
  if (inbox.will) writer.bytes(inbox.will.record).number(inbox.will.after)
  // One that is not kept comes back only for the sake of its will.
  const { persistent } = inbox
  writer.text(JSON.stringify(persistent ? inbox.bindings.map(({ binding }) => binding) : []))
  putLine(writer, persistent ? inbox.all() : [])
  const walks = persistent ? [...inbox.walks.values()] : []
  writer.number(walks.length)
  for (const { pattern, until, after } of walks) writer.text(pattern).number(until).number(after)
  const slots = persistent ? [...inbox.slots.values()] : []
  writer.number(slots.length)
  for (const slot of slots) {
    putPointer(writer, slot).number(slot.slot).number(slot.attempt).flag(slot.received).flag(slot.retained)
    writer.maybe(slot.share?.share).maybe(slot.share?.pattern)
  }
  writer.number(persistent ? inbox.incoming.size : 0)
  if (persistent) for (const [slot, { stored }] of inbox.incoming) putAnswer(writer.number(slot), stored)
}

export const takeInbox = (reader: BytesReader, state: State, since: number): void => {
  const inbox = state.inbox(reader.text())
  inbox.logged = true
  inbox.epoch = reader.number()
  inbox.client = reader.text()
  inbox.expiry = reader.number()
  inbox.leftAt = reader.number()
  if (reader.flag()) inbox.will = { record: Buffer.from(reader.bytes()), after: reader.number() }
  for (const binding of JSON.parse(reader.text()) as Binding[]) {
    // Shares came before: whose filter and note count stands there, not in the order of inboxes.
    const share = binding.share === undefined ? undefined : state.shares.get(bindingKey(binding.pattern, binding.share))
    if (share) join(inbox, binding, share)
    else bind(state, inbox, { ...binding, retained: 'skip' })
  }
  takeLine(reader, inbox)
  reader.list(() => inbox.walk(new Walk(reader.text(), reader.number(), reader.number())))
  reader.list(() => inbox.setSlot(takeSlot(reader, state)))
  reader.list(() => inbox.answered(reader.number(), { stored: takeAnswer(reader, state.node) }))
  state.isSince(inbox, since)
}

const takeSlot = (reader: BytesReader, state: State): SlotState => {
  const pointer = takePointer(reader)
  const slot = reader.number()
  const attempt = reader.number()
  const received = reader.flag()
  const retained = reader.flag()
  const share = reader.maybe()
  const pattern = reader.maybe()
  const line = share === undefined ? undefined : state.shares.get(bindingKey(pattern ?? '', share))
  return { ...pointer, slot, attempt, received, retained, share: line }
}
