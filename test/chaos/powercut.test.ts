import { describe, expect, it } from 'vitest'
import { firstFailure, runSeeds } from './powercut/seeds.ts'

const SEEDS = Number(process.env.SLUICE_SEEDS ?? 150)

describe('power cut', () => {
  it(`leaves what was acknowledged, in ${SEEDS} seeds`, async () => {
    const failure = await firstFailure(1, SEEDS)
    if (failure !== undefined) throw new Error(failure)
  }, 120_000)

  it.each([
    ['fdatasync that does nothing', { noSync: true }],
    ['an acknowledgement before fdatasync is done', { earlySync: true }],
    ['names that are not made durable', { noDirSync: true }],
  ])('is a test that sees %s', async (_, faults) => {
    expect(await runSeeds(1, 100, faults, 1)).toHaveLength(1)
  })
})
