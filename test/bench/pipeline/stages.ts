import { defaultLimits, type Interceptor, systemClock, Wheel } from '@sluice/core'
import { governance, oneNode } from '@sluice/governance'
import { createMeter, Metrics } from '../../../packages/gateway/src/metrics.ts'

/** The stages in their order, as `governance` gives them. */
export const stageNames = [
  'trace',
  'underway',
  'tenancy',
  'authorize',
  'quota',
  'route',
  'darkRoom',
  'breaker',
] as const

export interface Stages {
  readonly stages: Readonly<Record<string, Interceptor>>
  end(): void
}

/** As the gateway makes them, with an unsampled tracer. */
export const makeStages = (): Stages => {
  const wheel = new Wheel(systemClock)
  const list = governance({
    tracer: { start: () => undefined },
    meter: createMeter(new Metrics()),
    limits: defaultLimits,
    wheel,
    clock: systemClock,
    router: oneNode('a'),
  })
  if (list.length !== stageNames.length) throw new Error(`${list.length} stages, ${stageNames.length} names`)
  return {
    stages: Object.fromEntries(stageNames.map((name, index) => [name, list[index]!])),
    end: () => wheel.close(),
  }
}
