import type { Clock, EpochMs, Ms } from '@sluice/core'

interface Timer {
  at: EpochMs
  readonly period: Ms | undefined
  readonly run: () => void
}

/** Time that passes only when a test says so. */
export interface FakeClock extends Clock {
  /** Runs what falls due within the next `ms`, in order of time, without a turn of the event loop between. */
  advance(ms: Ms): void
  /** As `advance`, with a turn of the event loop after each moment at which something ran, so that promises move too. */
  pass(ms: Ms): Promise<void>
  /** Timers that wait. */
  readonly pending: number
}

/** `start`: 2026-01-01T00:00:00Z unless given. */
export const fakeClock = (start: EpochMs = 1_767_225_600_000): FakeClock => {
  const timers = new Set<Timer>()
  let now = start
  const add = (timer: Timer) => {
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  /** Runs the timers of the next moment up to `end`; false when there is none. */
  const step = (end: EpochMs): boolean => {
    let at = Number.POSITIVE_INFINITY
    for (const timer of timers) at = Math.min(at, timer.at)
    if (at > end) return false
    now = Math.max(now, at)
    for (const timer of [...timers]) {
      if (timer.at > now || !timers.has(timer)) continue
      if (timer.period === undefined) timers.delete(timer)
      else timer.at += timer.period
      timer.run()
    }
    return true
  }
  return {
    now: () => now,
    after: (delay, run) => add({ at: now + Math.max(0, delay), period: undefined, run }),
    every: (period, run) => add({ at: now + Math.max(1, period), period: Math.max(1, period), run }),
    advance(ms) {
      const end = now + ms
      while (step(end));
      now = end
    },
    async pass(ms) {
      const end = now + ms
      await turn()
      while (step(end)) await turn()
      now = end
      await turn()
    },
    get pending() {
      return timers.size
    },
  }
}

/** One turn of the event loop: promises that can settle have, writes of this tick have left. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** So many turns: enough for a chain of `count` asynchronous steps between a client and the fake gateway. */
export const turns = async (count = 8): Promise<void> => {
  for (let left = count; left > 0; left--) await turn()
}
