import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { amqpDriver } from '../test/driver.ts'

describe('AMQP keeps the contract of a protocol', () => {
  for (const { name, run } of contractChecks(amqpDriver)) it(name, run)
})
