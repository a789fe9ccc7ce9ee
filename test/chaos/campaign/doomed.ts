import { fail } from './fail.ts'
import { keyOf } from './model.ts'
import { exactlyOnce } from './queues.ts'
import { message, type World } from './world.ts'

const TOPIC = 'Y'
const CONSUMERS = 'gd'
const ATTEMPTS = 2
const INVISIBLE_MS = 1000

/** Messages whose consumers never say anything: after so many attempts each lies with the dead letters, once. */
export class Doomed {
  readonly bodies = new Set<string>()
}

export const prepareDoomed = async (world: World): Promise<void> => {
  const spec = { group: CONSUMERS, fifo: false, maxAttempts: ATTEMPTS, backoff: [1000] }
  await world.run<'admin'>({ kind: 'admin', action: { do: 'putGroup', spec } })
}

const sendDoomed = async (world: World): Promise<void> => {
  const one = message(world, TOPIC)
  await world.publish([one])
  world.model.doomed.bodies.add(one.body.toString())
}

const popDoomed = async (world: World): Promise<number> => {
  const source = { kind: 'group', topic: TOPIC, group: CONSUMERS } as const
  const delivered = await world.pop(TOPIC, 100, { source, invisible: INVISIBLE_MS })
  for (const { attempt, message: one } of delivered)
    if (attempt > ATTEMPTS) fail(`${keyOf(TOPIC, one.queue.index)} ${one.offset} came as attempt ${attempt}`)
  return delivered.length
}

export const doomedOperations = [
  sendDoomed,
  async function neglect(world: World): Promise<void> {
    await popDoomed(world)
  },
]

export const verifyDoomed = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  if (!known.has(TOPIC)) return
  for (let round = 0; round <= ATTEMPTS + 1; round++) {
    await popDoomed(world)
    await world.site.pass(INVISIBLE_MS + 100)
    await world.site.idle()
  }
  // A batch sends only so many to the dead letters at a time.
  for (let left = 10; left > 0 && (await popDoomed(world)) > 0; left--) await world.site.pass(INVISIBLE_MS + 100)
  await world.site.idle()
  await exactlyOnce(world, `%DLQ%${CONSUMERS}`, 1, world.model.doomed.bodies)
}
