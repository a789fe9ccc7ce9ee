import assert from 'node:assert/strict'
import type { Ms } from '@sluice/core'
import type { Check } from '../check.ts'
import { Bench } from './bench.ts'
import type { ContractCheck } from './check.ts'
import { drain } from './drain.ts'
import type { Driver } from './driver.ts'
import { faults } from './faults.ts'
import { isolation } from './isolation.ts'
import { limits } from './limits.ts'
import { messages } from './messages.ts'

const contract: readonly ContractCheck[] = [...messages, ...limits, ...faults, ...drain, ...isolation]

/** In real time: how long a check waits for what should happen at once. */
export interface ContractOptions {
  /** Default 10 s: a busy machine is no failure. */
  readonly patienceMs?: Ms
  /** Where it is declared missing, and so will not happen. Default 1 s. */
  readonly missingMs?: Ms
}

/**
 * The contract of a protocol, as checks for any runner:
 *
 *     describe('mqtt', () => { for (const { name, run } of contractChecks(driver)) it(name, run) })
 *
 * A check that needs something the driver declares missing is run as well, and must fail: its name then says why.
 */
export const contractChecks = (
  driver: Driver,
  { patienceMs = 10_000, missingMs = 1_000 }: ContractOptions = {},
): readonly Check[] =>
  contract.map((check) => {
    const missing = check.needs && driver.declared?.[check.needs]
    if (missing === undefined) return { name: check.name, run: () => onBench(driver, check, patienceMs) }
    return {
      name: `${check.name} (not here: ${missing})`,
      run: () =>
        assert.rejects(
          onBench(driver, check, missingMs),
          undefined as never,
          `'${check.needs}' is declared missing, but works: take it off the list`,
        ),
    }
  })

const onBench = async (driver: Driver, check: ContractCheck, patience: Ms): Promise<void> => {
  const bench = await Bench.open(driver, check.limits ? { limits: check.limits } : {}, patience)
  try {
    await check.run(bench)
  } finally {
    await bench.close()
  }
}
