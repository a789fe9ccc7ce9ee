import { Checks, type Suite } from '../run/suites.ts'
import { Coverage } from './campaign/coverage.ts'
import type { Faults } from './powercut/disk.ts'
import { runInParts } from './powercut/parts.ts'
import { type Failure, runSeeds } from './powercut/seeds.ts'

const SEEDS = { ci: 2000, full: 20_000 }
/** Seeds that a planted fault is looked for with: each is found within the first few. */
const PLANTED_SEEDS = 200

const planted: readonly { readonly name: string; readonly faults: Faults }[] = [
  { name: 'fdatasync does nothing', faults: { noSync: true } },
  { name: 'acknowledged before fdatasync is done', faults: { earlySync: true } },
  { name: 'names are not made durable', faults: { noDirSync: true } },
]

/** In all seeds together. */
const LEAST = {
  'segments rolled': 1000,
  'segments deleted': 100,
  'cuts in a segment roll': 50,
  'cuts in a snapshot or index': 50,
  'logs that end in zeros': 500,
  'cuts while it came up': 200,
  'cuts in an index rebuild': 20,
  'cuts while timers are loaded': 100,
  'indexes rebuilt': 200,
  'opened with timers': 1000,
  'opened with transactions': 500,
}

const words = (failures: readonly Failure[]): string =>
  failures.map(({ seed, text }) => `seed ${seed}: ${text.split('\n')[0]}`).join('\n')

/** Power cuts of a simulated disk; `SLUICE_SEED` tries one seed alone. */
const powercut: Suite = async ({ profile }) => {
  const checks = new Checks()
  const one = process.env.SLUICE_SEED
  const from = one === undefined ? 1 : Number(one)
  const count = one === undefined ? SEEDS[profile] : 1
  const coverage = new Coverage()
  await checks.check(`${count} seeds: what was acknowledged is there after the power went`, async () => {
    const failures = await runInParts(from, count, coverage)
    if (failures.length > 0) throw new Error(words(failures))
  })
  await checks.check('the power goes where it is to go', () => coverage.require(one === undefined ? LEAST : {}))
  console.log(`     ${coverage.text()}`)
  for (const { name, faults } of planted) {
    await checks.check(`the harness sees it when ${name}`, async () => {
      const failures = await runSeeds(1, PLANTED_SEEDS, faults, 1)
      if (failures.length === 0) throw new Error(`${PLANTED_SEEDS} seeds passed`)
      console.log(`     ${words(failures)}`)
    })
  }
  return checks.counts
}

export default powercut

/** The same by its profile alone. */
export const run = (profile: 'ci' | 'full') => powercut({ profile })
