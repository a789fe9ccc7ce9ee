import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Coverage } from '../campaign/coverage.ts'
import type { Failure } from './seeds.ts'
import type { Done, Part } from './worker.ts'

/** More would disturb who else works here. */
const CORES_MAX = 4

const runPart = async (part: Part): Promise<Done> => {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: part })
  const [done] = (await once(worker, 'message')) as [Done]
  await worker.terminate()
  return done
}

/** Seeds side by side, a part a core. @returns those that failed, at most `stopAt` a part */
export const runInParts = async (
  from: number,
  count: number,
  coverage: Coverage,
  stopAt = 5,
): Promise<readonly Failure[]> => {
  const cores = Math.min(CORES_MAX, availableParallelism(), count)
  const size = Math.ceil(count / cores)
  const parts = Array.from({ length: cores }, (_, at): Part => {
    const begin = from + at * size
    return { from: begin, count: Math.min(size, from + count - begin), stopAt }
  })
  const all = await Promise.all(parts.map(runPart))
  for (const { counts } of all) for (const [what, times] of counts) coverage.hit(what, times)
  return all.flatMap(({ failures }) => failures)
}
