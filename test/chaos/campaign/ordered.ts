import { fail } from './fail.ts'
import { head, keyOf } from './model.ts'
import { everyUnsettled } from './queues.ts'
import { INVISIBLE_MS, message, type World } from './world.ts'

const TOPIC = 'F'
const CONSUMERS = 'gf'
const GROUPS = 4
const ALL = 200

/** A topic whose messages have groups, and a group of consumers that takes them in order. */
export class Ordered {
  /** Queue of each message group. */
  readonly queues = new Map<string, number>()
  isConsuming = false
}

/** All messages of a group of messages are in one queue. */
const sendOrdered = async (world: World): Promise<void> => {
  const { random, model } = world
  const group = `k${random.int(GROUPS)}`
  const one = message(world, TOPIC, { group })
  const [stored] = await world.publish([one])
  const { queue, offset, place } = stored!
  const known = model.ordered.queues.get(group)
  if (known !== undefined && known !== queue.index) fail(`group ${group} is in queues ${known} and ${queue.index}`)
  model.ordered.queues.set(group, queue.index)
  model.tell(TOPIC, queue.index, offset, { body: one.body.toString(), place })
}

/** One batch of a queue at a time, and none beyond one that is not settled. */
const popInOrder = async (world: World, max: number) => {
  const { model } = world
  const source = { kind: 'group', topic: TOPIC, group: CONSUMERS } as const
  const delivered = await world.pop(TOPIC, max, { source, fifo: true })
  const batch = new Set(delivered.map(({ message: { queue, offset } }) => `${queue.index} ${offset}`))
  for (const { message: one, receipt } of delivered) {
    const { index } = one.queue
    const key = keyOf(TOPIC, index)
    for (const [offset, { body, place }] of model.told.get(key) ?? []) {
      if (offset >= one.offset || place < world.start || batch.has(`${index} ${offset}`)) continue
      if (model.settled.get(key)?.has(offset) || model.unsure.has(body)) continue
      fail(`${key} ${one.offset} came before ${offset} (${head(body)}) was settled`)
    }
    if (model.settled.get(key)?.has(one.offset)) fail(`${key} ${one.offset} was settled and came again`)
    if (receipt?.of !== 'group') return fail('a delivery without a receipt')
    const isGone = (offset: number) => (model.told.get(key)?.get(offset)?.place ?? 0) < world.start
    const other = model.outBeside(receipt, (offset) => batch.has(`${index} ${offset}`) || isGone(offset))
    if (other !== undefined) fail(`${key} ${one.offset} came while ${other} is out`)
  }
  return delivered
}

const consumeOrdered = async (world: World): Promise<void> => {
  const { random, model } = world
  // One consumer: what it is told and what it says have one order.
  if (model.ordered.isConsuming) return
  model.ordered.isConsuming = true
  try {
    const delivered = await popInOrder(world, 1 + random.int(4))
    if (delivered.length === 0 || random.chance(0.2)) return
    const some = delivered.slice(0, 1 + random.int(delivered.length))
    if (random.chance(0.2)) {
      const outcome = { kind: 'retry', after: random.int(2) * 1000, counts: true } as const
      await world.settle(
        some.map(({ receipt }) => receipt!),
        outcome,
      )
    } else await world.accept(some)
  } finally {
    model.ordered.isConsuming = false
  }
}

export const orderedOperations = [sendOrdered, sendOrdered, consumeOrdered, consumeOrdered]

/** What is out stays out; then everything that is not settled comes, in order. */
export const verifyOrdered = async (world: World): Promise<void> => {
  const { model, site } = world
  model.ordered.isConsuming = false
  await popInOrder(world, ALL)
  await site.pass(INVISIBLE_MS + 1000)
  for (;;) {
    const delivered = await popInOrder(world, ALL)
    if (delivered.length === 0) break
    await world.accept(delivered)
  }
  await everyUnsettled(world, TOPIC, new Set())
}
