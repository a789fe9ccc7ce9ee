import { crc32 } from 'node:zlib'
import type { Binding, GroupSpec, Stored, TopicSpec } from '@sluice/core'
import { bindingKey } from './bindings.ts'
import { BytesReader, BytesWriter } from './bytes.ts'
import type { Cursor } from './cursor.ts'
import { putNotes, putStored, readNotes, takeStored } from './events.ts'
import type { InboxState, Line, ShareState, SlotState } from './inboxes.ts'
import { bind, bindShare } from './inboxState.ts'
import type { Pointer } from './pointers.ts'
import type { State } from './state.ts'

/**
 * The state as it is after everything below a position of the log; what stands in queues is in the sidecars.
 *   u32 SNAPSHOT · number version · number position · … · u32 CRC-32 of all before
 */
const SNAPSHOT = 0x534c534e // "SLSN"
const VERSION = 2

export const writeSnapshot = (state: State, position: number): Buffer => {
  const writer = new BytesWriter(64 * 1024).u32(SNAPSHOT).number(VERSION).number(position)
  writer.number(state.storedAt).number(state.epoch)
  writeTopics(writer, state)
  writeGroups(writer, state)
  writer.number(state.delayed.size)
  for (const { key, place, size, at, queue } of state.delayed.values())
    writer.number(key).number(place).number(size).number(at).number(queue)
  writeHalves(writer, state)
  writer.number(state.retained.size)
  for (const [full, { place, size }] of state.retained) writer.text(full).number(place).number(size)
  writer.number(state.once.size)
  for (const [key, { until, stored }] of state.once) putAnswer(writer.text(key).number(until), stored)
  writeShares(writer, state)
  const inboxes = [...state.inboxes.values()].filter(({ logged }) => logged)
  writer.number(inboxes.length)
  for (const inbox of inboxes) writeInbox(writer, inbox)
  writer.number(state.wills.size)
  for (const [name, { record, client, fireAt }] of state.wills)
    writer.text(name).bytes(record).text(client).number(fireAt)
  return writer.u32(crc32(writer.done())).done()
}

/** @returns the position that the state belongs to; undefined: not a snapshot, or damaged */
export const positionOf = (bytes: Buffer): number | undefined => {
  if (bytes.length < 12 || bytes.readUInt32BE(0) !== SNAPSHOT) return undefined
  if (crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(bytes.length - 4)) return undefined
  const reader = new BytesReader(bytes, 4)
  return reader.number() === VERSION ? reader.number() : undefined
}

/** Into an empty state. Only of bytes that {@link positionOf} has checked. @returns how far each queue reaches */
export const readSnapshot = (bytes: Buffer, state: State): Map<string, readonly number[]> => {
  const reader = new BytesReader(bytes, 4)
  reader.number()
  reader.number()
  state.storedAt = reader.number()
  state.epoch = reader.number()
  const ends = readTopics(reader, state)
  readGroups(reader, state)
  reader.list(() =>
    state.delay({
      key: reader.number(),
      place: reader.number(),
      size: reader.number(),
      at: reader.number(),
      queue: reader.number(),
    }),
  )
  readHalves(reader, state)
  reader.list(() => state.retained.set(reader.text(), { place: reader.number(), size: reader.number() }))
  reader.list(() => state.keep(reader.text(), reader.number(), { stored: takeAnswer(reader, state.node) }))
  readShares(reader, state)
  reader.list(() => readInbox(reader, state))
  reader.list(() =>
    state.wills.set(reader.text(), {
      record: Buffer.from(reader.bytes()),
      client: reader.text(),
      fireAt: reader.number(),
    }),
  )
  return ends
}

const writeTopics = (writer: BytesWriter, state: State): void => {
  writer.number(state.topics.size)
  for (const { spec, created, queues } of state.topics.values()) {
    writer.text(JSON.stringify(spec)).number(created).number(queues.length)
    for (const { records } of queues) writer.number(records.min).number(records.max)
  }
}

const readTopics = (reader: BytesReader, state: State): Map<string, readonly number[]> => {
  const ends = new Map<string, readonly number[]>()
  reader.list(() => {
    const spec = JSON.parse(reader.text()) as TopicSpec
    const topic = state.putTopic(spec, reader.number())
    const reach = reader.list((index) => {
      const min = reader.number()
      topic.queues[index]?.records.startAt(min)
      return reader.number()
    })
    ends.set(spec.topic, reach)
  })
  return ends
}

const writeHalves = (writer: BytesWriter, { halves }: State): void => {
  writer.number(halves.size)
  for (const half of halves.all()) {
    writer.number(half.key).number(half.place).number(half.size).text(half.topic).text(half.group).text(half.id)
    writer.number(half.queue).maybe(half.publisher).number(half.storedAt).number(half.checks).number(half.checkAt)
  }
}

const readHalves = (reader: BytesReader, { halves }: State): void => {
  reader.list(() =>
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
    }),
  )
}

const writeGroups = (writer: BytesWriter, state: State): void => {
  writer.number(state.groups.size)
  for (const [name, group] of state.groups) {
    writer
      .text(name)
      .maybe(group.explicit ? JSON.stringify(group.spec) : undefined)
      .number(group.topics.size)
    for (const { topic, cursors } of group.topics.values()) {
      writer.text(topic).number(cursors.size)
      for (const [queue, cursor] of cursors) writeCursor(writer.number(queue), cursor)
    }
  }
}

