import type { CommandOf, Delivered, Message, Receipt } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, faultOf, message } from '../test/support.ts'

describe('publishing and accepting in one write', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1 })
  })
  afterEach(() => bench.end())

  const both = (
    messages: readonly Message[],
    delivered: readonly Delivered[],
    more: Partial<CommandOf<'publish'>> = {},
  ) =>
    bench.run<'publish'>({
      kind: 'publish',
      messages,
      accepts: delivered.map(({ receipt }) => receipt as Receipt),
      oneway: false,
      ...more,
    })
  const openInbox = async () => {
    const { epoch } = await bench.run<'open'>({ kind: 'open', inbox: 'in', fresh: false, expiry: 1e9 })
    return epoch
  }
  const popInbox = async (epoch: number) => {
    const source = { kind: 'inbox', inbox: 'in', epoch } as const
    const { batch } = await bench.run<'pop'>({
      kind: 'pop',
      source,
      max: 9,
      invisible: 'session',
      wait: 0,
      fifo: false,
    })
    return [...batch]
  }

  it('does both, of groups and inboxes, over a kill', async () => {
    const epoch = await openInbox()
    await bench.run<'bind'>({ kind: 'bind', inbox: 'in', epoch, add: [{ pattern: 'T', retained: 'skip' }], remove: [] })
    await bench.publish(message('T', 'a'), message('T', 'b'))
    const popped = await bench.pop('T')
    const drawn = await popInbox(epoch)
    const { stored } = await both([message('new', 'x'), message('U', 'y')], [...popped, ...drawn])
    expect(stored.map((one) => (one instanceof Error ? one : one.offset))).toEqual([0, 0])
    await bench.kill()
    await bench.clock.advance(60_000)
    expect(await bench.pop('T')).toEqual([])
    expect(await popInbox(await openInbox())).toEqual([])
    expect([...bodies(await bench.pop('new')), ...bodies(await bench.pop('U'))]).toEqual(['x', 'y'])
  })

  it('does nothing where a receipt does not hold', async () => {
    await bench.publish(message('T', 'a'), message('T', 'b'))
    const popped = await bench.pop('T')
    await bench.settle(popped.slice(1))
    const expired = { code: 'receiptExpired', about: 'receipt' }
    expect(await faultOf(both([message('U', 'x')], popped))).toEqual(expired)
    expect(await faultOf(both([message('U', 'x')], [popped[0]!, popped[0]!]))).toEqual(expired)
    expect(await bench.pop('U')).toEqual([])
    expect((await bench.settle(popped.slice(0, 1))).failed).toEqual([])
  })

  it.each<[string, Message, string]>([
    ['too large', message('U', 'x'.repeat(200)), 'tooLarge'],
    ['with properties that are', message('U', 'x', { properties: { p: 'x'.repeat(40_000) } }), 'tooLarge'],
    ['of another type', message('N', 'x', { half: {} }), 'conflict'],
    ['for a name that is none', message('no/topic', 'x'), 'invalid'],
    ['beyond a bound', message('U', 'x', { half: {} }), 'limit'],
    ['for too late', message('U', 'x', { deliverAt: 10 ** 15 }), 'invalid'],
  ])('does nothing where a message is %s', async (_, refused, code) => {
    await bench.reopen({ bodyBytes: 100, bounds: { halves: 1 } })
    const topics = [{ topic: 'N', queues: 1, type: 'normal' }] as const
    await bench.run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics } })
    await bench.publish(message('T', 'a'))
    const popped = await bench.pop('T')
    const messages = [message('U', 'good', { half: {} }), message('U', 'good'), refused]
    expect(await faultOf(both(messages, popped))).toMatchObject({ code })
    expect([bench.broker.stats().halves, await bench.pop('U')]).toEqual([0, []])
    expect((await bench.settle(popped)).failed).toEqual([])
  })

  it('answers a repeat with what was stored first', async () => {
    await bench.publish(message('T', 'a'))
    const popped = await bench.pop('T')
    const once = { key: 'k', keep: 60_000 }
    const first = await both([message('U', 'x')], popped, { once })
    expect(await both([message('U', 'x')], popped, { once })).toEqual(first)
    await bench.kill()
    expect(await both([message('U', 'x')], popped, { once })).toEqual(first)
    expect(bodies(await bench.pop('U'))).toEqual(['x'])
  })
})
