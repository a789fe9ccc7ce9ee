import type { Delivered } from '@sluice/core'
import { head, keyOf } from './model.ts'
import { verifyKinds } from './verifyKinds.ts'
import { GROUP, INBOX, TOPICS, type World } from './world.ts'

export const fail = (text: string): never => {
  throw new Error(text)
}

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

const minOf = async (world: World, topic: string, index: number): Promise<number> =>
  (await world.run<'queryOffset'>({ kind: 'queryOffset', queue: { topic, node: world.broker.node, index }, at: 'min' }))
    .offset

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
    for (const index of [0, 1]) {
      const key = keyOf(topic, index)
      const told = model.told.get(key)
      if (!told) continue
      const settled = model.settled.get(key)
      const min = await minOf(world, topic, index)
      for (const [offset, { body, place }] of told) {
        const is = came.has(`${key} ${offset}`)
        if (is && world.isWhole && swapped.has(body))
          fail(`${head(body)} was ended together with a message that is there, and came again`)
        if (settled?.has(offset) && is) fail(`${key} offset ${offset} (${head(body)}) was settled and came again`)
        if (is || offset < min || place < world.start || settled?.has(offset)) continue
        // A settlement whose answer was lost: from now on it holds.
        if (model.unsure.has(body) || swapped.has(body)) model.settle(topic, index, offset)
        else fail(`${key} offset ${offset} (${head(body)}) does not come to ${GROUP}`)
      }
    }
    for (const body of model.dead) if (bodies.has(body)) fail(`${head(body)} is a dead letter and came again`)
  }
}

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

const inbox = async (world: World): Promise<void> => {
  const { model } = world
  const came = new Set<string>()
  for (;;) {
    const delivered = await world.popInbox(200)
    if (delivered.length === 0) break
    for (const { message } of delivered) {
      came.add(message.body.toString())
    }
  }
  for (const body of model.accepted) if (came.has(body)) fail(`${head(body)} was accepted by the inbox and came again`)
  for (const [body, place] of model.waiting) {
    if (place >= world.start && !came.has(body)) fail(`${head(body)} is not in the inbox any more`)
  }
}

const repeats = async (world: World): Promise<void> => {
  for (const [slot, { body, place }] of world.model.once) {
    const once = { of: 'inbox', node: world.broker.node, inbox: INBOX, epoch: world.epoch, way: 'in', slot } as const
    const [stored] = await world.publish([{ topic: 'E', body: Buffer.from(body), properties: {} }], { once })
    if (stored!.place !== place) fail(`the repeat of ${head(body)} was stored again`)
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
  for (const [key, committed] of model.committed) {
    const [topic = ''] = key.split('/')
    const queue = { topic, node: broker.node, index: 0 }
    const { offset } = await world.run<'queryOffset'>({ kind: 'queryOffset', queue, at: { group: 'c' } })
    if (offset < committed) fail(`${key} was committed to ${committed}, stands at ${offset}`)
  }
  await world.openInbox()
  await inbox(world)
  await repeats(world)
  await held(world, known)
  await site.pass(15_000)
  await site.idle()
  await group(world, known)
  if (known.has('D')) await exactlyOnce(world, 'D', 2, model.delayed)
  if (known.has('E')) await exactlyOnce(world, 'E', 2, [])
  if (known.has(`%DLQ%${GROUP}`)) await exactlyOnce(world, `%DLQ%${GROUP}`, 1, model.dead)
  await verifyKinds(world, known)
  // What was shown without an answer now stands: it was read from the disk.
  model.unsure.clear()
  if (world.troubles.length > 0) fail(world.troubles.slice(0, 3).join('\n'))
}
