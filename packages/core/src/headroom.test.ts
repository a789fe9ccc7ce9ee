import { expect, it } from 'vitest'
import { growthOf, youngGrowthOf } from './headroom.ts'

const MiB = 1024 * 1024

it('lets a small heap grow by 96 MiB, a tiny one tenfold, and a large one double', () => {
  expect(growthOf(32 * MiB)).toBe(300)
  expect(growthOf(64 * MiB)).toBe(150)
  expect(growthOf(1 * MiB)).toBe(1_000)
  expect(growthOf(96 * MiB)).toBe(100)
  expect(growthOf(2_000 * MiB)).toBe(100)
})

it('lets the young generation double until it has two halves of 16 MiB', () => {
  expect([2, 16, 31, 32, 128].map((size) => youngGrowthOf(size * MiB))).toEqual([2, 2, 2, 1, 1])
})
