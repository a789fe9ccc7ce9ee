import type { Delivered } from '@sluice/core'
import { fail } from './fail.ts'
import { head, keyOf } from './model.ts'
import type { World } from './world.ts'

/** Every message of a queue in order of offsets, none missing. */
export const readAll = async (world: World, topic: string, index: number): Promise<Delivered[]> => {
  const all: Delivered[] = []
  for (let offset = -1; ; ) {
    const queue = { topic, node: world.broker.node, index }
    const from = { by: 'offset', queue, offset: Math.max(0, offset) } as const
    const { batch, next, min, max } = await world.run<'read'>({
      kind: 'read',
      from,
      max: 1000,
      bytes: 1_000_000,
      wait: 0,
    })
    // Retention may have moved the beginning while the records were read.
    const [first] = batch
    if (offset < min) offset = first?.message.offset ?? min
    for (const one of batch) {
      if (one.message.offset !== offset++) fail(`${keyOf(topic, index)} has a hole before ${one.message.offset}`)
      world.model.show(one.message)
      all.push(one)
    }
    if (next >= max && offset >= max) return all
    if (batch.count === 0 && next > max) return all
  }
}

export const minOf = async (world: World, topic: string, index: number): Promise<number> =>
  (await world.run<'queryOffset'>({ kind: 'queryOffset', queue: { topic, node: world.broker.node, index }, at: 'min' }))
    .offset

export const countBodies = async (world: World, topic: string, queues: number): Promise<Map<string, number>> => {
  const counts = new Map<string, number>()
  for (let index = 0; index < queues; index++) {
    for (const { message } of await readAll(world, topic, index)) {
      const body = message.body.toString()
      counts.set(body, (counts.get(body) ?? 0) + 1)
    }
  }
  return counts
}

/** Exactly once, where retention has not taken it. */
export const exactlyOnce = async (
  world: World,
  topic: string,
  queues: number,
  bodies: Iterable<string>,
): Promise<void> => {
  const counts = await countBodies(world, topic, queues)
  for (const [body, count] of counts) if (count > 1) fail(`${topic} has ${head(body)} ${count} times`)
  if (!world.isWhole) return
  for (const body of bodies) if (!counts.has(body)) fail(`${topic} has no ${head(body)}`)
}

/**
 * Everything that was told of a topic and not settled came; nothing that was settled did.
 * @param came as `topic/queue offset`
 * @param ended bodies that were settled together with something that is there
 */
export const everyUnsettled = async (
  world: World,
  topic: string,
  came: ReadonlySet<string>,
  ended: ReadonlySet<string> = new Set(),
): Promise<void> => {
  const { model } = world
  for (const index of [0, 1]) {
    const key = keyOf(topic, index)
    const told = model.told.get(key)
    if (!told) continue
    const settled = model.settled.get(key)
    const min = await minOf(world, topic, index)
    for (const [offset, { body, place }] of told) {
      const is = came.has(`${key} ${offset}`)
      if (is && world.isWhole && ended.has(body))
        fail(`${head(body)} was ended together with a message that is there, and came again`)
      if (settled?.has(offset) && is) fail(`${key} offset ${offset} (${head(body)}) was settled and came again`)
      if (is || offset < min || place < world.start || settled?.has(offset)) continue
      // A settlement whose answer was lost: from now on it holds.
      if (model.unsure.has(body) || ended.has(body)) model.settle(topic, index, offset)
      else fail(`${key} offset ${offset} (${head(body)}) does not come any more`)
    }
  }
}
