import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Coverage } from './campaign/coverage.ts'
import { liveThrough } from './kill/lives.ts'

/** Brokers, each killed so often: two in `npm test`, more where a planted fault is to be found. */
const BROKERS = Number(process.env.SLUICE_BROKERS ?? 2)
const KILLS = 3

describe('kill −9', () => {
  let cache: string
  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), 'sluice-kill-cache-'))
  })
  afterAll(() => rm(cache, { recursive: true, force: true }))

  it('leaves what was acknowledged, in a process that is killed at work', async () => {
    for (let seed = 1; seed <= BROKERS; seed++) {
      const { failure, unanswered } = await liveThrough(seed, KILLS, cache, new Coverage())
      if (failure !== undefined) throw new Error(failure)
      expect(unanswered).toHaveLength(KILLS)
    }
  }, 120_000)
})
