import { Fault } from '@sluice/core'
import { expect } from 'vitest'
import { statusOf } from '../src/faults.ts'

/** The code by which `work` is refused; 0 when it is not. */
export const refusal = (work: () => unknown): number => {
  try {
    work()
  } catch (error) {
    expect(Fault.is(error), String(error)).toBe(true)
    return statusOf(error).code
  }
  return 0
}
