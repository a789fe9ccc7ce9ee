import { contractChecks } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { driver } from '../test/driver.ts'

for (const version of [4, 5] as const) {
  describe(`the contract, MQTT ${version}`, () => {
    for (const { name, run } of contractChecks(driver(version))) it(name, run)
  })
}
