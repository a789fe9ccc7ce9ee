import { fail } from './fail.ts'
import { head } from './model.ts'
import { exactlyOnce } from './queues.ts'
import { message, type World } from './world.ts'

const TOPIC = 'K'
const KEEP_MS = 3_600_000

/** Publishes under keys, each repeated until it was answered: none is lost, none is there twice. */
export class Keyed {
  /** By key, with body. */
  readonly unanswered = new Map<string, string>()
  readonly answered = new Map<string, { readonly body: string; readonly place: number }>()
  count = 0
}

const publishKeyed = async (world: World, key: string, body: string): Promise<void> => {
  const { keyed } = world.model
  const once = { key, keep: KEEP_MS }
  const [stored] = await world.publish([{ topic: TOPIC, body: Buffer.from(body), properties: {} }], { once })
  const { place, queue, offset } = stored!
  const known = keyed.answered.get(key)
  if (known && known.place !== place) fail(`the repeat of ${head(body)} was stored again`)
  world.model.tell(TOPIC, queue.index, offset, { body, place })
  keyed.unanswered.delete(key)
  keyed.answered.set(key, { body, place })
}

const sendKeyed = async (world: World): Promise<void> => {
  const { random, model } = world
  const { unanswered, answered } = model.keyed
  const again = [...(random.chance(0.5) ? unanswered : [...answered].map(([key, { body }]) => [key, body] as const))]
  if (again.length > 0 && random.chance(0.4)) {
    const [key, body] = random.pick(again)
    return publishKeyed(world, key, body)
  }
  const key = `key${model.keyed.count++}`
  const body = message(world, TOPIC).body.toString()
  unanswered.set(key, body)
  await publishKeyed(world, key, body)
}

export const keyedOperations = [sendKeyed, sendKeyed]

export const verifyKeyed = async (world: World): Promise<void> => {
  const { unanswered, answered } = world.model.keyed
  for (const [key, { body }] of answered) await publishKeyed(world, key, body)
  for (const [key, body] of [...unanswered]) await publishKeyed(world, key, body)
  if (answered.size === 0) return
  await exactlyOnce(
    world,
    TOPIC,
    2,
    [...answered.values()].map(({ body }) => body),
  )
}
