import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, faultOf, message } from '../test/support.ts'

const DAY = 24 * 3_600_000

describe('messages that wait for their time', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ defaultQueues: 1, retain: { ms: 400 * DAY } })
  })
  afterEach(() => bench.end())

  const after = async (ms: number, body = String(ms)) => {
    const [stored] = await bench.publish(message('T', body, { id: `id${body}`, deliverAt: bench.clock.now() + ms }))
    return stored!.recallHandle!
  }
  const recall = (handle: string, topic = 'T') => bench.run<'recall'>({ kind: 'recall', topic, handle })
  const come = async () => {
    // What was moved before is durable with what is written now.
    for (let times = 0; times < 2; times++) await bench.publish(message('marker', ''))
    return bodies(await bench.pop('T', { max: 1000, invisible: 0 }))
  }

  it('may wait for forty days, over restarts, while their segments go', async () => {
    await bench.reopen({ segmentBytes: 4096, retain: { bytes: 16_384 } })
    for (const days of [40, 1, 39]) await after(days * DAY, String(days))
    for (let count = 0; count < 40; count++) await bench.publish(message('U', Buffer.alloc(1000, 'u')))
    await bench.clock.advance(61_000)
    while (bench.broker.stats().start === 0) await bench.publish(message('marker', ''))
    for (const [pass, expected] of [
      [DAY, ['1']],
      [37 * DAY, []],
      [DAY, ['39']],
      [DAY - 120_000, []],
      [60_000, ['40']],
      [10 * DAY, []],
    ] as const) {
      await bench.kill({ segmentBytes: 4096, retain: { bytes: 16_384 } })
      await bench.clock.jump(pass)
      expect(await come()).toEqual(expected)
    }
    expect(bench.broker.stats().delayed).toBe(0)
  })

  it('come within two ticks of their time, which the figures show', async () => {
    for (let ms = 100; ms < 3000; ms += 77) await after(ms)
    await bench.clock.advance(3100)
    expect(await come()).toHaveLength(38)
    const { timed, lateMs, lateMsMax } = bench.broker.stats()
    expect(timed).toBe(38)
    expect(lateMsMax).toBeLessThanOrEqual(100)
    expect(lateMs / timed).toBeLessThanOrEqual(100)
  })

  it('come in the order of their times, however many there are, after a restart as well', async () => {
    const now = bench.clock.now()
    const delays = Array.from({ length: 10_000 }, (_, at) => 1000 + ((at * 7919) % 100_000))
    await bench.publish(...delays.map((ms) => message('T', String(ms), { deliverAt: now + ms })))
    await bench.reopen()
    expect(bench.broker.stats().delayed).toBe(10_000)
    await bench.clock.jump(200_000)
    const came: number[] = []
    while (came.length < 10_000) came.push(...(await come()).map(Number))
    expect(came).toEqual([...delays].sort((a, b) => a - b))
    expect(bench.broker.stats().delayed).toBe(0)
  })

  it('come as they were sent where they have the same time', async () => {
    const sent = Array.from({ length: 500 }, (_, at) => String(at))
    await bench.publish(...sent.map((body) => message('T', body, { deliverAt: bench.clock.now() + 1000 })))
    await bench.clock.jump(2000)
    expect(await come()).toEqual(sent)
  })

  it('are recalled by their handle, once, and not when they came', async () => {
    const gone = { code: 'notFound', about: 'handle' }
    const [first, second, third] = [await after(10_000, 'a'), await after(10_000, 'b'), await after(90_000, 'c')]
    expect(await recall(first)).toEqual({ id: 'ida' })
    expect(await faultOf(recall(first))).toEqual(gone)
    await bench.kill()
    expect(await faultOf(recall(first))).toEqual(gone)
    expect(await faultOf(recall(third, 'U'))).toEqual(gone)
    for (const handle of ['', 'x', '1-2', `${first}0`, '-1--1', '9'.repeat(400)])
      expect(await faultOf(recall(handle))).toEqual(gone)
    await bench.clock.advance(10_200)
    expect(await come()).toEqual(['b'])
    expect(await faultOf(recall(second))).toEqual(gone)
    expect(await recall(third)).toEqual({ id: 'idc' })
    await bench.clock.advance(100_000)
    await bench.reopen()
    expect(await come()).toEqual([])
  })

  it('have a handle in the answer to a repeated publish too, and none when they are due at once', async () => {
    const command = {
      kind: 'publish',
      messages: [message('T', 'a', { deliverAt: bench.clock.now() + 5000 })],
      oneway: false,
      once: { key: 'k', keep: 60_000 },
    } as const
    const first = await bench.run<'publish'>(command)
    await bench.kill()
    expect(await bench.run<'publish'>(command)).toEqual(first)
    const [now] = await bench.publish(message('T', 'b', { deliverAt: bench.clock.now() }))
    expect(now!.recallHandle).toBeUndefined()
  })
})

describe('topics', () => {
  it('are made five thousand at a time, in under three seconds, and are there after a kill', async () => {
    const bench = await Bench.start()
    const topics = Array.from({ length: 5000 }, (_, at) => ({ topic: `t${at}`, queues: 4, type: 'mixed' as const }))
    const began = performance.now()
    const put = await bench.run<'admin'>({ kind: 'admin', action: { do: 'putTopics', topics } })
    const took = performance.now() - began
    expect(put).toEqual({ failed: [] })
    expect(took).toBeLessThan(3000)
    await bench.kill()
    const listed = await bench.run<'admin'>({ kind: 'admin', action: { do: 'listTopics' } })
    expect('topics' in listed && listed.topics).toEqual(topics)
    await bench.end()
  })
})