const writeCursor = (writer: BytesWriter, { committed, next, held, levels }: Cursor): void => {
  writer.number(committed).number(next).number(held.size)
  for (const one of held.values()) {
    writer.number(one.offset).number(one.poppedAt).number(one.invisible).number(one.attempt).number(one.next)
    writer.maybe(one.session)
  }
  writer.number(levels.length)
  for (const one of levels) writer.number(one.level).number(one.next)
}

const readGroups = (reader: BytesReader, state: State): void => {
  reader.list(() => {
    const group = state.groupAgain(reader.text())
    const spec = reader.maybe()
    if (spec !== undefined) {
      group.spec = JSON.parse(spec) as GroupSpec
      group.explicit = true
    }
    reader.list(() => {
      const groupTopic = group.topic(reader.text())
      reader.list(() => readCursor(reader, groupTopic.cursor(reader.number())))
    })
  })
}

const readCursor = (reader: BytesReader, cursor: Cursor): void => {
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

const putAnswer = (writer: BytesWriter, stored: readonly Stored[]): void => {
  writer.number(stored.length)
  for (const one of stored) putStored(writer, one)
}
const takeAnswer = (reader: BytesReader, node: string): readonly Stored[] => reader.list(() => takeStored(reader, node))

const putPointer = (writer: BytesWriter, { place, size, notes }: Pointer): BytesWriter => {
  putNotes(writer.number(place).number(size), notes)
  return writer
}
const takePointer = (reader: BytesReader): Pointer => ({
  place: reader.number(),
  size: reader.number(),
  notes: readNotes(reader),
})

const writeLine = (writer: BytesWriter, pointers: readonly Pointer[]): void => {
  writer.number(pointers.length)
  for (const pointer of pointers) putPointer(writer, pointer)
}
const readLine = (reader: BytesReader, line: Line): void => {
  reader.list(() => {
    const { place, size, notes } = takePointer(reader)
    line.push(place, size, notes, Number.POSITIVE_INFINITY)
  })
}
const all = (line: Line): Pointer[] => Array.from({ length: line.length }, (_, at) => line.at(at))

/** What inboxes that are not written down hold of a share stands in it again. */
const writeShares = (writer: BytesWriter, state: State): void => {
  const out = new Map<ShareState, Pointer[]>()
  for (const inbox of state.inboxes.values()) {
    if (inbox.persistent || inbox.shares.size === 0) continue
    for (const slot of inbox.slots.values()) {
      if (!slot.share) continue
      const list = out.get(slot.share)
      if (list) list.push(slot)
      else out.set(slot.share, [slot])
    }
  }
  writer.number(state.shares.size)
  for (const share of state.shares.values()) {
    writer.text(JSON.stringify(share.bound!.binding)).number(share.leftAt)
    writeLine(
      writer,
      [...all(share), ...(out.get(share) ?? [])].sort((a, b) => a.place - b.place),
    )
  }
}
const readShares = (reader: BytesReader, state: State): void => {
  reader.list(() => {
    const share = bindShare(state, JSON.parse(reader.text()) as Binding)
    share.leftAt = reader.number()
    readLine(reader, share)
  })
}

const writeInbox = (writer: BytesWriter, inbox: InboxState): void => {
  writer.text(inbox.name).number(inbox.epoch).text(inbox.client).number(inbox.expiry).number(inbox.leftAt)
  writer.flag(inbox.will !== undefined)
  if (inbox.will) writer.bytes(inbox.will.record).number(inbox.will.after)
  // One that is not kept comes back only for the sake of its will.
  const { persistent } = inbox
  writer.text(JSON.stringify(persistent ? inbox.bindings.map(({ binding }) => binding) : []))
  writeLine(writer, persistent ? all(inbox) : [])
  writeLine(writer, persistent ? inbox.retained : [])
  const slots = persistent ? [...inbox.slots.values()] : []
  writer.number(slots.length)
  for (const slot of slots) {
    putPointer(writer, slot).number(slot.slot).number(slot.attempt).flag(slot.received).flag(slot.retained)
    writer.maybe(slot.share?.share).maybe(slot.share?.pattern)
  }
  writer.number(persistent ? inbox.incoming.size : 0)
  if (persistent) for (const [slot, { stored }] of inbox.incoming) putAnswer(writer.number(slot), stored)
}

const readInbox = (reader: BytesReader, state: State): void => {
  const inbox = state.inbox(reader.text())
  inbox.logged = true
  inbox.epoch = reader.number()
  inbox.client = reader.text()
  inbox.expiry = reader.number()
  inbox.leftAt = reader.number()
  if (reader.flag()) inbox.will = { record: Buffer.from(reader.bytes()), after: reader.number() }
  for (const binding of JSON.parse(reader.text()) as Binding[]) bind(state, inbox, { ...binding, retained: 'skip' })
  readLine(reader, inbox)
  inbox.addRetained(reader.list(() => takePointer(reader)))
  reader.list(() => {
    const slot = readSlot(reader, state)
    inbox.setSlot(slot)
  })
  reader.list(() => inbox.answered(reader.number(), { stored: takeAnswer(reader, state.node) }))
}

const readSlot = (reader: BytesReader, state: State): SlotState => {
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
