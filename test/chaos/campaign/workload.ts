import { type AdminResults, Fault, type Queue, type Slot } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { boxOperations } from './boxes.ts'
import { doomedOperations } from './doomed.ts'
import { keyedOperations } from './keyed.ts'
import { kinds, tail } from './kinds.ts'
import { type Committed, keyOf } from './model.ts'
import { orderedOperations } from './ordered.ts'
import { retainedOperations } from './retained.ts'
import { willOperations } from './wills.ts'
import { INBOX, message, TOPICS, type World } from './world.ts'

const publish = async (world: World): Promise<void> => {
  const { random, model } = world
  const urgent = () => (random.chance(0.2) ? { priority: random.int(10) } : {})
  const messages = Array.from({ length: 1 + random.int(4) }, () => message(world, random.pick(TOPICS), urgent()))
  const [isBound, isShared] = [model.inbox.bound.size > 0, model.shared.bound.size > 0]
  const stored = await world.publish(messages)
  stored.forEach(({ queue, offset, place }, at) => {
    const { topic, body } = messages[at]!
    model.tell(topic, queue.index, offset, { body: body.toString(), place })
    if (isBound && topic === 'A') model.inbox.published(body.toString(), place)
    if (isShared && topic === 'B') model.shared.published(body.toString(), place)
  })
}

const popAndSettle = async (world: World): Promise<void> => {
  const { random, model } = world
  const topic = random.pick(TOPICS)
  const delivered = await world.pop(topic, 1 + random.int(6))
  if (delivered.length === 0 || random.chance(0.2)) return
  await turns(random.int(6))
  const some = delivered.slice(0, 1 + random.int(delivered.length))
  const fate = random.int(10)
  const outcome =
    fate < 6
      ? ({ kind: 'accept' } as const)
      : fate < 8
        ? ({ kind: 'retry', after: random.int(3) * 1000, counts: true } as const)
        : ({ kind: 'dead' } as const)
  if (outcome.kind !== 'retry') for (const { message: one } of some) model.unsure.add(one.body.toString())
  const { failed } = await world.settle(
    some.map(({ receipt }) => receipt!),
    outcome,
  )
  const refused = new Set(failed.map(({ at }) => at))
  some.forEach(({ message: one }, at) => {
    if (refused.has(at) || outcome.kind === 'retry') return
    model.settle(topic, one.queue.index, one.offset)
    if (outcome.kind === 'dead') model.dead.add(one.body.toString())
  })
}

const read = async (world: World): Promise<void> => {
  const topic = world.random.pick(TOPICS)
  const queue = { topic, node: world.broker.node, index: world.random.int(2) }
  const { batch } = await world.run<'read'>({
    kind: 'read',
    from: { by: 'offset', queue, offset: world.random.int(20) },
    max: 20,
    bytes: 30_000,
    wait: 0,
  })
  for (const { message: one } of batch) world.model.show(one)
}

/** By a consumer that keeps its own offsets, or by an operator: forwards and backwards. */
const commit = async (world: World): Promise<void> => {
  const { model, random } = world
  const topic = random.pick(TOPICS)
  const key = keyOf(topic, 0)
  // One at a time: the last one counts.
  if (model.committing.has(key)) return
  model.committing.add(key)
  const known = model.committed.get(key) ?? { sure: -1, maybe: [] }
  model.committed.set(key, known)
  const queue = { topic, node: world.broker.node, index: 0 }
  try {
    known.sure = await (random.chance(0.8) ? commitTo(world, queue, known) : reset(world, queue, known))
    known.maybe = []
  } finally {
    model.committing.delete(key)
  }
}

const commitTo = async (world: World, queue: Queue, { sure, maybe }: Committed): Promise<number> => {
  const offset = Math.max(0, sure) + world.random.int(3)
  maybe.push(offset)
  await world.run<'commitOffset'>({ kind: 'commitOffset', queue, group: 'c', offset })
  return offset
}

