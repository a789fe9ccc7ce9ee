import { Fault } from '@sluice/core'
import { openBoxes, verifyBoxes } from './boxes.ts'
import { verifyDoomed } from './doomed.ts'
import { fail } from './fail.ts'
import { verifyKeyed } from './keyed.ts'
import { head, keyOf } from './model.ts'
import { verifyOrdered } from './ordered.ts'
import { countBodies, everyUnsettled, exactlyOnce, minOf, readAll } from './queues.ts'
import { verifyRetained } from './retained.ts'
import { verifyKinds } from './verifyKinds.ts'
import { verifyWills } from './wills.ts'
import { GROUP, INBOX, TOPICS, type World } from './world.ts'

const messages = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  for (const [key, told] of world.model.told) {
    const [topic = '', index = ''] = key.split('/')
    if (!known.has(topic)) fail(`topic ${topic} of acknowledged messages is gone`)
    const all = await readAll(world, topic, Number(index))
    const there = new Map(all.map(({ message }) => [message.offset, message]))
    const min = await minOf(world, topic, Number(index))
    for (const [offset, { body, place }] of told) {
      if (offset < min) continue
      const message = there.get(offset)
      if (!message) fail(`${key} offset ${offset} (${head(body)}) is gone`)
      else if (message.body.toString() !== body || message.place !== place)
        fail(`${key} offset ${offset} is another message`)
    }
  }
}

/** Bodies that were ended by one write with another message, which is there. Where retention is at work it may be gone. */
const endedBySwap = async (world: World, known: ReadonlySet<string>): Promise<ReadonlySet<string>> => {
  const { model } = world
  const there = known.has('S') ? await countBodies(world, 'S', 2) : new Map<string, number>()
  const { isWhole } = world
  const ended = new Set<string>()
  for (const [body, swap] of model.swapped) {
    if ((there.get(body) ?? 0) > 1) fail(`S has ${head(body)} twice`)
    if (swap.acknowledged && isWhole && !there.has(body)) fail(`S has no ${head(body)}`)
    if (there.has(body) || !isWhole) ended.add(swap.ended)
    // Without an answer: from now on it is what it is.
    else model.swapped.delete(body)
  }
  return ended
}

/** What was accepted never comes back; what was not comes. */
const group = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  const { model } = world
  const swapped = await endedBySwap(world, known)
  for (const topic of TOPICS) {
    const came = new Set<string>()
    const bodies = new Set<string>()
    for (;;) {
      const delivered = await world.pop(topic, 200)
      if (delivered.length === 0) break
      for (const { message } of delivered) {
        came.add(`${keyOf(topic, message.queue.index)} ${message.offset}`)
        bodies.add(message.body.toString())
      }
    }
    await everyUnsettled(world, topic, came, swapped)
    for (const body of model.dead) if (bodies.has(body)) fail(`${head(body)} is a dead letter and came again`)
  }
}

const repeats = async (world: World): Promise<void> => {
  const { model } = world
  for (const [slot, { body, place }] of model.once) {
    const once = {
      of: 'inbox',
      node: world.broker.node,
      inbox: INBOX,
      epoch: model.inbox.epochs.get(INBOX)!,
      way: 'in',
      slot,
    } as const
    const [stored] = await world.publish([{ topic: 'E', body: Buffer.from(body), properties: {} }], { once })
    if (stored!.place !== place) fail(`the repeat of ${head(body)} was stored again`)
  }
}

/** As it was committed or reset last. */
const offsets = async (world: World): Promise<void> => {
  const { model, broker } = world
  model.committing.clear()
  for (const [key, committed] of model.committed) {
    const [topic = ''] = key.split('/')
    const queue = { topic, node: broker.node, index: 0 }
    const { offset } = await world
      .run<'queryOffset'>({ kind: 'queryOffset', queue, at: { group: 'c' } })
      .catch((error: unknown) => {
        if (Fault.is(error) && (error.code === 'notFound' || error.code === 'topicNotFound')) return { offset: -1 }
        throw error
      })
    if (offset !== committed.sure && !committed.maybe.includes(offset))
      fail(`${key} was committed to ${committed.sure}, stands at ${offset}`)
    committed.sure = offset
    committed.maybe = []
  }
}

/** What is out stays out until its time is over: the model says so of each message that comes. */
const held = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  for (const topic of TOPICS) if (known.has(topic)) await world.pop(topic, 200)
}

/** Everything that was promised, on the broker that came back. */
export const verify = async (world: World): Promise<void> => {
  const { model, site, broker } = world
  const { unreadableBytes, unreadableRecords } = await broker.stats()
  if (unreadableBytes + unreadableRecords > 0)
    fail(`${unreadableBytes} bytes, ${unreadableRecords} records are said to be damaged`)
  const listed = await world.run<'admin'>({ kind: 'admin', action: { do: 'listTopics' } })
  const known = new Set('topics' in listed ? listed.topics.map(({ topic }) => topic) : [])
  for (const topic of model.topics) if (!known.has(topic)) fail(`topic ${topic} is gone`)
  await messages(world, known)
  await offsets(world)
  for (const boxes of [model.inbox, model.shared]) {
    await openBoxes(world, boxes)
    await verifyBoxes(world, boxes)
  }
  await repeats(world)
  await held(world, known)
  await site.pass(15_000)
  await site.idle()
  await group(world, known)
  await verifyOrdered(world)
  await verifyKeyed(world)
  await verifyRetained(world)
  await verifyDoomed(world, known)
  await verifyWills(world, known)
  if (known.has('D')) await exactlyOnce(world, 'D', 2, model.delayed)
  if (known.has('E')) await exactlyOnce(world, 'E', 2, [])
  if (known.has(`%DLQ%${GROUP}`)) await exactlyOnce(world, `%DLQ%${GROUP}`, 1, model.dead)
  await verifyKinds(world, known)
  // What was shown without an answer now stands: it was read from the disk.
  model.unsure.clear()
  if (world.troubles.length > 0) fail(world.troubles.slice(0, 3).join('\n'))
}
