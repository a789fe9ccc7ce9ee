import { setFlagsFromString } from 'node:v8'
import type { Clock } from './clock.ts'
import type { Ms } from './model.ts'

/** What the heap may at least grow by before all of it is marked again. */
const HEADROOM = 96 * 1024 * 1024
const LOOK_MS: Ms = 10_000

/** How much of its size a heap grows by before it is marked again, in percent; 0: as the engine sees fit. */
export const growthOf = (heapBytes: number): number =>
  heapBytes >= HEADROOM * 2 ? 0 : Math.min(1_000, Math.ceil((100 * HEADROOM) / heapBytes))

/**
 * For a process that is ours alone. V8 starts to mark a small heap again after it grew by 8 MiB, buffers among them: of a
 * gateway under load that is ten times a second for the bytes that it reads, a quarter of its time and 20 ms in which
 * requests wait. This gives a small heap room to grow; what a large one does stays V8's choice.
 * @returns ends it
 */
export const keepHeadroom = (clock: Clock): (() => void) => {
  const look = () => setFlagsFromString(`--heap-growing-percent=${growthOf(process.memoryUsage().heapUsed)}`)
  look()
  return clock.every(LOOK_MS, look)
}