/** To what is not below the beginning and not beyond the end: where that is, the answer says. */
const reset = async (world: World, queue: Queue, { maybe }: Committed): Promise<number> => {
  const { offset: max } = await world.run<'queryOffset'>({ kind: 'queryOffset', queue, at: 'max' })
  const offset = world.random.int(max + 1)
  for (let at = offset; at <= (world.isWhole ? offset : max); at++) maybe.push(at)
  const action = { do: 'resetOffset', topic: queue.topic, group: 'c', to: { offset }, queue } as const
  const told = (await world.run<'admin'>({ kind: 'admin', action })) as AdminResults['resetOffset']
  return told.offsets[0]!.offset
}

const delayed = async (world: World): Promise<void> => {
  const one = message(world, 'D', { deliverAt: world.site.now() + 1 + world.random.int(5000) })
  await world.publish([one])
  world.model.delayed.add(one.body.toString())
}

const once = async (world: World): Promise<void> => {
  const { model, random } = world
  const epoch = model.inbox.epochs.get(INBOX)!
  const slot = 1 + random.int(50)
  const place: Slot = { of: 'inbox', node: world.broker.node, inbox: INBOX, epoch, way: 'in', slot }
  const known = model.once.get(slot)
  if (known && random.chance(0.5)) {
    model.once.delete(slot)
    await world.settle([place], { kind: 'accept' })
    return
  }
  if (known) return
  const one = message(world, 'E')
  const [stored] = await world.publish([one], { once: place })
  // Another publish under the same slot may have been first: then this is its answer.
  if (!model.once.has(slot)) model.once.set(slot, { body: one.body.toString(), place: stored!.place })
}

const topic = async (world: World): Promise<void> => {
  const name = `T${world.random.int(1000)}`
  await world.run<'admin'>({
    kind: 'admin',
    action: { do: 'putTopics', topics: [{ topic: name, queues: 1, type: 'mixed' }] },
  })
  world.model.topics.add(name)
}

const pass = async (world: World): Promise<void> => {
  await world.site.pass(world.random.int(4) * 1000)
}

const operations = [
  publish,
  publish,
  publish,
  publish,
  popAndSettle,
  popAndSettle,
  popAndSettle,
  read,
  commit,
  delayed,
  once,
  topic,
  pass,
  ...kinds,
  ...boxOperations,
  ...orderedOperations,
  ...keyedOperations,
  ...retainedOperations,
  ...willOperations,
  ...doomedOperations,
]

/** Nobody has published there yet, or the broker is being closed in good order. */
const isExpected = (error: unknown): boolean =>
  Fault.is(error) &&
  (error.code === 'topicNotFound' || (error.code === 'unavailable' && error.message.includes('closed')))

type Operation = (world: World) => Promise<void>

/** A Fault while the broker lives is a trouble. */
const start = async (world: World, operation: Operation): Promise<void> => {
  const { broker, coverage, troubles } = world
  try {
    await operation(world)
    coverage.hit(`op ${operation.name}`)
  } catch (error) {
    if (broker.isDown || isExpected(error)) return
    const { stack } = error as Error
    troubles.push(`${operation.name}: ${Fault.is(error) ? error.code : ''} ${String(error)} ${stack}`)
  }
}

/** Operations side by side until the broker dies. */
export const work = async (world: World, count: number): Promise<void> => {
  const { broker, random } = world
  const running = new Set<Promise<void>>()
  for (let left = count; left > 0 && !broker.isDown; left--) {
    const run: Promise<void> = start(world, random.pick(operations)).finally(() => running.delete(run))
    running.add(run)
    await turns(random.int(4))
    while (running.size > 4) await Promise.race(running)
  }
  if (random.chance(0.5)) await Promise.all(running)
}

/** Writers, and readers at their heels: what goes on while the broker dies. Resolves when all of it has ended. */
export const lastMoments = async (world: World): Promise<void> => {
  await Promise.all([publish, tail, publish, tail, tail].map((operation) => start(world, operation)))
}
