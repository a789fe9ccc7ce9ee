import { defaultLimits } from '@sluice/core'
import { goldenFrames } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { amqpCodec } from './codec.ts'

describe('what clients really sent', () => {
  for (const { name, run } of goldenFrames(new URL('../fixtures', import.meta.url).pathname, amqpCodec(defaultLimits)))
    it(name, run)
})
