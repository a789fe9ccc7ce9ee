import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { onceATurn, systemClock } from './clock.ts'

describe('the system clock', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('calls once after a delay, or not when it is taken back', () => {
    let calls = 0
    systemClock.after(1_000, () => calls++)
    const cancel = systemClock.after(1_000, () => calls++)
    cancel()
    vi.advanceTimersByTime(999)
    expect(calls).toBe(0)
    vi.advanceTimersByTime(10_000)
    expect(calls).toBe(1)
  })

  it('waits longer than a timer of Node can', () => {
    let calls = 0
    const month = 86_400_000 * 60
    systemClock.after(month, () => calls++)
    vi.advanceTimersByTime(month - 1)
    expect(calls).toBe(0)
    vi.advanceTimersByTime(1)
    expect(calls).toBe(1)
  })

  it('takes back a long delay after its first timer', () => {
    let calls = 0
    const cancel = systemClock.after(86_400_000 * 60, () => calls++)
    vi.advanceTimersByTime(86_400_000 * 40)
    cancel()
    vi.advanceTimersByTime(86_400_000 * 40)
    expect(calls).toBe(0)
  })

  it('calls every period until it is taken back', () => {
    let calls = 0
    const stop = systemClock.every(100, () => calls++)
    vi.advanceTimersByTime(350)
    stop()
    vi.advanceTimersByTime(1_000)
    expect(calls).toBe(3)
  })
})

it('reads a time once a turn', async () => {
  let time = 0
  const now = onceATurn(() => ++time)
  expect([now(), now()]).toEqual([1, 1])
  const later = Promise.resolve().then(() => now())
  expect(now()).toBe(1)
  expect([await later, now()]).toEqual([2, 3])
})
