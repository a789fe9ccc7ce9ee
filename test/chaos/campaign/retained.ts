import { fail } from './fail.ts'
import { head } from './model.ts'
import { message, type World } from './world.ts'

const TOPIC = 'M'
const PATHS = 4
const LOOKER = 'looker'

interface Last {
  /** Acknowledged last; undefined: none, or it was taken away. */
  sure: string | undefined
  /** What came after it without an answer. */
  maybe: (string | undefined)[]
}

/** Of each path of a topic the last message is kept for those who come later. */
export class Retained {
  readonly last = new Map<string, Last>()
  readonly busy = new Set<string>()
}

const retain = async (world: World): Promise<void> => {
  const { random, model } = world
  const path = `p${random.int(PATHS)}`
  const { last, busy } = model.retained
  // One at a time: the last one counts.
  if (busy.has(path)) return
  busy.add(path)
  try {
    const known = last.get(path) ?? { sure: undefined, maybe: [] }
    last.set(path, known)
    const one = message(world, TOPIC, { path, retain: true })
    const isEnd = random.chance(0.2)
    const body = isEnd ? undefined : one.body.toString()
    known.maybe.push(body)
    await world.publish([isEnd ? { ...one, body: Buffer.alloc(0) } : one])
    known.sure = body
    known.maybe = []
  } finally {
    busy.delete(path)
  }
}

export const retainedOperations = [retain]

/** Who binds now gets the last of each path, and of none two. */
export const verifyRetained = async (world: World): Promise<void> => {
  const { last, busy } = world.model.retained
  busy.clear()
  const { epoch } = await world.run<'open'>({ kind: 'open', inbox: LOOKER, fresh: true, expiry: 0 })
  const add = [{ pattern: `${TOPIC}/#`, retained: 'send' }] as const
  await world.run<'bind'>({ kind: 'bind', inbox: LOOKER, epoch, add, remove: [] })
  const source = { kind: 'inbox', inbox: LOOKER, epoch } as const
  const { batch } = await world.run<'pop'>({ kind: 'pop', source, max: 100, invisible: 0, wait: 0, fifo: false })
  const found = new Map<string, string>()
  for (const { message: one } of batch) {
    const { path = '' } = one
    if (found.has(path)) fail(`${TOPIC}/${path} has two retained messages`)
    found.set(path, one.body.toString())
  }
  await world.run<'leave'>({ kind: 'leave', what: { inbox: LOOKER, epoch, will: 'drop' } })
  for (const [path, known] of last) {
    const is = found.get(path)
    if (is !== known.sure && !known.maybe.includes(is))
      fail(`${TOPIC}/${path} keeps ${is && head(is)} in place of ${known.sure && head(known.sure)}`)
    known.sure = is
    known.maybe = []
  }
}
