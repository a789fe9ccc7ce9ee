import { fail } from './fail.ts'
import { head } from './model.ts'
import { countBodies } from './queues.ts'
import { message, type World } from './world.ts'

const TOPIC = 'W'

interface Will {
  readonly inbox: string
  epoch: number
  state: 'opening' | 'open' | 'leaving' | 'fired' | 'dropped'
}

/** The last message of a client that is gone: once, unless it left in peace. */
export class Wills {
  /** By body. */
  readonly all = new Map<string, Will>()
}

const openWithWill = async (world: World): Promise<void> => {
  const { all } = world.model.wills
  const one = message(world, TOPIC)
  const will: Will = { inbox: `w${all.size}`, epoch: 0, state: 'opening' }
  all.set(one.body.toString(), will)
  const after = world.random.int(3) * 1000
  const expiry = world.random.chance(0.5) ? 0 : 10 ** 12
  const opening = { kind: 'open', inbox: will.inbox, fresh: true, expiry, will: { message: one, after } } as const
  will.epoch = (await world.run<'open'>(opening)).epoch
  will.state = 'open'
}

const leaveWithWill = async (world: World): Promise<void> => {
  const { random, model } = world
  const open = [...model.wills.all.values()].filter(({ state }) => state === 'open')
  if (open.length === 0) return
  const will = random.pick(open)
  const how = random.pick(['drop', 'fire'] as const)
  will.state = 'leaving'
  const { inbox, epoch } = will
  await world.run<'leave'>({ kind: 'leave', what: { inbox, epoch, will: how } })
  will.state = how === 'fire' ? 'fired' : 'dropped'
}

export const willOperations = [openWithWill, leaveWithWill]

/** @param end all their times are over */
export const verifyWills = async (world: World, known: ReadonlySet<string>, end = false): Promise<void> => {
  const counts = known.has(TOPIC) ? await countBodies(world, TOPIC, 2) : new Map<string, number>()
  for (const [body, will] of world.model.wills.all) {
    const times = counts.get(body) ?? 0
    if (times > 1) fail(`${TOPIC} has the will ${head(body)} ${times} times`)
    if (times > 0 && will.state === 'dropped') fail(`${head(body)} was the will of a client that left in peace`)
    // Nobody came back for those that were open when the broker died.
    if (will.state === 'open') will.state = 'fired'
    if (end && will.state === 'fired' && times === 0 && world.isWhole) fail(`${head(body)} is a will that nobody heard`)
  }
}
