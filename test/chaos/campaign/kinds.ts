import { Fault, type Lease } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { REPLIES } from './model.ts'
import { INBOX, message, TOPICS, type World } from './world.ts'

export const PRODUCERS = 'p'
export const PULLERS = 'c'
export const DAY = 24 * 3_600_000

/** A refusal that the meaning of the command allows when something else came first. */
const unless = async (code: Fault['code'], run: Promise<unknown>): Promise<boolean> => {
  try {
    await run
    return true
  } catch (error) {
    if (Fault.is(error) && error.code === code) return false
    throw error
  }
}

const halves = async (world: World): Promise<void> => {
  const { random, model } = world
  const more = random.chance(0.2) ? { deliverAt: world.site.now() + random.int(5000) } : {}
  const one = message(world, 'X', { half: {}, ...more })
  const [stored] = await world.publish([one], { group: PRODUCERS })
  model.halves.set(one.body.toString(), { half: stored!.half!, asked: 'nothing', acknowledged: false })
}

const decide = async (world: World): Promise<void> => {
  const { random, model } = world
  const open = [...model.halves].filter(([, { asked }]) => asked === 'nothing')
  if (open.length === 0) return
  const [, decision] = random.pick(open)
  decision.asked = random.chance(0.6) ? 'commit' : 'rollback'
  const { half, asked } = decision
  await world.run<'endTransaction'>({ kind: 'endTransaction', half, resolution: asked, byCheck: false })
  decision.acknowledged = true
}

/** Asking changes nothing. */
const ask = async (world: World): Promise<void> => {
  const source = { kind: 'halves', topic: 'X', group: PRODUCERS } as const
  const { batch } = await world.run<'pop'>({ kind: 'pop', source, max: 4, invisible: 1000, wait: 0, fifo: false })
  for (const { message: one } of batch)
    if (!/^m\d+\./.test(one.body.toString())) throw new Error('a half message that nobody wrote')
}

const timer = async (world: World): Promise<void> => {
  const one = message(world, 'L', { deliverAt: world.site.now() + (1 + world.random.int(40)) * DAY })
  const [stored] = await world.publish([one])
  world.model.timers.set(one.body.toString(), { handle: stored!.recallHandle!, recall: 'no' })
}

const recall = async (world: World): Promise<void> => {
  const waiting = [...world.model.timers.values()].filter(({ recall: state }) => state === 'no')
  if (waiting.length === 0) return
  const one = world.random.pick(waiting)
  one.recall = 'tried'
  await world.run<'recall'>({ kind: 'recall', topic: 'L', handle: one.handle })
  one.recall = 'done'
}

/** A consumer that keeps its own offsets sends back what it has pulled. */
const sendBack = async (world: World): Promise<void> => {
  const { random, model, broker } = world
  const queue = { topic: 'A', node: broker.node, index: random.int(2) }
  const from = { by: 'offset', queue, offset: random.int(10) } as const
  const { batch } = await world.run<'read'>({ kind: 'read', from, max: 1, bytes: 30_000, wait: 0 })
  const [pulled] = batch
  if (!pulled) return
  const { offset, place, body } = pulled.message
  const lease: Lease = {
    of: 'group',
    node: broker.node,
    topic: 'A',
    group: PULLERS,
    queue: queue.index,
    offset,
    place,
    first: offset,
    poppedAt: 0,
    invisible: 0,
    revive: 0,
    retry: 0,
    attempt: 1,
  }
  const counts = model.sentBack.get(body.toString()) ?? { acknowledged: 0, tried: 0 }
  model.sentBack.set(body.toString(), counts)
  counts.tried++
  const outcome = random.chance(0.7)
    ? ({ kind: 'retry', after: random.int(3) * 1000, counts: true } as const)
    : ({ kind: 'dead' } as const)
  const { failed } = await world.settle([lease], outcome)
  if (failed.length === 0) counts.acknowledged++
  // Retention may take it between the two.
  else if (failed[0]!.fault.code === 'notFound') counts.tried--
  else throw failed[0]!.fault
}

/** Ends one message and stores another in the same write. */
const swap = async (world: World): Promise<void> => {
  const { random, model } = world
  const [popped] = await world.pop('C', 1)
  if (!popped) return
  await turns(random.int(4))
  const ended = popped.message.body.toString()
  const one = message(world, 'S')
  const state = { ended, acknowledged: false }
  model.swapped.set(one.body.toString(), state)
  model.unlease(popped.receipt as Lease)
  const done = await unless('receiptExpired', world.publish([one], { accepts: [popped.receipt!] }))
  if (!done) return void model.swapped.delete(one.body.toString())
  state.acknowledged = true
  model.settle('C', popped.message.queue.index, popped.message.offset)
}

const reply = async (world: World): Promise<void> => {
  const { model } = world
  const one = message(world, REPLIES)
  const [stored] = await world.publish([one], { into: { inbox: INBOX } })
  model.inbox.published(one.body.toString(), stored!.place)
}

/** A reader that is up to date looks again and again: what it sees must last. */
export const tail = async (world: World): Promise<void> => {
  const { model, random, broker } = world
  for (let looks = 8; looks > 0; looks--) {
    const queue = { topic: random.pick(TOPICS), node: broker.node, index: random.int(2) }
    const { offset } = await world.run<'queryOffset'>({ kind: 'queryOffset', queue, at: { last: 3 } })
    const from = { by: 'offset', queue, offset } as const
    const { batch } = await world.run<'read'>({ kind: 'read', from, max: 3, bytes: 30_000, wait: 0 })
    for (const { message: one } of batch) model.show(one)
    await turns(1)
  }
}

export const kinds = [tail, tail, halves, halves, decide, decide, ask, timer, recall, sendBack, swap, reply]
