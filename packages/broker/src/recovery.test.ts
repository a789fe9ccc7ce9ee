import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, bodies, faultOf, message } from '../test/support.ts'
import { openBroker } from './broker.ts'
import { segmentName } from './segments.ts'

describe('recovery', () => {
  let bench: Bench
  beforeEach(async () => {
    bench = await Bench.start({ segmentBytes: 8 * 1024 })
  })
  afterEach(() => bench.end())

  const segments = async (): Promise<string[]> =>
    (await readdir(bench.dir)).filter((name) => /^\d{20}$/.test(name)).sort()
  const others = async (pattern: RegExp): Promise<string[]> =>
    (await readdir(bench.dir)).filter((name) => pattern.test(name))
  const change = async (name: string, edit: (bytes: Buffer) => Buffer | void): Promise<void> => {
    const path = join(bench.dir, name)
    const bytes = await readFile(path)
    await writeFile(path, edit(bytes) ?? bytes)
  }
  const fill = async (count: number, size = 300): Promise<string[]> => {
    const sent: string[] = []
    for (let at = 0; at < count; at++) {
      const body = `${at}.`.padEnd(size, 'x')
      await bench.publish(message('T', body))
      sent.push(body)
    }
    return sent
  }
  const all = async (): Promise<string[]> => {
    const found: string[] = []
    for (let index = 0; index < 4; index++) {
      for (let offset = 0; ; ) {
        const from = { by: 'offset', queue: { topic: 'T', node: 'sluice-0', index }, offset } as const
        const { batch, next, max } = await bench.run<'read'>({ kind: 'read', from, max: 1000, bytes: 1e9, wait: 0 })
        found.push(...bodies(batch))
        offset = next
        if (next >= max) break
      }
    }
    return found
  }
  const events = () => bench.lines.map(({ event }) => event)

  it('reads nothing of the log after a clean end', async () => {
    const sent = await fill(60)
    await bench.broker.close()
    // Nothing but heads of files could be read of segments that are full of zeros.
    for (const name of (await segments()).slice(0, -1)) await change(name, (bytes) => Buffer.alloc(bytes.length))
    await bench.open()
    const { max } = await bench.run<'read'>({
      kind: 'read',
      from: { by: 'offset', queue: { topic: 'T', node: 'sluice-0', index: 0 }, offset: 0 },
      max: 0,
      bytes: 0,
      wait: 0,
    })
    expect(max).toBe(sent.length / 4)
    expect(events()).not.toContain('log.damaged')
  })

  it('cuts a torn tail and says how many bytes', async () => {
    const sent = await fill(3)
    await bench.broker.close()
    for (const name of await others(/snapshot|index/)) await rm(join(bench.dir, name))
    const [last] = await segments()
    await change(last!, (bytes) => Buffer.concat([bytes, Buffer.from('half an entry')]))
    await bench.open()
    expect((await all()).sort()).toEqual(sent)
    expect(bench.lines).toContainEqual({
      level: 'warn',
      event: 'log.cut',
      fields: { at: expect.any(Number), bytes: 13 },
    })
    expect(bench.broker.stats()).toMatchObject({ cutBytes: 13, unreadableBytes: 0 })
    await fill(1)
    await bench.reopen()
    expect(await all()).toHaveLength(4)
  })

  it('does without snapshots and sidecars that are damaged or gone', async () => {
    const sent = await fill(60)
    const popped = await bench.pop('T', { max: 10 })
    await bench.settle(popped)
    await bench.broker.close()
    for (const name of await others(/snapshot|index/)) {
      if (name.endsWith('0.index')) await rm(join(bench.dir, name))
      else await change(name, (bytes) => void (bytes[bytes.length >> 1]! ^= 1))
    }
    await bench.open()
    expect((await all()).sort()).toEqual(sent.sort())
    expect(events()).toContain('snapshot.damaged')
    const rest = await bench.pop('T', { max: 100 })
    expect(rest).toHaveLength(50)
  })

  it('reads a segment whose sidecar is damaged', async () => {
    const sent = await fill(60)
    await bench.broker.close()
    for (const name of await others(/index/)) await change(name, (bytes) => void (bytes[20]! ^= 1))
    await bench.open()
    expect((await all()).sort()).toEqual(sent.sort())
    expect(events()).toContain('sidecar.damaged')
    expect(events()).not.toContain('log.damaged')
  })

  it('falls back to the older snapshot', async () => {
    const sent = await fill(60)
    await bench.broker.close()
    const [newest] = (await others(/snapshot/)).sort().reverse()
    await change(newest!, (bytes) => bytes.subarray(0, 40))
    await bench.open()
    expect((await all()).sort()).toEqual(sent.sort())
  })

  it('says loudly that acknowledged data is damaged, keeps the rest, and gives no offset out again', async () => {
    const sent = await fill(72)
    await bench.broker.close()
    for (const name of await others(/snapshot|index/)) await rm(join(bench.dir, name))
    const [first, ...more] = await segments()
    const last = more.at(-1)!
    // One record in a sealed segment and one in the last, with batches behind it that say it was durable.
    await change(first!, (bytes) => void (bytes[bytes.indexOf('3.xx')]! ^= 1))
    await change(last, (bytes) => void (bytes[bytes.indexOf('.xxxx') + 9]! ^= 1))
    await bench.open()
    const found = await all()
    expect(found).toHaveLength(sent.length - 2)
    expect(events().filter((event) => event === 'log.damaged')).toHaveLength(2)
    expect(bench.broker.stats().unreadableBytes).toBeGreaterThan(600)
    const stored = await bench.publish(
      message('T', 'next'),
      message('T', 'next'),
      message('T', 'next'),
      message('T', 'next'),
    )
    expect(stored.map(({ offset }) => offset)).toEqual([18, 18, 18, 18])
  })

  it('keeps records of a topic whose making is damaged', async () => {
    await fill(4)
    await bench.broker.close()
    for (const name of await others(/snapshot|index/)) await rm(join(bench.dir, name))
    await change(segmentName(0), (bytes) => void (bytes[bytes.indexOf('"topic"')]! ^= 1))
    await bench.open()
    expect(await all()).toHaveLength(4)
    expect(events()).toContain('topic.lost')
  })

  it('does not bring a deleted topic back, nor its messages under the same name', async () => {
    await fill(60)
    await bench.run<'admin'>({ kind: 'admin', action: { do: 'deleteTopic', topic: 'T' } })
    await bench.publish(message('T', 'new'))
    for (const clean of [true, false]) {
      await bench.broker.close()
      if (!clean) for (const name of await others(/snapshot/)) await rm(join(bench.dir, name))
      await bench.open()
      expect(await all()).toEqual(['new'])
    }
  })

  it('holds its directory alone, and takes over from a process that is dead', async () => {
    expect(await faultOf(openBroker({ dir: bench.dir }))).toEqual({ code: 'conflict', about: 'dir' })
    await expect(openBroker({ dir: bench.dir })).rejects.toThrow(String(process.pid))
    await bench.broker.close()
    await writeFile(join(bench.dir, 'lock'), '1 12345\n')
    await bench.open()
    await bench.broker.close()
    await writeFile(join(bench.dir, 'lock'), '4999999 1\n')
    await bench.open()
    await bench.broker.close()
    // Somebody who lives, by number and by start.
    const start = (await readFile(`/proc/${process.ppid}/stat`, 'utf8')).split(') ')[1]!.split(' ')[19]
    await writeFile(join(bench.dir, 'lock'), `${process.ppid} ${start}\n`)
    await expect(openBroker({ dir: bench.dir })).rejects.toThrow(`process ${process.ppid}`)
    await rm(join(bench.dir, 'lock'))
    await bench.open()
  })
})
