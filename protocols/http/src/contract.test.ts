import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { polls, streams } from '../test/drivers.ts'

describe('contract, by polls', () => {
  for (const { name, run } of contractChecks(polls, { missingMs: 700 })) it(name, run)
})

describe('contract, by streams', () => {
  for (const { name, run } of contractChecks(streams, { missingMs: 700 })) it(name, run)
})
