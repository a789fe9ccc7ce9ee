import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { polls, streams } from '../test/drivers.ts'

describe('contract, by polls', () => {
  for (const { name, run } of contractChecks(polls, { patienceMs: 700 })) it(name, run)
})

describe('contract, by streams', () => {
  for (const { name, run } of contractChecks(streams, { patienceMs: 700 })) it(name, run)
})
