import type { Core } from './core.ts'
import type { GroupTopic } from './groups.ts'
import type { Reader } from './topics.ts'

const waiters = new WeakMap<GroupTopic, Reader>()
export const waiterOf = (groupTopic: GroupTopic): Reader => {
  let waiter = waiters.get(groupTopic)
  if (!waiter) waiters.set(groupTopic, (waiter = { wake: () => wakeNext(groupTopic) }))
  return waiter
}

/** Lets the pop that waits longest look again; it wakes the next one if it leaves something. */
export const wakeNext = (groupTopic: GroupTopic): void => {
  const [first] = groupTopic.parked
  first?.wake()
}

/** One wheel entry a group and topic, and only while somebody waits. */
export const wakeWhenDue = (core: Core, groupTopic: GroupTopic): void => {
  if (groupTopic.parked.size === 0) return
  let due = Number.POSITIVE_INFINITY
  for (const cursor of groupTopic.cursors.values()) due = Math.min(due, cursor.nextDue)
  if (due >= groupTopic.wakeAt) return
  groupTopic.unwake?.()
  groupTopic.wakeAt = due
  groupTopic.unwake = core.wheel.at(due, () => {
    groupTopic.wakeAt = Number.POSITIVE_INFINITY
    groupTopic.unwake = undefined
    wakeNext(groupTopic)
    wakeWhenDue(core, groupTopic)
  })
}
