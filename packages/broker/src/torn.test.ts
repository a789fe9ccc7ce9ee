import type { Receipt } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, message } from '../test/support.ts'

describe('wherever a write is torn, both are done or neither:', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const have = async (torn: Bench, topic: string) => bodies(await torn.pop(topic, { group: 'other', invisible: 0 }))
  const come = async (torn: Bench, topic = 'T') => bodies(await torn.pop(topic, { invisible: 0 }))

  it('messages of a publish and the receipts that it accepts', async () => {
    await bench.publish(message('T', 'a'), message('U', 'u'))
    const accepts = (await bench.pop('T')).map(({ receipt }) => receipt as Receipt)
    const seen = new Set<string>()
    await bench.torn(
      () =>
        bench.run<'publish'>({
          kind: 'publish',
          messages: [message('U', 'x'), message('U', 'y')],
          accepts,
          oneway: false,
        }),
      async (torn) => {
        const both = [(await have(torn, 'U')).join(), (await come(torn)).join()].join(' ')
        expect(['u a', 'u,x,y ']).toContain(both)
        seen.add(both)
      },
    )
    expect(seen.size).toBe(2)
  })

  it('a dead letter and the end of its lease', async () => {
    await bench.publish(message('T', 'a'), message('%DLQ%g', 'before'))
    const popped = await bench.pop('T')
    const seen = new Set<string>()
    await bench.torn(
      () => bench.settle(popped, { kind: 'dead' }),
      async (torn) => {
        const both = [(await have(torn, '%DLQ%g')).join(), (await come(torn)).join()].join(' ')
        expect(['before a', 'before,a ']).toContain(both)
        seen.add(both)
      },
    )
    expect(seen.size).toBe(2)
  })

  it('a committed message and the end of its transaction', async () => {
    const messages = [message('T', 'a', { half: {} })]
    const { stored } = await bench.run<'publish'>({ kind: 'publish', messages, group: 'p', oneway: false })
    const [one] = stored
    if (!one || one instanceof Error) throw one
    const seen = new Set<string>()
    await bench.torn(
      () =>
        bench.run<'endTransaction'>({ kind: 'endTransaction', half: one.half!, resolution: 'commit', byCheck: false }),
      async (torn) => {
        const both = `${torn.broker.stats().halves} ${(await come(torn)).join()}`
        expect(['1 ', '0 a']).toContain(both)
        seen.add(both)
      },
    )
    expect(seen.size).toBe(2)
  })
})
