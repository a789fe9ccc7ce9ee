import type { CommandOf } from '@sluice/core'
import { expect, it } from 'vitest'
import { Bench, contextOf, message, turn } from '../test/support.ts'

it('holds a hundred thousand parked pops', async () => {
  const bench = await Bench.start({ defaultQueues: 1 })
  await bench.publish(message('T', 'x'))
  await bench.pop('T', { invisible: 0 })
  const command: CommandOf<'pop'> = {
    kind: 'pop',
    source: { kind: 'group', topic: 'T', group: 'g' },
    max: 1,
    invisible: 1000,
    wait: 3_600_000,
    fifo: false,
  }
  const context = contextOf()
  const parked = Array.from({ length: 100_000 }, () => bench.run<'pop'>(command, context))
  await turn()
  expect(bench.broker.stats().parked).toBe(100_000)
  await bench.publish(message('T', 'y'))
  await turn(20)
  expect(bench.broker.stats().parked).toBe(99_999)
  await bench.broker.close()
  const replies = await Promise.all(parked)
  await bench.end()
  expect(replies.reduce((sum, { batch }) => sum + batch.count, 0)).toBe(1)
})
