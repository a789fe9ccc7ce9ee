import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { lineDriver } from './driver.ts'
import lines from './lines/src/index.ts'

describe('the lines plugin keeps the contract of a protocol', () => {
  for (const { name, run } of contractChecks(lineDriver(lines))) it(name, run)
})
