import { defaultLimits } from '@sluice/core'
import { codecProperties } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { codec } from './lines/src/codec.ts'

const limits = { ...defaultLimits, frameBytes: 1024 }
const word = fc.stringMatching(/^[!-~]{0,8}$/)
const line = fc
  .tuple(fc.stringMatching(/^[A-Z]{1,5}$/), fc.array(word, { maxLength: 4 }))
  .map(([verb, words]) => [verb, ...words])

describe('lines', () => {
  const announcements = [Buffer.alloc(limits.frameBytes + 1, 'A')]
  for (const { name, run } of codecProperties('lines', codec(limits), line, limits, { announcements, runs: 2_000 })) {
    it(name, run)
  }
})
