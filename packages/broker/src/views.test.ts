import type { StoredRecord } from '@sluice/remoting'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Views } from './views.ts'

const viewOf = (place: number) => ({ place }) as StoredRecord

describe('views', () => {
  it('of what was just written are those of the last 512, whatever the sizes, and of nothing else', () => {
    const size = fc.integer({ min: 1, max: 5_000 })
    fc.assert(
      fc.property(fc.array(size, { minLength: 500, maxLength: 1_600 }), fc.nat(1_600), (sizes, from) => {
        const views = new Views()
        let place = 0
        const places = sizes.map((bytes) => {
          const at = place
          place += bytes
          views.push(viewOf(at), at, 2)
          return at
        })
        const last = places.slice(-512)
        for (const at of last) expect(views.at(at)?.place).toBe(at)
        for (const at of places.slice(from % places.length)) expect(views.at(at)?.place ?? at).toBe(at)
        for (const at of places.slice(0, -512)) expect(views.at(at)).toBeUndefined()
        expect(views.at(place)).toBeUndefined()
        expect(views.at(last.at(-1)! + 0.5)).toBeUndefined()
      }),
      { numRuns: 50 },
    )
  })

  it('hold no memory of the log further than 8 MiB apart', () => {
    const views = new Views()
    const far = 8 * 1024 * 1024
    views.push(viewOf(100), 100, 1)
    views.push(viewOf(200), 200, 1)
    views.push(viewOf(far + 150), far + 150, 1)
    expect([100, 200, far + 150].map((place) => views.at(place)?.place)).toEqual([undefined, 200, far + 150])
    views.keep(viewOf(50), 50)
    views.keep(viewOf(far + 50), far + 50)
    expect([50, far + 50].map((place) => views.at(place)?.place)).toEqual([undefined, far + 50])
  })

  it('of what was read are found beside those that were written', () => {
    const views = new Views()
    for (let place = 1_000; place < 2_000; place += 100) views.push(viewOf(place), place, 1)
    expect(views.keep(viewOf(500), 500).place).toBe(500)
    expect([500, 1_000, 1_100, 1_900, 1_250].map((place) => views.at(place)?.place)).toEqual([
      500,
      1_000,
      1_100,
      1_900,
      undefined,
    ])
  })

  it('are forgotten when all readers have had them', () => {
    const views = new Views()
    for (const [place, readers] of [
      [10, 1],
      [20, 2],
      [30, 1],
    ] as const)
      views.push(viewOf(place), place, readers)
    expect([10, 20, 30].map((place) => views.at(place)?.place)).toEqual([10, 20, 30])
    expect([10, 20, 20, 30].map((place) => views.take(place)?.place)).toEqual([10, 20, 20, 30])
    expect([10, 20, 30].map((place) => views.take(place))).toEqual([undefined, undefined, undefined])
    views.keep(viewOf(20), 20)
    expect([20, 20].map((place) => views.take(place)?.place)).toEqual([20, 20])
  })

  it('begin anew where a place comes that is not behind the others', () => {
    const views = new Views()
    views.push(viewOf(300), 300, 1)
    views.push(viewOf(200), 200, 1)
    expect([200, 300].map((place) => views.at(place)?.place)).toEqual([200, undefined])
  })
})
