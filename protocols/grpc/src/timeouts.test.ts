import { describe, expect, it } from 'vitest'
import { deadlineOf } from './timeouts.ts'

describe('grpc-timeout', () => {
  it('counts from now, in every unit', () => {
    const left = (timeout: string) => deadlineOf(timeout, 1_000) - 1_000
    expect(['3S', '1H', '2M', '250m', '1000u', '1000000n'].map(left)).toEqual([3_000, 3_600_000, 120_000, 250, 1, 1])
  })

  it('may be longer than 32 bits of milliseconds hold', () => {
    for (const endless of ['31535999M', '87600H', '2147484S', '99999999H']) {
      expect(deadlineOf(endless, 0)).toBeGreaterThan(2 ** 31 - 1)
    }
  })

  it('is none where it is absent or no time', () => {
    for (const none of [undefined, '', 'soon', '123456789S', '5', '-1S', 'S']) {
      expect(deadlineOf(none, 5)).toBe(Number.POSITIVE_INFINITY)
    }
  })
})
