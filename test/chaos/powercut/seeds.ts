import { turns } from '@sluice/testkit'
import { Coverage } from '../campaign/coverage.ts'
import { Random } from '../campaign/random.ts'
import type { Settings } from '../campaign/site.ts'
import { verify } from '../campaign/verify.ts'
import { verifyEnd } from '../campaign/verifyKinds.ts'
import { lastMoments, work } from '../campaign/workload.ts'
import { World } from '../campaign/world.ts'
import { type Faults, PowerIsOff } from './disk.ts'
import { DiskSite } from './site.ts'

export interface Failure {
  readonly seed: number
  readonly text: string
}

const settingsOf = (random: Random): Settings => ({
  flush: 'sync',
  segmentBytes: random.pick([8, 32, 256]) * 1024,
  retainBytes: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 128 * 1024]),
})

/** Some lives of one broker with the power going in the middle of each. */
export const runSeed = async (
  seed: number,
  faults: Faults = {},
  coverage = new Coverage(),
): Promise<Failure | undefined> => {
  const random = new Random(seed)
  const site = new DiskSite(random, faults, coverage)
  const world = new World(random, site, coverage, settingsOf(random))
  try {
    await world.open()
    await world.prepare()
    for (let life = 1 + random.int(3); life > 0; life--) {
      await world.openInboxes()
      await work(world, 15 + random.int(45))
      if (random.chance(0.3)) await closeAndOpen(world)
      await cutAndOpen(world, site)
      await verify(world)
    }
    await verifyEnd(world)
    await world.broker.close()
    return undefined
  } catch (error) {
    return { seed, text: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

/** A clean end, and work after it, so that the power goes in a life that began with a checkpoint. */
const closeAndOpen = async (world: World): Promise<void> => {
  await turns(60)
  await world.broker.close()
  await world.open()
  await verify(world)
  await work(world, 20)
}

const cutAndOpen = async (world: World, site: DiskSite): Promise<void> => {
  const { random, model, coverage } = world
  void lastMoments(world)
  await turns(random.int(12))
  const { delayed } = await world.broker.stats()
  site.cut()
  model.forgetHeld()
  // The power may go again while the broker comes back.
  for (let again = random.chance(0.2); again; again = random.chance(0.3)) {
    const opening = world.open()
    if (random.chance(0.5)) await turns(random.int(40))
    else await Promise.race([site.rebuilding().then(() => turns(random.int(6))), opening])
    if (delayed > 0) coverage.hit('cuts while timers are loaded')
    site.cut()
    await opening.catch((error: unknown) => {
      if (!(error instanceof PowerIsOff)) throw error
    })
  }
  await world.open()
}

/** @returns the seeds that failed, at most `stopAt` */
export const runSeeds = async (
  from: number,
  count: number,
  faults: Faults = {},
  stopAt = 5,
  coverage = new Coverage(),
): Promise<Failure[]> => {
  const failures: Failure[] = []
  for (let seed = from; seed < from + count && failures.length < stopAt; seed++) {
    const failure = await runSeed(seed, faults, coverage)
    if (failure) failures.push(failure)
  }
  return failures
}

/** In words, on one line. */
export const firstFailure = async (from: number, count: number): Promise<string | undefined> => {
  const [failure] = await runSeeds(from, count, {}, 1)
  return failure && `seed ${failure.seed}: ${failure.text.split('\n')[0]}`
}
