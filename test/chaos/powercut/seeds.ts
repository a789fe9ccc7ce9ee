import { turns } from '@sluice/testkit'
import { type Faults, PowerIsOff } from './disk.ts'
import { Random } from './random.ts'
import { verify } from './verify.ts'
import { verifyTimers } from './verifyKinds.ts'
import { work } from './workload.ts'
import { World } from './world.ts'

export interface Failure {
  readonly seed: number
  readonly text: string
}

/** Some lives of one broker with the power going in the middle of each. */
export const runSeed = async (seed: number, faults: Faults = {}): Promise<Failure | undefined> => {
  const random = new Random(seed)
  const world = new World(random, faults)
  try {
    await world.open()
    for (let life = 1 + random.int(3); life > 0; life--) {
      await world.openInbox()
      await work(world, 15 + random.int(45))
      if (random.chance(0.3)) await closeAndOpen(world)
      await cutAndOpen(world)
      await verify(world)
    }
    await verifyTimers(world)
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

const cutAndOpen = async (world: World): Promise<void> => {
  const { random } = world
  await turns(random.int(8))
  world.cut()
  // The power may go again while the broker comes back.
  for (let again = random.chance(0.2); again; again = random.chance(0.3)) {
    const opening = world.open()
    await turns(random.int(40))
    world.disk = world.disk.cut()
    await opening.catch((error: unknown) => {
      if (!(error instanceof PowerIsOff)) throw error
    })
  }
  await world.open()
}

/** @returns the seeds that failed, at most `stopAt` */
export const runSeeds = async (from: number, count: number, faults: Faults = {}, stopAt = 5): Promise<Failure[]> => {
  const failures: Failure[] = []
  for (let seed = from; seed < from + count && failures.length < stopAt; seed++) {
    const failure = await runSeed(seed, faults)
    if (failure) failures.push(failure)
  }
  return failures
}
