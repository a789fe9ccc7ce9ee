import type { GroupSpec, Log as Lines, TopicSpec } from '@sluice/core'
import { type StoredRecord, viewRecord } from '@sluice/remoting'
import type { BytesReader } from './bytes.ts'
import { type Entry, isControl, isRecordPayload } from './entry.ts'
import * as events from './events.ts'
import { factsOf } from './facts.ts'
import { halfOf } from './halves.ts'
import { replayInbox } from './inboxReplay.ts'
import type { State } from './state.ts'
import type { QueueState } from './topics.ts'

/** Reads entries again in their order, as they were applied when they were appended. */
export class Replay {
  readonly #state: State
  readonly #lines: Lines
  #prelude: events.Prelude | undefined
  /** Highest position that is known to have been durable. */
  synced = 0

  constructor(state: State, lines: Lines) {
    this.#state = state
    this.#lines = lines
  }

  apply({ place, payload }: Entry): void {
    this.#state.at = place
    if (isControl(payload)) this.#control(payload, place)
    else if (isRecordPayload(payload)) this.#record(viewRecord(payload, this.#state.node), place, payload.length)
  }

  #record(message: StoredRecord, place: number, size: number): void {
    const state = this.#state
    const prelude = this.#prelude
    this.#prelude = undefined
    state.storedAt = Math.max(state.storedAt, message.storedAt)
    if (prelude?.copy !== undefined) return state.moved(prelude, place, size, message)
    if (prelude?.deliverAt !== undefined)
      return state.delay({ key: place, place, size, at: prelude.deliverAt, queue: prelude.queue ?? -1 })
    if (prelude?.half) return state.halves.add(halfOf(message, place, size, prelude))
    if (prelude?.into !== undefined) return state.toInbox(prelude.into, place, size)
    const queue = state.topics.get(message.topic)?.queues[message.queue.index] ?? this.#lost(message)
    if (message.offset >= queue.records.max)
      state.indexed(queue, message.offset, place, size, message, factsOf(message), prelude?.publisher)
  }

  /** A record in a queue that was never made: what made it is damaged. The record is worth more than the setting. */
  #lost({ topic, queue: { index } }: StoredRecord): QueueState {
    this.#lines.error('topic.lost', { topic, queue: index })
    const queues = Math.max(index + 1, this.#state.topics.get(topic)?.queues.length ?? 1)
    return this.#state.putTopic({ topic, queues, type: 'mixed' }, 0).queues[index]!
  }

  /** A change that cannot be made again is said and passed over: the broker comes up with the rest. */
  #control(payload: Buffer, place: number): void {
    try {
      this.#event(payload, place)
    } catch (error) {
      this.#lines.error('log.event', { place, kind: payload.readUInt32BE(0), error: String(error) })
    }
  }

  #event(payload: Buffer, place: number): void {
    if (payload.readUInt32BE(0) === events.SYNCED) {
      this.synced = Math.max(this.synced, payload.readDoubleBE(8))
      return
    }
    const { kind, body } = events.readEvent(payload)
    if (kind === events.PRELUDE) this.#prelude = events.readPrelude(body)
    else if (!this.#topicsAndGroups(kind, body, place) && !this.#leases(kind, body))
      replayInbox(this.#state, kind, body)
  }

  #topicsAndGroups(kind: number, body: BytesReader, place: number): boolean {
    const state = this.#state
    switch (kind) {
      case events.TOPIC_PUT:
        state.putTopic(JSON.parse(body.text()) as TopicSpec, place)
        return true
      case events.TOPIC_DELETED:
        state.deleteTopic(body.text())
        return true
      case events.GROUP_PUT: {
        const spec = JSON.parse(body.text()) as GroupSpec
        const group = state.groupAgain(spec.group)
        group.spec = spec
        group.explicit = true
        return true
      }
      case events.GROUP_DELETED:
        state.groups.delete(body.text())
        return true
      case events.DELAY_DONE:
        state.delayed.delete(body.number())
        return true
      case events.HALF_DONE:
        state.halves.delete(body.number())
        return true
      case events.HALF_CHECKED: {
        const { key, checks, checkAt } = events.readHalfChecked(body)
        state.halves.checked(key, checks, checkAt)
        return true
      }
      default:
        return false
    }
  }

  #leases(kind: number, body: BytesReader): boolean {
    const state = this.#state
    const cursorOf = ({ group, topic, queue }: events.Where) => state.groupAgain(group).topic(topic).cursor(queue)
    switch (kind) {
      case events.OFFSET: {
        const cursor = cursorOf(events.readWhere(body))
        const offset = body.number()
        if (!state.applies(cursor)) return true
        if (body.flag()) cursor.reset(offset)
        else cursor.commit(offset)
        return true
      }
      case events.POPPED: {
        const popped = events.readPopped(body)
        const cursor = cursorOf(popped)
        if (!state.applies(cursor)) return true
        cursor.next = Math.max(cursor.next, popped.next)
        for (const { level, next } of popped.levels) cursor.took(level, next)
        const { invisible, session } = popped
        for (const { offset, attempt, poppedAt } of popped.items) {
          const known = cursor.held.get(offset)
          const fields = { poppedAt, invisible, attempt, next: attempt + 1, session }
          if (known) cursor.move(known, fields)
          else cursor.hold({ offset, ...fields })
        }
        return true
      }
      case events.SETTLED: {
        const cursor = cursorOf(events.readWhere(body))
        if (!state.applies(cursor)) return true
        for (let left = body.number(); left > 0; left--) cursor.settle(body.number())
        return true
      }
      case events.RENEWED: {
        const renewed = events.readRenewed(body)
        const cursor = cursorOf(renewed)
        if (!state.applies(cursor)) return true
        const known = cursor.held.get(renewed.offset)
        if (known) cursor.move(known, { ...renewed, session: undefined })
        return true
      }
      default:
        return false
    }
  }
}
