import { beforeEach, describe, expect, it } from 'vitest'
import { LATELY, Pace, QUIET_MAX, REST_MAX, REST_MIN, SHARE, type Written, YIELD } from './pace.ts'

const KiB = 1024

/** A log whose bytes are on the disk at once, unless it is busy. */
class Disk implements Written {
  readonly #written: () => number
  #busy: PromiseWithResolvers<void> | undefined

  constructor(written: () => number) {
    this.#written = written
  }

  get end(): number {
    return this.#written()
  }
  get synced(): number {
    return this.#busy ? this.end - 1 : this.end
  }
  done(): Promise<void> {
    return this.#busy?.promise ?? Promise.resolve()
  }
  busy(): PromiseWithResolvers<void> {
    return (this.#busy = Promise.withResolvers())
  }
  idle(): void {
    this.#busy?.resolve()
    this.#busy = undefined
  }
}

describe('the pace of those who are behind', () => {
  let now: number
  let written: number
  let pauses: number[]
  let pace: Pace

  beforeEach(() => {
    now = written = 0
    pauses = []
    pace = new Pace(new Disk(() => written), {
      now: () => now,
      pause: async (ms) => {
        pauses.push(ms)
        now += ms
      },
    })
  })

  const read = (bytes: number, took: number, writes = 0): Promise<void> =>
    pace.run(bytes, async () => {
      now += took
      written += writes
    })

  it('is a share and a turn of the loop where nobody writes', async () => {
    for (let at = 0; at < 80; at++) await read(32 * KiB, 0.2)
    expect(pauses).toEqual(new Array((80 * 32 * KiB) / SHARE - 1).fill(0))
  })

  it('is its part of the time where somebody writes, with a turn of the loop after each share', async () => {
    let most = 0
    let since = 0
    for (let at = 0; at < 800; at++) {
      const before = pauses.length
      await read(32 * KiB, 0.15, 1)
      since = pauses.length > before ? 32 * KiB : since + 32 * KiB
      most = Math.max(most, since)
    }
    expect(most).toBe(SHARE)
    expect((800 * 0.15) / now).toBeCloseTo(1 / (1 + YIELD), 1)
    expect(pauses).toContain(0)
    expect(pauses.filter((ms) => ms > 0 && ms < REST_MIN)).toEqual([])
  })

  it('gives way for longer when what is read takes longer, up to a bound', async () => {
    await read(SHARE, 4, 1)
    await read(SHARE, 2_000, 1)
    await read(SHARE, 1, 1)
    expect(pauses).toEqual([4 * YIELD, REST_MAX])
  })

  it('does not let one wait who was away for as long', async () => {
    await read(SHARE, 4, 1)
    now += 4 * YIELD
    written++
    await read(SHARE, 4)
    expect(pauses).toEqual([0])
  })

  it('is fast again when nobody has written for a while', async () => {
    await read(SHARE, 1, 1)
    await read(SHARE, 1)
    now += LATELY
    await read(SHARE, 1)
    await read(SHARE, 1)
    expect(pauses).toEqual([YIELD, 0, 0])
  })

  it('counts what failed', async () => {
    const failing = () => pace.run(SHARE, () => Promise.reject(new Error('no disk')))
    await expect(failing()).rejects.toThrow('no disk')
    await expect(failing()).rejects.toThrow('no disk')
    expect(pauses).toEqual([0])
  })

  describe('beside a disk that is busy', () => {
    const disk = new Disk(() => written)
    let ended: () => void
    let order: string[]

    beforeEach(() => {
      order = []
      pace = new Pace(disk, {
        now: () => now,
        pause: (ms) => {
          pauses.push(ms)
          return new Promise((resolve) => {
            ended = resolve
          })
        },
      })
    })

    const share = async (): Promise<void> => {
      await pace.run(SHARE, async () => {
        order.push('share')
        now += 1
      })
    }

    it('begins no share before what is on its way is there, and takes none of that time for its own', async () => {
      disk.busy()
      const first = share()
      order.push('synced')
      now += 8
      disk.idle()
      await first
      expect(order).toEqual(['synced', 'share'])
      expect(pauses).toEqual([QUIET_MAX])
      written++
      const second = share()
      expect(pauses).toEqual([QUIET_MAX, YIELD])
      ended()
      await second
    })

    it('waits for it within a share, too, and has rested then', async () => {
      await pace.run(SHARE, async () => {
        disk.busy()
        const quiet = pace.quiet()
        now += 8
        disk.idle()
        await quiet
        now += 1
      })
      written++
      const second = share()
      expect(pauses).toEqual([QUIET_MAX, 0])
      ended()
      await second
    })

    it('waits no longer than its bound', async () => {
      disk.busy()
      const first = share()
      expect(order).toEqual([])
      ended()
      await first
      expect(order).toEqual(['share'])
      disk.idle()
    })

    it('goes on where a disk fails', async () => {
      disk.busy().reject(new Error('no disk'))
      await share()
      expect(order).toEqual(['share'])
      disk.idle()
    })
  })
})
