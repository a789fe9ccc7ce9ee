import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message } from '../test/support.ts'

describe('a will', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start()
  })
  afterEach(() => bench.end())

  it('lives from when it is told, however long it was kept', async () => {
    const will = {
      message: message('W', 'gone', { expiresAt: bench.clock.now() + 2_000, path: 'x', tag: 't' }),
      after: 0,
    }
    const { epoch } = await bench.run<'open'>({ kind: 'open', inbox: 'a', fresh: false, expiry: 0, will })
    await bench.clock.advance(60_000)
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'a', epoch, will: 'fire' } })
    await bench.clock.advance(1_000)
    const told = await bench.pop('W')
    expect(bodies(told)).toEqual(['gone'])
    expect(told[0]?.message).toMatchObject({ path: 'x', tag: 't', expiresAt: bench.clock.now() + 1_000 })
  })

  it('that lives too short for its reader is not read', async () => {
    const will = { message: message('W', 'gone', { expiresAt: bench.clock.now() + 2_000 }), after: 0 }
    const { epoch } = await bench.run<'open'>({ kind: 'open', inbox: 'a', fresh: false, expiry: 0, will })
    await bench.clock.advance(60_000)
    await bench.run<'leave'>({ kind: 'leave', what: { inbox: 'a', epoch, will: 'fire' } })
    await bench.clock.advance(2_000)
    expect(await bench.pop('W', { invisible: 0 })).toEqual([])
  })
})
