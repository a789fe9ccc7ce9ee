import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Checks, type Suite } from '../run/suites.ts'
import { Coverage } from './campaign/coverage.ts'
import { liveThrough } from './kill/lives.ts'

/** Brokers, each killed so often with requests under way. */
const BROKERS = { ci: 8, full: 60 }
const KILLS = 5

/** In all brokers together. */
const LEAST = {
  'kills from outside': 8,
  'kills in the middle of a file operation': 8,
  'kills while it came up': 1,
  'segments rolled': 20,
  'indexes rebuilt': 5,
  'opened with timers': 20,
  'opened with transactions': 20,
}

/** Kills of a broker process in the middle of work of all kinds; `SLUICE_SEED` tries one seed alone. */
const kill: Suite = async ({ profile }) => {
  const checks = new Checks()
  const one = process.env.SLUICE_SEED
  const seeds = one === undefined ? Array.from({ length: BROKERS[profile] }, (_, at) => at + 1) : [Number(one)]
  const cache = await mkdtemp(join(tmpdir(), 'sluice-kill-cache-'))
  const coverage = new Coverage()
  const unanswered: number[] = []
  try {
    await checks.check(
      `${seeds.length * KILLS} kills in the middle of work: what was acknowledged is there`,
      async () => {
        for (const seed of seeds) {
          const outcome = await liveThrough(seed, KILLS, cache, coverage)
          unanswered.push(...outcome.unanswered)
          if (outcome.failure !== undefined) throw new Error(outcome.failure)
        }
      },
    )
    const [least, most] = [Math.min(...unanswered), Math.max(...unanswered)]
    console.log(`     ${unanswered.length} kills, each with ${least} to ${most} requests unanswered`)
    await checks.check('they hit what they are to hit', () => coverage.require(one === undefined ? LEAST : {}))
    console.log(`     ${coverage.text()}`)
  } finally {
    await rm(cache, { recursive: true, force: true })
  }
  return checks.counts
}

export default kill

/** The same by its profile alone. */
export const run = (profile: 'ci' | 'full') => kill({ profile })
