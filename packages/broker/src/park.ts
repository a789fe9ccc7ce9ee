import { type EpochMs, Fault } from '@sluice/core'
import type { Core } from './core.ts'
import type { Reader } from './topics.ts'

/**
 * Parks a poll: no timer of its own, one entry in the wheel.
 * @param join puts the reader where it is woken from, @param leave takes it out again
 * @returns whether it was woken, before its time was over, its client gave up or the broker closed
 * @throws Fault 'limit' about 'poll' when too many wait
 */
export const park = (
  core: Core,
  until: EpochMs,
  signal: AbortSignal | undefined,
  join: (reader: Reader) => void,
  leave: (reader: Reader) => void,
): Promise<boolean> => {
  if (core.parked >= core.state.bounds.parked)
    throw new Fault('limit', `${core.parked} polls wait already`, { about: 'poll' })
  if (core.closing || signal?.aborted) return Promise.resolve(false)
  core.parked++
  return new Promise((resolve) => {
    const done = (woken: boolean): void => {
      core.parked--
      leave(reader)
      core.waiting.delete(gone)
      cancel()
      signal?.removeEventListener('abort', gone)
      resolve(woken)
    }
    const gone = () => done(false)
    const reader: Reader = { wake: () => done(true) }
    join(reader)
    core.waiting.add(gone)
    const cancel = core.wheel.at(until, gone)
    signal?.addEventListener('abort', gone, { once: true })
  })
}
