import type { CommandOf, Context, Replies } from '@sluice/core'
import { parseOffsetMsgId, viewRecord } from '@sluice/remoting'
import type { Core } from './core.ts'
import type { GroupTopic } from './groups.ts'
import { inboxOf } from './inboxCommands.ts'
import { flag, levelOf } from './queueIndex.ts'
import { deliveredBatch, READ_MAX, type Wanted, wantedOf } from './read.ts'
import type { Pointed } from './state.ts'
import { topicOf } from './topicCommands.ts'
import type { QueueState, TopicState } from './topics.ts'
import { lookAhead } from './walks.ts'

type Read = CommandOf<'read'>
type Source = Extract<Read['from'], { by: 'source' }>['source']
type ByKey = Extract<Read['from'], { by: 'key' }>

/** Index entries of a browse. */
const SCAN_MAX = 65_536
/** Records that a query by key looks at: one with a key that every message has ends there. */
const KEY_LOOKS_MAX = 65_536
const KEY_RUN = 64

const limited = (pointers: readonly Pointed[], bytes: number): readonly Pointed[] => {
  let total = 0
  const end = pointers.findIndex(({ size }, at) => (total += size) > bytes && at > 0)
  return end < 0 ? pointers : pointers.slice(0, end)
}

const answer = async (core: Core, pointers: readonly Pointed[], wanted?: Wanted): Promise<Replies['read']> => {
  const records = (await core.read(pointers)).filter((record): record is Buffer => {
    if (!record) return false
    return !wanted?.matches || wanted.matches(viewRecord(record, core.settings.node))
  })
  return { batch: deliveredBatch(core, records), next: 0, min: 0, max: 0 }
}

/** What a pop of this queue would give now, and in which order, without taking it. */
const poppable = (
  core: Core,
  groupTopic: GroupTopic | undefined,
  queue: QueueState,
  wanted: Wanted,
  max: number,
): Pointed[] => {
  const { records } = queue
  const cursor = groupTopic?.cursors.get(queue.index)
  const now = core.clock.now()
  const next = Math.max(records.min, cursor && cursor.next >= 0 ? cursor.next : Math.max(0, cursor?.committed ?? 0))
  const pointers: Pointed[] = []
  const add = (offset: number): void => {
    if (records.flags(offset) & flag.lost) return
    if (wanted.hashes && !wanted.hashes.has(records.tag(offset))) return
    pointers.push({ place: records.place(offset), size: records.size(offset) })
  }
  for (const held of cursor?.held.values() ?? []) {
    if (pointers.length >= max) break
    if (held.due <= now && held.offset >= records.min) add(held.offset)
  }
  const end = Math.min(queue.visible, next + SCAN_MAX)
  for (let offset = next; offset < end && pointers.length < max; offset++)
    if (!cursor?.isAhead(offset, levelOf(records.flags(offset)))) add(offset)
  return pointers
}

const browseGroup = (
  core: Core,
  command: Read,
  source: Extract<Source, { kind: 'group' }>,
): Promise<Replies['read']> => {
  const topic = topicOf(core, source.topic)
  const group = core.state.groups.get(source.group)
  const wanted = wantedOf(command.filter ?? source.filter ?? group?.subscriptions.get(source.topic)?.filter)
  const max = Math.min(command.max, READ_MAX)
  const only = source.queue && source.queue.index >= 0 ? source.queue.index : undefined
  const pointers: Pointed[] = []
  for (const queue of topic.queues) {
    if (only !== undefined && queue.index !== only) continue
    pointers.push(...poppable(core, group?.topics.get(source.topic), queue, wanted, max - pointers.length))
  }
  return answer(core, limited(pointers, command.bytes), wanted)
}

const browseInbox = (
  core: Core,
  command: Read,
  source: Extract<Source, { kind: 'inbox' }>,
): Promise<Replies['read']> => {
  const inbox = inboxOf(core, source.inbox, source.epoch)
  const pointers: Pointed[] = [...inbox.redeliver, ...lookAhead(inbox.walks, core.state.retained, command.max)]
  for (const line of [inbox, ...inbox.shares]) {
    for (let at = 0; at < line.visible && pointers.length < command.max; at++) pointers.push(line.at(at))
  }
  return answer(core, limited(pointers.slice(0, Math.min(command.max, READ_MAX)), command.bytes))
}

/** The records of half messages that a pop would give. */
export type LookAtHalves = (source: Extract<Source, { kind: 'halves' }>, max: number) => Promise<readonly Buffer[]>

/** Looking takes nothing, and does not wait. */
export const browse = async (
  core: Core,
  command: Read,
  source: Source,
  halves: LookAtHalves,
): Promise<Replies['read']> => {
  if (source.kind === 'group') return browseGroup(core, command, source)
  if (source.kind === 'inbox') return browseInbox(core, command, source)
  const records = await halves(source, Math.min(command.max, READ_MAX))
  return { batch: deliveredBatch(core, records), next: 0, min: 0, max: 0 }
}

/** Newest first, over the whole log. `unique`: the key is the message's id. */
export const byKey = async (core: Core, command: Read, from: ByKey, context: Context): Promise<Replies['read']> => {
  const topic = topicOf(core, from.topic)
  const max = Math.min(command.max, READ_MAX)
  const found: Buffer[] = []
  let left = KEY_LOOKS_MAX
  const look = async (places: readonly number[]): Promise<void> => {
    for (let at = 0; at < places.length && found.length < max && left > 0 && !context.signal?.aborted; at += KEY_RUN) {
      left -= KEY_RUN
      const run = places.slice(at, at + KEY_RUN).flatMap((place) => standing(topic, place) ?? [])
      for (const record of await core.read(run))
        if (record && found.length < max && isMeant(core, record, from)) found.push(record)
    }
  }
  // An id that was made of the place needs no index.
  const own = from.unique ? parseOffsetMsgId(from.key) : undefined
  if (own) await look([own.place])
  for (const segment of [...core.segments.list].reverse()) {
    if (found.length >= max || left <= 0 || context.signal?.aborted) break
    if (segment !== core.segments.list.at(-1) && segment.newest < from.after) break
    await look(await core.keys.find(segment, from.topic, from.key))
  }
  return { batch: deliveredBatch(core, found), next: 0, min: 0, max: 0 }
}

/** Where it stands in its topic, for all to see. */
const standing = ({ queues }: TopicState, place: number): Pointed | undefined => {
  for (const { records, visible } of queues) {
    const offset = records.offsetAt(place)
    if (offset >= 0) return offset < visible ? { place, size: records.size(offset) } : undefined
  }
  return undefined
}

const isMeant = (core: Core, record: Buffer, { key, unique, after, before }: ByKey): boolean => {
  const message = viewRecord(record, core.settings.node)
  if (message.storedAt < after || message.storedAt > before) return false
  return unique ? message.id === key : (message.keys?.includes(key) ?? false)
}
