import { editProperties, type StoredRecord, system, viewRecord } from '@sluice/remoting'
import type { Core } from './core.ts'
import type { Cursor, Held } from './cursor.ts'
import { writeSettled } from './events.ts'
import type { GroupTopic } from './groups.ts'
import { again, appendTo } from './publish.ts'
import { topicOrNew } from './topicCommands.ts'
import { deadTopic, type QueueState } from './topics.ts'

/** A dead letter waits for people, not for a delivery time that has passed. */
const over: ReadonlySet<string> = new Set([system.delayLevel, system.delaySeconds, system.delayMs, system.deliverAt])

/** A copy to the dead letters of a group, counted only with what is chained after it. */
export const copyToDead = (
  core: Core,
  group: string,
  message: StoredRecord,
  attempt: number,
  chained: boolean,
): void => {
  const topic = deadTopic(group)
  const packed = editProperties(message.packed, over, {
    [system.deadTopic]: message.property(system.retryTopic) ?? message.topic,
    [system.deadId]: message.property(system.originId) ?? message.offsetMsgId,
  })
  const target = topicOrNew(core, topic)
  appendTo(core, target.pick(undefined), again(message, packed, topic), { reconsumeTimes: attempt - 1, chained })
}

/**
 * Moves a held message to %DLQ%group: the copy and the end of its lease are one entry of the log. A message that cannot
 * be read is settled: that it is damaged was logged and counted when it was read.
 * @returns 'gone': it was settled or its record deleted meanwhile. Done is not yet durable
 */
export const deadLetter = async (
  core: Core,
  groupTopic: GroupTopic,
  queue: QueueState,
  cursor: Cursor,
  held: Held,
  reason: string,
): Promise<'done' | 'gone' | 'failed'> => {
  const { group } = groupTopic.group.spec
  const { offset } = held
  cursor.die(held)
  try {
    const place = queue.records.place(offset)
    const found = core.read([{ place, size: queue.records.size(offset) }])
    const [record] = Array.isArray(found) ? found : await found
    if (cursor.held.get(offset) !== held || offset < queue.records.min) return 'gone'
    if (record) copyToDead(core, group, viewRecord(record, core.settings.node), held.attempt, true)
    core.log.append(writeSettled({ group, topic: groupTopic.topic, queue: queue.index }, [offset]))
    cursor.settle(offset)
    core.lines.info('message.dead', { group, topic: groupTopic.topic, queue: queue.index, offset, reason })
    return 'done'
  } catch (error) {
    core.lines.error('message.dead', { group, topic: groupTopic.topic, error: String(error) })
    if (cursor.held.get(offset) === held) cursor.giveBack(held, core.clock.now() + RETRY_MS)
    return 'failed'
  } finally {
    groupTopic.parked.first?.wake()
  }
}

const RETRY_MS = 10_000
