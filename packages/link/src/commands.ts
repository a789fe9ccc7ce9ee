import type { CommandOf, Kind, Message, Once, Outcome, Queue, Receipt, Source } from '@sluice/core'
import { readMessage, writeMessage, writeSpecial } from './messages.ts'
import { malformed, type Reader } from './reader.ts'
import { ReceiptReader, ReceiptWriter } from './receipts.ts'
import { type ReadSpecial, readValue, writeValue } from './values.ts'
import type { Writer } from './writer.ts'

/** Kinds of the model; those that come by the thousand have a form of their own, told by their number. */
const forms = {
  publish: 1,
  pop: 2,
  settle: 3,
  read: 4,
  endTransaction: 0,
  recall: 0,
  commitOffset: 0,
  queryOffset: 0,
  open: 0,
  heartbeat: 0,
  leave: 0,
  bind: 0,
  topic: 0,
  group: 0,
  assign: 0,
  members: 0,
  lock: 0,
  admin: 0,
} as const satisfies Record<Kind, number>

const ANY = 0

/** @throws Fault 'internal' for what is no data */
export const writeCommand = <K extends Kind>(writer: Writer, command: CommandOf<K>): void => {
  const one = command as CommandOf<Kind>
  switch (one.kind) {
    case 'publish':
      return writePublish(writer.byte(forms.publish), one)
    case 'pop':
      return writePop(writer.byte(forms.pop), one)
    case 'settle':
      return writeSettle(writer.byte(forms.settle), one)
    case 'read':
      if (one.from.by === 'offset') return writeRead(writer.byte(forms.read), one, one.from)
  }
  writeValue(writer.byte(ANY), one, writeSpecial)
}

/** @throws Fault 'malformed' */
export const readCommand = (reader: Reader, special: ReadSpecial): CommandOf<Kind> => {
  switch (reader.byte()) {
    case forms.publish:
      return readPublish(reader)
    case forms.pop:
      return readPop(reader)
    case forms.settle:
      return readSettle(reader)
    case forms.read:
      return readRead(reader)
    case ANY: {
      const value = readValue(reader, special)
      if (isCommand(value)) return value
    }
  }
  throw malformed('no such command')
}

const isCommand = (value: unknown): value is CommandOf<Kind> =>
  typeof value === 'object' &&
  value !== null &&
  'kind' in value &&
  typeof value.kind === 'string' &&
  Object.hasOwn(forms, value.kind)

export const numberOf = (reader: Reader): number => {
  const value = readValue(reader)
  if (typeof value !== 'number') throw malformed('no number')
  return value
}

// ── publish ───────────────────────────────────────────────────────────────────────────────────
const ONEWAY = 1
const GROUP = 2
const QUEUE = 4
const INBOX = 8
const ONCE = 16
const ACCEPTS = 32

const writePublish = (writer: Writer, command: CommandOf<'publish'>): void => {
  const { messages, group, oneway, into, once, accepts } = command
  writer.byte(
    (oneway ? ONEWAY : 0) |
      (group === undefined ? 0 : GROUP) |
      (into === undefined ? 0 : 'inbox' in into ? INBOX : QUEUE) |
      (once === undefined ? 0 : ONCE) |
      (accepts === undefined ? 0 : ACCEPTS),
  )
  writer.number(messages.length)
  for (const message of messages) writeMessage(writer, message)
  if (group !== undefined) writer.text(group)
  if (into) 'inbox' in into ? writer.text(into.inbox) : writeQueue(writer, into)
  if (once !== undefined) writeValue(writer, once)
  if (accepts !== undefined) writeReceipts(writer, accepts)
}

const readPublish = (reader: Reader): CommandOf<'publish'> => {
  const bits = reader.byte()
  const messages: Message[] = []
  for (let left = reader.count(); left > 0; left--) messages.push(readMessage(reader))
  return {
    kind: 'publish',
    messages,
    oneway: (bits & ONEWAY) !== 0,
    ...(bits & GROUP && { group: reader.text() }),
    ...(bits & INBOX && { into: { inbox: reader.text() } }),
    ...(bits & QUEUE && { into: readQueue(reader) }),
    ...(bits & ONCE && { once: readValue(reader) as Once }),
    ...(bits & ACCEPTS && { accepts: readReceipts(reader) }),
  }
}

export const writeQueue = (writer: Writer, { topic, node, index }: Queue): void =>
  writeValue(writer.text(topic).text(node), index)

export const readQueue = (reader: Reader): Queue => ({
  topic: reader.text(),
  node: reader.text(),
  index: numberOf(reader),
})

const writeReceipts = (writer: Writer, receipts: readonly Receipt[]): void => {
  writer.number(receipts.length)
  const to = new ReceiptWriter(writer)
  for (const receipt of receipts) to.write(receipt)
}

