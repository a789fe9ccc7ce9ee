import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { turns } from '@sluice/testkit'
import type { Coverage } from '../campaign/coverage.ts'
import { Random } from '../campaign/random.ts'
import type { Settings } from '../campaign/site.ts'
import { verify } from '../campaign/verify.ts'
import { verifyEnd } from '../campaign/verifyKinds.ts'
import { lastMoments, work } from '../campaign/workload.ts'
import { World } from '../campaign/world.ts'
import { acts, type Death } from './mortal.ts'
import { ChildSite, Killed } from './site.ts'

/** Runs of operations after which a process that has not died yet is killed. */
const PATIENCE = 8
const RUN = 30

export interface Outcome {
  /** Requests without an answer at each kill. */
  readonly unanswered: readonly number[]
  readonly failure: string | undefined
}

const settingsOf = (random: Random): Settings => ({
  flush: random.pick(['sync', 'async']),
  segmentBytes: random.pick([16, 64]) * 1024,
  retainBytes: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 192 * 1024]),
})

const deathOf = (random: Random, most: number): Death => {
  const act = random.pick(acts)
  return {
    act,
    at: 1 + random.int(act === 'write' || act === 'sync' ? most : 6),
    when: random.pick(['before', 'half', 'after']),
  }
}

/** Works until it is dead: killed from outside at some moment, or by itself in the middle of what it does with a file. */
const liveAndDie = async (world: World, site: ChildSite): Promise<number> => {
  const { random, coverage } = world
  const byItself = random.chance(0.6)
  if (byItself) await site.arm(deathOf(random, 80))
  const patience = byItself ? PATIENCE : 1 + random.int(3)
  for (let runs = patience; runs > 0 && !site.isDown; runs--) await work(world, RUN)
  if (site.isDown) {
    coverage.hit('kills in the middle of a file operation')
    return site.ended()
  }
  const last = Promise.all([work(world, RUN), lastMoments(world)])
  await after(random.int(12))
  while (site.pending === 0 && !site.isDown) await turns(1)
  coverage.hit('kills from outside')
  const unanswered = await site.kill()
  await last
  return unanswered
}

/** Up again and held to everything that was promised. It may be killed again before that is over. */
const comeBack = async (world: World, site: ChildSite): Promise<void> => {
  const { random, coverage } = world
  for (;;) {
    if (random.chance(0.25)) site.armNext(deathOf(random, 3))
    let isUp = false
    try {
      await world.open()
      isUp = true
      await verify(world)
      return await site.arm(undefined)
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      coverage.hit(isUp ? 'kills while it was looked at' : 'kills while it came up')
    }
  }
}

/** Lives of one broker, each ended by a kill and the next one held to what was promised in those before. */
export const liveThrough = async (seed: number, kills: number, cache: string, coverage: Coverage): Promise<Outcome> => {
  const random = new Random(seed)
  const dir = await mkdtemp(join(tmpdir(), 'sluice-kill-'))
  const site = new ChildSite(dir, cache, coverage)
  const world = new World(random, site, coverage, settingsOf(random))
  const unanswered: number[] = []
  try {
    await world.open()
    await world.prepare()
    while (unanswered.length < kills) {
      await world.openInboxes()
      const open = await liveAndDie(world, site)
      // One that left nobody without an answer is none.
      if (open > 0) unanswered.push(open)
      await turns(10)
      await comeBack(world, site)
    }
    await verifyEnd(world)
    await world.broker.close()
    return { unanswered, failure: undefined }
  } catch (error) {
    return { unanswered, failure: `seed ${seed}: ${error instanceof Error ? error.stack : String(error)}` }
  } finally {
    await site.close()
    await rm(dir, { recursive: true, force: true })
  }
}
