import { type CommandOf, Fault, type Offset, type Replies, type Start } from '@sluice/core'
import { recordAt as field, readLong, sysFlag } from '@sluice/remoting'
import type { Core } from './core.ts'
import { type Where, writeOffset } from './events.ts'
import { queueFor } from './topicCommands.ts'
import type { QueueState } from './topics.ts'

/** Written down, not waited for. */
export const commit = (core: Core, at: Where, offset: Offset): void => {
  const cursor = core.state.group(at.group).topic(at.topic).cursor(at.queue)
  if (cursor.committed === offset && cursor.floor >= offset) return
  core.log.append(writeOffset(at, offset, false))
  cursor.commit(offset)
}

export const commitOffset = async (
  core: Core,
  command: CommandOf<'commitOffset'>,
): Promise<Replies['commitOffset']> => {
  const { queue, group, offset } = command
  queueFor(core, queue.topic, queue.index)
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new Fault('invalid', 'offset is not 0 to 2^53', { about: 'offset' })
  commit(core, { group, topic: queue.topic, queue: queue.index }, offset)
  await core.log.done()
  return {}
}

const storedAtOf = (record: Buffer): number => {
  const bornV6 = (record.readInt32BE(field.sysFlag) & sysFlag.bornV6) !== 0
  return readLong(record, bornV6 ? 68 : 56)
}

/** Of the record's head only: time searches read a few dozen bytes a probe. */
const HEAD = 76

const storedAt = async (core: Core, queue: QueueState, offset: Offset): Promise<number> => {
  const { records } = queue
  const place = records.place(offset)
  const head = core.log.peek(place, HEAD) ?? (await core.segments.read(place, HEAD))
  return head.length < HEAD ? 0 : storedAtOf(head)
}

/** 'lower': the first message stored at the time or later. 'upper': the last one stored at the time or before. */
const byTime = async (core: Core, queue: QueueState, time: number, edge: 'lower' | 'upper'): Promise<Offset> => {
  let low = queue.records.min
  let high = queue.visible
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const at = await storedAt(core, queue, middle)
    if (edge === 'lower' ? at < time : at <= time) low = middle + 1
    else high = middle
  }
  return edge === 'lower' ? low : Math.max(queue.records.min, low - 1)
}

export const offsetOf = async (core: Core, queue: QueueState, at: Start): Promise<Offset> => {
  const { records, visible } = queue
  if (at === 'min') return records.min
  if (at === 'max') return visible
  if ('offset' in at) return at.offset
  if ('last' in at) return Math.max(records.min, visible - at.last)
  return byTime(core, queue, at.time, at.edge ?? 'lower')
}

export const queryOffset = async (
  core: Core,
  { queue, at }: CommandOf<'queryOffset'>,
): Promise<Replies['queryOffset']> => {
  const found = queueFor(core, queue.topic, queue.index)
  if (typeof at === 'object' && 'group' in at) {
    const cursor = core.state.groups.get(at.group)?.topics.get(queue.topic)?.cursors.get(queue.index)
    if (!cursor || cursor.floor < 0) throw new Fault('notFound', 'the group has no offset here', { about: 'offset' })
    return { offset: cursor.floor }
  }
  const offset = await offsetOf(core, found, at)
  const inside = offset >= found.records.min && offset < found.visible
  return inside ? { offset, storedAt: await storedAt(core, found, offset) } : { offset }
}
