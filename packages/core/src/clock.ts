import type { EpochMs, Ms } from './model.ts'

/** Time as everything here sees it. Tests inject a fake; nothing else reads the time or sets a timer of its own. */
export interface Clock {
  now(): EpochMs
  /** Runs every `period` ms until the returned function is called. Never keeps the process alive. */
  every(period: Ms, run: () => void): () => void
  /** Runs once after `delay` ms unless the returned function is called before. Never keeps the process alive. */
  after(delay: Ms, run: () => void): () => void
}

/**
 * Reads a time once a turn: what is done together, a chunk of frames or the replies of a batch, has one time and costs one
 * reading, which is no less than a tenth of a microsecond.
 */
export const onceATurn = (read: () => number): (() => number) => {
  let known = false
  let time = 0
  const forget = () => {
    known = false
  }
  return () => {
    if (known) return time
    known = true
    queueMicrotask(forget)
    return (time = read())
  }
}

/** Longest delay that a timer of Node takes; it fires at once beyond. */
const TIMER_MAX: Ms = 2 ** 31 - 1

export const systemClock: Clock = {
  now: onceATurn(Date.now),
  every(period, run) {
    const timer = setInterval(run, Math.min(period, TIMER_MAX))
    timer.unref()
    return () => clearInterval(timer)
  },
  after(delay, run) {
    const due = Date.now() + delay
    const arm = (left: Ms): NodeJS.Timeout =>
      setTimeout(
        () => {
          if (left <= TIMER_MAX) return run()
          timer = arm(due - Date.now())
        },
        Math.min(left, TIMER_MAX),
      ).unref()
    let timer = arm(delay)
    return () => clearTimeout(timer)
  },
}
