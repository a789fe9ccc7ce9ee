import type { Core } from './core.ts'
import type { GroupTopic } from './groups.ts'
import type { Place, Poll } from './park.ts'
import type { TopicState } from './topics.ts'
import { Waiter } from './waiters.ts'

/** Where the pops of a group wait for messages of a topic: the topic wakes all of it, and it wakes one. */
class Bench extends Waiter implements Place {
  readonly #core: Core
  readonly #groupTopic: GroupTopic
  readonly #topic: TopicState

  constructor(core: Core, groupTopic: GroupTopic, topic: TopicState) {
    super()
    this.#core = core
    this.#groupTopic = groupTopic
    this.#topic = topic
  }

  wake(): void {
    wakeNext(this.#groupTopic)
  }

  join(poll: Poll): void {
    const { parked } = this.#groupTopic
    if (!parked.first) this.#topic.waiting.add(this)
    parked.add(poll)
    wakeWhenDue(this.#core, this.#groupTopic)
  }

  leave(poll: Poll): void {
    const { parked } = this.#groupTopic
    parked.delete(poll)
    if (!parked.first) this.#topic.waiting.delete(this)
  }
}

export const benchOf = (core: Core, groupTopic: GroupTopic, topic: TopicState): Place =>
  (groupTopic.bench ??= new Bench(core, groupTopic, topic))

/** Lets the pop that waits longest look again; it wakes the next one if it leaves something. */
export const wakeNext = (groupTopic: GroupTopic): void => {
  groupTopic.parked.first?.wake()
}

/** One wheel entry a group and topic, and only while somebody waits. */
export const wakeWhenDue = (core: Core, groupTopic: GroupTopic): void => {
  if (!groupTopic.parked.first) return
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
