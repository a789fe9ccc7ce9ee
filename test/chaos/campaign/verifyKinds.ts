import { Fault, type Half } from '@sluice/core'
import { fail } from './fail.ts'
import { DAY, PULLERS } from './kinds.ts'
import { head } from './model.ts'
import { countBodies } from './queues.ts'
import { verifyWills } from './wills.ts'
import type { World } from './world.ts'

const countsOf = async (world: World, known: ReadonlySet<string>, topic: string, queues: number) =>
  known.has(topic) ? countBodies(world, topic, queues) : new Map<string, number>()

/** Committed: there once. Rolled back or undecided: not there. Decided: it cannot be decided again. */
const transactions = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  const counts = await countsOf(world, known, 'X', 2)
  for (const [body, decision] of world.model.halves) {
    const times = counts.get(body) ?? 0
    const { half, asked, acknowledged } = decision
    if (times > 1) fail(`X has ${head(body)} ${times} times`)
    if (times > 0 && asked !== 'commit') fail(`X shows ${head(body)}, of which ${asked} was asked`)
    if (times === 0 && asked === 'commit' && acknowledged && world.isWhole) fail(`X has no ${head(body)}`)
    const open = await isOpen(world, half)
    if (asked === 'nothing' && !open) fail(`the transaction ${head(body)} is gone`)
    if ((acknowledged || times > 0) && open) fail(`the transaction ${head(body)} is decided and still open`)
    if (asked === 'nothing' || acknowledged) continue
    // A decision without an answer: it was taken, or may be taken now.
    if (open) decision.asked = 'nothing'
    else if (asked === 'commit' && times === 0 && world.isWhole) fail(`${head(body)} was committed to nowhere`)
    else decision.acknowledged = true
  }
  for (const body of counts.keys())
    if (!world.model.halves.has(body) && counts.get(body)! > 1) fail(`X has ${head(body)} twice`)
}

const isOpen = async (world: World, half: Half): Promise<boolean> => {
  try {
    await world.run<'endTransaction'>({ kind: 'endTransaction', half, resolution: 'unknown', byCheck: true })
    return true
  } catch (error) {
    if (Fault.is(error) && error.code === 'notFound') return false
    throw error
  }
}

/** As often in the retries and dead letters of the group as it was sent there. */
const sentBack = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  const counts = await countsOf(world, known, `%RETRY%${PULLERS}`, 1)
  for (const [body, times] of await countsOf(world, known, `%DLQ%${PULLERS}`, 1))
    counts.set(body, (counts.get(body) ?? 0) + times)
  for (const [body, { acknowledged, tried }] of world.model.sentBack) {
    const times = counts.get(body) ?? 0
    if (times > tried) fail(`${head(body)} was sent back ${tried} times and stands ${times} times`)
    if (times < acknowledged && world.isWhole)
      fail(`${head(body)} was sent back ${acknowledged} times, is there ${times}`)
    if (world.isWhole) world.model.sentBack.set(body, { acknowledged: times, tried: times })
  }
}

/** Nothing of the days ahead is there yet. */
const timers = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  const [early] = await countsOf(world, known, 'L', 2)
  if (early) fail(`${head(early[0])} came days before its time`)
}

export const verifyKinds = async (world: World, known: ReadonlySet<string>): Promise<void> => {
  await transactions(world, known)
  await sentBack(world, known)
  await timers(world, known)
}

/** Forty days later: every will was heard, every message whose day it was is there once, but those that were recalled. */
export const verifyEnd = async (world: World): Promise<void> => {
  const { model, broker, site } = world
  await site.leap(41 * DAY)
  await site.pass(1_000) // deadlines sleep so long before they see that time was put forward
  const waiting = async () => (await broker.stats()).delayed
  for (let tries = 0; tries < 500 && (await waiting()) > 0; tries++) {
    await site.pass(100)
    await site.idle()
  }
  await site.pass(100)
  if ((await waiting()) > 0) fail(`${await waiting()} messages do not come`)
  await world.publish([{ topic: 'last', body: Buffer.alloc(0), properties: {} }])
  const listed = await world.run<'admin'>({ kind: 'admin', action: { do: 'listTopics' } })
  const known = new Set('topics' in listed ? listed.topics.map(({ topic }) => topic) : [])
  const counts = await countsOf(world, known, 'L', 2)
  for (const [body, { recall }] of model.timers) {
    const times = counts.get(body) ?? 0
    if (times > 1) fail(`L has ${head(body)} ${times} times`)
    if (recall === 'done' && times > 0) fail(`${head(body)} was recalled and came`)
    if (recall === 'no' && times === 0) fail(`${head(body)} was to come and did not`)
  }
  await verifyWills(world, known, true)
}
