import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8'

/** What the heap may at least grow by before all of it is marked again. */
const HEADROOM = 96 * 1024 * 1024
/** Where each half of the young generation ends. V8 has a look at the machine, and may say 64 MiB. */
const YOUNG = 16 * 1024 * 1024

/** How much of what lives a heap grows by before it is marked again, in percent. */
export const growthOf = (heapBytes: number): number =>
  Math.max(100, Math.min(1_000, Math.ceil((100 * HEADROOM) / heapBytes)))

/** How many times as large the young generation becomes when much of it survives; 1: it stays. Both halves together. */
export const youngGrowthOf = (youngBytes: number): number => (youngBytes >= 2 * YOUNG ? 1 : 2)

const youngBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0

/**
 * For a process that is ours alone. V8 starts to mark a small heap again after it grew by 8 MiB, buffers among them: of a
 * gateway under load that is ten times a second for the bytes that it reads, a quarter of its time and 20 ms in which
 * requests wait. This gives a small heap room to grow. A large one would grow to four times of what lives and keep those
 * pages; it ends at twice that. A burst of what stays, ten thousand connections or a replay, would make the young generation
 * grow to 128 MiB, which are never given back: it ends at a quarter of that.
 *
 * V8 decides when a collection ends, by what was said before: a look after each one, of the young generation too, is never
 * further behind than that generation is large.
 * @returns ends it
 */
export const keepHeadroom = (): (() => void) => {
  let growth = 0
  let youngGrowth = 0
  const look = () => {
    const now = growthOf(getHeapStatistics().used_heap_size)
    if (now !== growth) setFlagsFromString(`--heap-growing-percent=${(growth = now)}`)
    if (youngGrowth === 1) return
    youngGrowth = youngGrowthOf(youngBytes())
    setFlagsFromString(`--semi-space-growth-factor=${youngGrowth}`)
  }
  const observer = new PerformanceObserver(look)
  observer.observe({ entryTypes: ['gc'] })
  look()
  return () => observer.disconnect()
}
