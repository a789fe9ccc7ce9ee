import {
  type CommandOf,
  type Context,
  compileFilter,
  Fault,
  type Filter,
  isOpen,
  type Matches,
  type Offset,
  type Replies,
  type Signal,
} from '@sluice/core'
import { viewRecord } from '@sluice/remoting'
import { emptyBatch, RecordBatch } from './batch.ts'
import { browse, byKey, type LookAtHalves } from './browse.ts'
import type { Core } from './core.ts'
import { HEADER, isRecordPayload, openEntry, PAYLOAD_MAX } from './entry.ts'
import { topicNotFound } from './errors.ts'
import { commit } from './offsets.ts'
import { park } from './park.ts'
import { flag, hashTag } from './queueIndex.ts'
import { queueFor } from './topicCommands.ts'
import type { QueueState } from './topics.ts'

/** Index entries that one read looks at before it answers. */
const SCAN_MAX = 100_000
/** Messages of one reply. */
export const READ_MAX = 10_000

export interface Wanted {
  readonly matches: Matches | undefined
  /** Hashes of the tags that may match; undefined: every tag. */
  readonly hashes: ReadonlySet<number> | undefined
}

const everything: Wanted = { matches: undefined, hashes: undefined }

/** @throws Fault 'unsupported' or 'invalid' about 'filter' */
export const wantedOf = (filter: Filter | undefined): Wanted => {
  if (!filter || isOpen(filter)) return everything
  const matches = compileFilter(filter)
  if (filter.kind !== 'tag') return { matches, hashes: undefined }
  const tags = filter.expression.split('||').map((tag) => tag.trim())
  if (tags.includes('*')) return everything
  return { matches, hashes: new Set(tags.map(hashTag)) }
}

interface Found {
  readonly records: readonly Buffer[]
  readonly next: Offset
}

/** From `from` on, what matches, skipping what does not; at least one message however long it is. */
const collect = (core: Core, queue: QueueState, from: Offset, max: number, bytes: number, wanted: Wanted) => {
  const { records } = queue
  const pointers: { place: number; size: number }[] = []
  let at = Math.max(from, records.min)
  const end = Math.min(queue.visible, at + SCAN_MAX)
  let total = 0
  for (; at < end && pointers.length < max; at++) {
    if (records.flags(at) & flag.lost) continue
    if (wanted.hashes && !wanted.hashes.has(records.tag(at))) continue
    const size = records.size(at)
    if (pointers.length > 0 && total + size > bytes) break
    total += size
    pointers.push({ place: records.place(at), size })
  }
  const found = core.read(pointers)
  const next = at
  const finish = (read: readonly (Buffer | undefined)[]): Found => ({ records: keep(core, read, wanted), next })
  return Array.isArray(found) ? finish(found) : found.then(finish)
}

const keep = (core: Core, read: readonly (Buffer | undefined)[], { matches }: Wanted): readonly Buffer[] =>
  read.filter((record): record is Buffer => {
    if (!record) return false
    return matches === undefined || matches(viewRecord(record, core.settings.node))
  })

export const deliveredBatch = (core: Core, records: readonly Buffer[]) =>
  records.length === 0
    ? emptyBatch
    : new RecordBatch(records, (record) => {
        const message = viewRecord(record, core.settings.node)
        return { message, attempt: message.reconsumeTimes + 1 }
      })

type ByOffset = Extract<CommandOf<'read'>['from'], { by: 'offset' }>

const registered = (core: Core, { group, queue }: ByOffset): Filter | undefined =>
  group === undefined ? undefined : core.state.groups.get(group)?.subscriptions.get(queue.topic)?.filter

const readOffset = async (
  core: Core,
  command: CommandOf<'read'>,
  from: ByOffset,
  context: Context,
): Promise<Replies['read']> => {
  const queue = queueFor(core, from.queue.topic, from.queue.index)
  if (command.commit !== undefined && from.group !== undefined)
    commit(core, { group: from.group, topic: from.queue.topic, queue: from.queue.index }, command.commit)
  const wanted = wantedOf(command.filter ?? registered(core, from))
  const max = Math.min(command.max, READ_MAX)
  const { records } = queue
  const answer = (found: readonly Buffer[], next: Offset): Replies['read'] => ({
    batch: deliveredBatch(core, found),
    next,
    min: records.min,
    max: queue.visible,
  })
  if (from.offset < records.min) return answer([], records.min)
  if (from.offset > queue.visible) return answer([], queue.visible)
  if (max <= 0) return answer([], from.offset)
  const until = Math.min(core.clock.now() + command.wait, context.deadline)
  let at = from.offset
  for (;;) {
    const { records: found, next } = await collect(core, queue, at, max, command.bytes, wanted)
    if (found.length > 0) return answer(found, next)
    at = next
    if (at < queue.visible) continue
    const left = until - core.clock.now()
    if (left <= 0 || context.signal?.aborted || !(await arrival(core, queue, until, context.signal)))
      return answer([], at)
    if (queue.topic.deleted) throw topicNotFound(from.queue.topic)
  }
}

const arrival = (core: Core, queue: QueueState, until: number, signal: Signal | undefined): Promise<boolean> =>
  park(core, until, signal, queue)

/** Any place is taken from a client: only what is a whole record there is answered. */
export const recordAt = async (core: Core, place: Offset): Promise<Buffer> => {
  const missing = () => new Fault('notFound', 'no message at this place', { about: 'place' })
  if (!Number.isSafeInteger(place) || place < HEADER) throw missing()
  await core.log.settled(place)
  const head = await core.segments.read(place - HEADER, HEADER + 8)
  if (head.length < HEADER + 8) throw missing()
  const size = head.readUInt32BE(0) & 0x7fffffff
  if (size > PAYLOAD_MAX || !isRecordPayload(head.subarray(HEADER))) throw missing()
  const entry = openEntry(await core.segments.read(place - HEADER, HEADER + size), 0, place - HEADER)
  if (!entry) throw missing()
  return entry.payload
}

const readPlace = async (core: Core, node: string, place: Offset): Promise<Replies['read']> => {
  if (node !== '' && node !== core.settings.node) throw new Fault('notFound', `no node ${node}`, { about: 'node' })
  const record = await recordAt(core, place)
  return { batch: deliveredBatch(core, [record]), next: 0, min: 0, max: 0 }
}

export const read = (
  core: Core,
  command: CommandOf<'read'>,
  context: Context,
  halves: LookAtHalves,
): Promise<Replies['read']> => {
  const { from } = command
  switch (from.by) {
    case 'offset':
      return readOffset(core, command, from, context)
    case 'place':
      return readPlace(core, from.node, from.place)
    case 'source':
      return browse(core, command, from.source, halves)
    case 'key':
      return byKey(core, command, from, context)
  }
}
