import { fakeClock } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { Farewell } from './farewell.ts'
import { type Frame, LAST_STREAM } from './http2/frames.ts'

const begin = () => {
  const clock = fakeClock()
  const said: Frame[] = []
  const of = {
    streams: new Map(),
    working: 1,
    highest: 1,
    send: (frame: Frame) => void said.push(frame),
    end: () => undefined,
  }
  const farewell = new Farewell(of, clock)
  farewell.announce()
  const [notice, ping] = said
  const opaque = ping?.kind === 'ping' ? ping.opaque : Buffer.alloc(0)
  return {
    clock,
    of,
    notice,
    pong: () => farewell.heard(opaque),
    last: () => said.slice(2).map((frame) => (frame.kind === 'goAway' ? frame.last : undefined)),
  }
}

describe('the last word of a connection', () => {
  it('comes 100 ms after the PING of a quick peer has come back', () => {
    const { clock, notice, pong, last } = begin()
    expect(notice).toMatchObject({ kind: 'goAway', last: LAST_STREAM })
    clock.advance(5)
    pong()
    clock.advance(99)
    expect(last()).toEqual([])
    clock.advance(1)
    expect(last()).toEqual([1])
  })

  it('waits four times as long as the PING of a slow one took, a second at most', () => {
    for (const [took, waits] of [
      [60, 240],
      [800, 1_000],
    ] as const) {
      const { clock, pong, last } = begin()
      clock.advance(took)
      pong()
      clock.advance(waits - 1)
      expect(last()).toEqual([])
      clock.advance(1)
      expect(last()).toEqual([1])
    }
  })

  it('is put off while streams come that raced with the notice, for a second at most', () => {
    const { clock, of, pong, last } = begin()
    pong()
    clock.advance(50)
    of.highest = 3
    clock.advance(149)
    expect(last()).toEqual([])
    clock.advance(1)
    expect(last()).toEqual([3])
    const rude = begin()
    rude.pong()
    for (let ms = 0; rude.last().length === 0; ms++) {
      expect(ms).toBeLessThanOrEqual(1_000)
      rude.of.highest += 2
      rude.clock.advance(1)
    }
  })
})
