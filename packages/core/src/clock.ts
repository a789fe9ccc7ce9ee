import type { EpochMs, Ms } from './model.ts'

/** Time as everything here sees it. Tests inject a fake; nothing else reads the time or sets a timer of its own. */
export interface Clock {
  now(): EpochMs
  /** Runs every `period` ms until the returned function is called. Never keeps the process alive. */
  every(period: Ms, run: () => void): () => void
  /** Runs once after `delay` ms unless the returned function is called before. Never keeps the process alive. */
  after(delay: Ms, run: () => void): () => void
}

export const systemClock: Clock = {
  now: Date.now,
  every(period, run) {
    const timer = setInterval(run, period)
    timer.unref()
    return () => clearInterval(timer)
  },
  after(delay, run) {
    const timer = setTimeout(run, Math.min(delay, 2 ** 31 - 1))
    timer.unref()
    return () => clearTimeout(timer)
  },
}
