import type { Binding, CommandOf, Slot } from '@sluice/core'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, bodies, contextOf, faultOf, message } from '../test/support.ts'

describe('an inbox that its holder has open still', () => {
  let bench: Bench
  afterEach(() => bench.end())

  const open = (expiry: number, will?: string): CommandOf<'open'> => ({
    kind: 'open',
    inbox: 'i',
    fresh: false,
    expiry,
    ...(will !== undefined && { will: { message: message('W', will), after: 0 } }),
  })
  const bindings: readonly Binding[] = [{ pattern: 'T', retained: 'skip' }]
  const bind = (epoch: number) => bench.run<'bind'>({ kind: 'bind', inbox: 'i', epoch, add: bindings, remove: [] })
  const pop = (epoch: number, max = 8) =>
    bench.run<'pop'>({
      kind: 'pop',
      source: { kind: 'inbox', inbox: 'i', epoch },
      max,
      invisible: 'session',
      wait: 0,
      fifo: false,
    })
  const resume = (epoch: number, command: CommandOf<'open'>, holding: readonly number[] = [], client = 'c') =>
    bench.broker.resume(bench.broker.node, { open: command, epoch, holding, bindings }, contextOf(client))
  const started = async (command: CommandOf<'open'>) => {
    bench = await Bench.start({ defaultQueues: 1 })
    const { epoch } = await bench.run<'open'>(command)
    await bind(epoch)
    return epoch
  }

  it('goes on after a kill: it does not expire, its will waits for a real end, and only what was lost comes again', async () => {
    const epoch = await started(open(60_000, 'farewell'))
    await bench.publish(message('T', '1'), message('T', '2'), message('T', '3'))
    const [first, second, third] = [...(await pop(epoch)).batch]
    await bench.kill()
    const numberOf = (one: typeof first) => (one!.receipt as { slot: number }).slot
    expect(await resume(epoch, open(60_000, 'farewell'), [numberOf(first), numberOf(third)])).toEqual({
      existed: true,
      epoch,
      incoming: [],
    })
    const again = [...(await pop(epoch)).batch]
    expect(again.map(({ message: { body }, attempt, receipt }) => [String(body), attempt, receipt])).toEqual([
      ['2', 2, second!.receipt],
    ])
    await resume(epoch, open(60_000, 'farewell'), [...[first, second, third].map(numberOf), 77])
    expect((await pop(epoch)).batch.count).toBe(0)
    // Of a pop that the kill came before.
    const unknown: Slot = { of: 'inbox', node: '', inbox: 'i', epoch, way: 'out', slot: 77 }
    const settle: CommandOf<'settle'> = { kind: 'settle', receipts: [unknown], outcome: { kind: 'accept' } }
    expect((await bench.run<'settle'>(settle)).failed).toEqual([])
    await bench.clock.advance(200_000)
    expect((await bench.settle([first!, second!, third!])).failed).toEqual([])
    expect(bodies(await bench.pop('W'))).toEqual([])
    await bench.kill()
    await bench.clock.advance(40_000)
    expect(bodies(await bench.pop('W', { wait: 1_000 }))).toEqual(['farewell'])
  })

  it('is there again under its epoch when it was not to be kept', async () => {
    const epoch = await started(open(0, 'farewell'))
    await bench.kill()
    expect(await faultOf(pop(epoch))).toMatchObject({ code: 'notFound' })
    const resumed = resume(epoch, open(0, 'farewell'), [1, 3])
    // Its bindings are there in the same turn.
    await bench.publish(message('T', '1'), message('T', '2'))
    expect(await resumed).toEqual({ existed: false, epoch, incoming: [] })
    const taken = [...(await pop(epoch)).batch]
    expect(taken.map(({ message: { body }, receipt }) => [String(body), (receipt as Slot).slot])).toEqual([
      ['1', 2],
      ['2', 4],
    ])
    // What came before the kill is settled as anything else; its message is gone with the inbox that it was of.
    const one: Slot = { of: 'inbox', node: '', inbox: 'i', epoch, way: 'out', slot: 1 }
    const settle: CommandOf<'settle'> = { kind: 'settle', receipts: [one], outcome: { kind: 'accept' } }
    expect((await bench.run<'settle'>(settle)).failed).toEqual([])
    expect((await bench.run<'settle'>(settle)).failed).toHaveLength(1)
    await bench.clock.advance(60_000)
    expect(bodies(await bench.pop('W'))).toEqual([])
    await bench.run<'leave'>({ kind: 'leave', what: 'all' })
    expect(bodies(await bench.pop('W', { wait: 1_000 }))).toEqual(['farewell'])
  })

  it('gives whoever opens it next nothing of what is gone', async () => {
    const epoch = await started(open(60_000))
    await bench.kill()
    await resume(epoch, open(60_000), [1])
    await bench.publish(message('T', '1'))
    const { epoch: newer } = await bench.run<'open'>(open(60_000), contextOf('other'))
    expect(bodies((await pop(newer)).batch)).toEqual(['1'])
    expect(bench.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  it('is somebody else’s when that one opened it meanwhile', async () => {
    const epoch = await started(open(60_000))
    await bench.kill()
    const { epoch: newer } = await bench.run<'open'>(open(60_000), contextOf('other'))
    expect(await faultOf(resume(epoch, open(60_000)))).toEqual({ code: 'conflict', about: 'epoch' })
    expect(await faultOf(resume(newer, open(60_000)))).toEqual({ code: 'conflict', about: 'epoch' })
    expect((await resume(newer, open(60_000), [], 'other')).epoch).toBe(newer)
    await bench.broker.close()
    expect(await faultOf(resume(newer, open(60_000), [], 'other'))).toMatchObject({ code: 'unavailable' })
  })
})
