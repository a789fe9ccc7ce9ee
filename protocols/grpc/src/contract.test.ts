import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { driver } from '../test/driver.ts'

describe('gRPC keeps the contract of a protocol', () => {
  for (const { name, run } of contractChecks(driver)) it.concurrent(name, run)
})
