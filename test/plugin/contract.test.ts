import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { driver } from './driver.ts'

describe('the lines plugin keeps the contract of a protocol', () => {
  for (const { name, run } of contractChecks(driver)) it(name, run)
})