const readReceipts = (reader: Reader): Receipt[] => {
  const from = new ReceiptReader(reader)
  const receipts: Receipt[] = []
  for (let left = reader.count(); left > 0; left--) receipts.push(from.read())
  return receipts
}

// ── pop ───────────────────────────────────────────────────────────────────────────────────────
const FIFO = 1
const ATTEMPT = 2
const BY_SESSION = 4
const OF_INBOX = 8
const OF_GROUP = 16
const MORE = 32

const writePop = (writer: Writer, command: CommandOf<'pop'>): void => {
  const { source, max, invisible, wait, fifo, attemptId } = command
  const more = source.kind === 'group' && (source.filter ?? source.queue) !== undefined
  writer.byte(
    (fifo ? FIFO : 0) |
      (attemptId === undefined ? 0 : ATTEMPT) |
      (invisible === 'session' ? BY_SESSION : 0) |
      (source.kind === 'inbox' ? OF_INBOX : source.kind === 'group' ? OF_GROUP : 0) |
      (more ? MORE : 0),
  )
  if (source.kind === 'inbox') writer.text(source.inbox).offset(source.epoch)
  else writer.text(source.topic).text(source.group)
  if (more) {
    writeValue(writer, source.filter)
    writeValue(writer, source.queue)
  }
  writeValue(writer, max)
  writeValue(writer, wait)
  if (invisible !== 'session') writeValue(writer, invisible)
  if (attemptId !== undefined) writer.text(attemptId)
}

const readPop = (reader: Reader): CommandOf<'pop'> => {
  const bits = reader.byte()
  return {
    kind: 'pop',
    source: readSource(reader, bits),
    max: numberOf(reader),
    wait: numberOf(reader),
    invisible: bits & BY_SESSION ? 'session' : numberOf(reader),
    fifo: (bits & FIFO) !== 0,
    ...(bits & ATTEMPT && { attemptId: reader.text() }),
  }
}

const readSource = (reader: Reader, bits: number): Source => {
  if (bits & OF_INBOX) return { kind: 'inbox', inbox: reader.text(), epoch: reader.offset() }
  const topic = reader.text()
  const group = reader.text()
  if (!(bits & OF_GROUP)) return { kind: 'halves', topic, group }
  if (!(bits & MORE)) return { kind: 'group', topic, group }
  const [filter, queue] = [readValue(reader), readValue(reader)]
  return { kind: 'group', topic, group, ...(filter ? { filter } : {}), ...(queue ? { queue } : {}) } as Source
}

// ── settle ────────────────────────────────────────────────────────────────────────────────────
const outcomes = ['accept', 'received'] as const

const writeSettle = (writer: Writer, { receipts, outcome }: CommandOf<'settle'>): void => {
  const plain = outcomes.indexOf(outcome.kind as 'accept')
  writer.byte(plain + 1)
  if (plain < 0) writeValue(writer, outcome)
  writeReceipts(writer, receipts)
}

const readSettle = (reader: Reader): CommandOf<'settle'> => {
  const plain = reader.byte()
  const kind = outcomes[plain - 1]
  const outcome = kind ? { kind } : (readValue(reader) as Outcome)
  if (!kind && (plain !== 0 || typeof outcome !== 'object' || outcome === null)) throw malformed('no such outcome')
  return { kind: 'settle', receipts: readReceipts(reader), outcome }
}

// ── read ──────────────────────────────────────────────────────────────────────────────────────
type ByOffset = Extract<CommandOf<'read'>['from'], { by: 'offset' }>
const FILTER = 1
const COMMIT = 2
const READER = 4

const writeRead = (writer: Writer, command: CommandOf<'read'>, { queue, offset, group }: ByOffset): void => {
  const { max, bytes, wait, filter, commit } = command
  writer.byte(
    (filter === undefined ? 0 : FILTER) | (commit === undefined ? 0 : COMMIT) | (group === undefined ? 0 : READER),
  )
  writeQueue(writer, queue)
  for (const number of [offset, max, bytes, wait]) writeValue(writer, number)
  if (filter !== undefined) writeValue(writer, filter)
  if (commit !== undefined) writeValue(writer, commit)
  if (group !== undefined) writer.text(group)
}

const readRead = (reader: Reader): CommandOf<'read'> => {
  const bits = reader.byte()
  const queue = readQueue(reader)
  const [offset, max, bytes, wait] = [numberOf(reader), numberOf(reader), numberOf(reader), numberOf(reader)]
  const filter = bits & FILTER ? (readValue(reader) as NonNullable<CommandOf<'read'>['filter']>) : undefined
  const commit = bits & COMMIT ? numberOf(reader) : undefined
  return {
    kind: 'read',
    from: { by: 'offset', queue, offset, ...(bits & READER && { group: reader.text() }) },
    max,
    bytes,
    wait,
    ...(filter && { filter }),
    ...(commit !== undefined && { commit }),
  }
}
