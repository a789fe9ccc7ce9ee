import { parentPort, workerData } from 'node:worker_threads'
import { Coverage } from '../campaign/coverage.ts'
import { type Failure, runSeeds } from './seeds.ts'

/** A part of the seeds on a core of its own. */
export interface Part {
  readonly from: number
  readonly count: number
  readonly stopAt: number
}
export interface Done {
  readonly failures: readonly Failure[]
  readonly counts: readonly (readonly [string, number])[]
}

const { from, count, stopAt } = workerData as Part
const coverage = new Coverage()
const failures = await runSeeds(from, count, {}, stopAt, coverage)
parentPort!.postMessage({ failures, counts: coverage.counts } satisfies Done)
