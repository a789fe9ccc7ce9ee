import type { Core } from './core.ts'
import { offsetOf } from './offsets.ts'
import type { QueueState } from './topics.ts'

const bySize = ({ records, visible }: QueueState, bytes: number): number => {
  let offset = visible
  for (let total = 0; offset > records.min; offset--) {
    total += records.size(offset - 1)
    if (total > bytes) break
  }
  return offset
}

/**
 * Queues of topics that keep less than the log does begin later, by index; the bytes go with their segments.
 * Each queue of a topic has its share of the topic's bytes.
 */
export const trim = async (core: Core): Promise<void> => {
  for (const { spec, queues } of [...core.state.trimmed]) {
    const { retain } = spec
    if (!retain) continue
    for (const queue of queues) {
      const before = queue.records.min
      let min = before
      if (retain.ms !== undefined)
        min = Math.max(min, await offsetOf(core, queue, { time: core.clock.now() - retain.ms }))
      if (retain.bytes !== undefined) min = Math.max(min, bySize(queue, retain.bytes / queues.length))
      queue.records.dropTo(Math.min(min, queue.visible))
      if (queue.records.min === before) continue
      for (const group of core.state.groups.values())
        group.topics.get(spec.topic)?.cursors.get(queue.index)?.retained(queue.records.min)
    }
  }
}
