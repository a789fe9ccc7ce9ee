import { cp, mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Delivered, Receipt } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { Bench, contextOf, message } from '../test/support.ts'
import { Checkpoints } from './checkpoints.ts'
import { noCounts } from './core.ts'
import { realFiles } from './files.ts'
import { recover } from './recovery.ts'
import { Segments, segmentName } from './segments.ts'
import { sealOf, sliceSnapshot } from './snapshot.ts'
import { defaultBounds, State } from './state.ts'

type Step = readonly [what: number, who: number, how: number, slices: number]

const INBOXES = 3
const GROUPS = ['g', 'h']
const TOPICS = ['T', 'U']

/** One client of everything: what it does is refused now and then, which is as good. */
class Actor {
  readonly bench: Bench
  readonly epochs: number[] = []
  readonly leases: Receipt[] = []
  readonly slots: Receipt[] = []
  readonly halves: Delivered[] = []
  number = 0

  constructor(bench: Bench) {
    this.bench = bench
  }

  async act(what: number, who: number, how: number): Promise<void> {
    const { bench } = this
    const topic = TOPICS[who % 2]!
    const inbox = `i${who % INBOXES}`
    const epoch = this.epochs[who % INBOXES] ?? 0
    const group = GROUPS[how % 2]!
    const body = `m${this.number++}`
    const now = bench.clock.now()
    const outcome = ([{ kind: 'accept' }, { kind: 'received' }, { kind: 'retry', after: 0, counts: true }] as const)[
      how % 3
    ]!
    switch (what) {
      case 0:
        return void (await bench.publish(message(topic, body, { path: `p${how % 2}`, retain: how === 3 })))
      case 1:
        return void (await bench.publish(message(topic, how === 3 ? '' : body, { path: 'p0', retain: true })))
      case 2:
        return void this.leases.push(...(await bench.pop(topic, { group, max: 2 })).map(({ receipt }) => receipt!))
      case 3:
        return void (await bench.run({ kind: 'settle', receipts: this.leases.splice(0, 1 + how), outcome }))
      case 4: {
        const will = { message: message('W', body), after: 20_000 }
        const open = { kind: 'open', inbox, fresh: how === 0, expiry: how === 1 ? 0 : 1e6, will } as const
        this.epochs[who % INBOXES] = (await bench.run<'open'>(open, contextOf(inbox))).epoch
        return
      }
      case 5: {
        const share = how > 1 ? { share: `s${who % 2}` } : {}
        const add = [
          { pattern: how === 0 ? `${topic}/p0` : `${topic}/#`, retained: 'send', note: body, ...share } as const,
        ]
        return void (await bench.run({ kind: 'bind', inbox, epoch, add, remove: [] }))
      }
      case 6: {
        const remove = [{ pattern: `${topic}/#`, ...(how > 1 && { share: `s${who % 2}` }) }]
        return void (await bench.run({ kind: 'bind', inbox, epoch, add: [], remove }))
      }
      case 7: {
        const source = { kind: 'inbox', inbox, epoch } as const
        const { batch } = await bench.run<'pop'>({ kind: 'pop', source, max: 3, invisible: 1, wait: 0, fifo: false })
        return void this.slots.push(...[...batch].map(({ receipt }) => receipt!))
      }
      case 8:
        return void (await bench.run({ kind: 'settle', receipts: this.slots.splice(0, 1 + how), outcome }))
      case 9: {
        const will = (['drop', 'fire', 'keep'] as const)[how % 3]!
        const what = { inbox, epoch, will, ...(how === 3 && { expiry: 0 }) }
        return void (await bench.run({ kind: 'leave', what }))
      }
      case 10:
        return void (await bench.publish(message(topic, body, { deliverAt: now + 1000 * how })))
      case 11:
        return bench.clock.advance(400 * (1 + how))
      case 12:
        if (how === 3) return void (await bench.run({ kind: 'admin', action: { do: 'deleteTopic', topic } }))
        if (how === 2) return void (await bench.run({ kind: 'admin', action: { do: 'deleteGroup', group } }))
        return void (await bench.run({
          kind: 'publish',
          messages: [message(topic, body)],
          oneway: false,
          once:
            how === 1
              ? { key: `k${who}`, keep: 1e6 }
              : { of: 'inbox', node: '', inbox, epoch, way: 'in', slot: who + 1 },
        }))
      case 13:
        return void (await bench.publish(message(topic, body, { half: { checkAfter: 1000 } })))
      default: {
        const source = { kind: 'halves', topic, group: '' } as const
        const pop = { kind: 'pop', source, max: 1, invisible: 1000, wait: 0, fifo: false } as const
        const [one] = [...(await bench.run<'pop'>(pop)).batch]
        const resolution = how === 0 ? 'rollback' : 'commit'
        if (one && how < 3) await bench.run({ kind: 'endTransaction', half: one.half!, resolution, byCheck: true })
      }
    }
  }
}

/**
 * What a snapshot has and the log is not told of: that nobody was there to be asked, when a share lost a member that was not
 * kept, groups that found nothing, an order.
 */
const forgetUnwritten = (state: State): void => {
  for (const half of state.halves.all()) half.checkAt = 0
  for (const share of state.shares.values()) share.leftAt = 0
  for (const [name, group] of state.groups) {
    for (const [topic, { cursors }] of group.topics) {
      for (const [index, { next, committed, held }] of cursors)
        if (next <= 0 && committed < 0 && held.size === 0) cursors.delete(index)
      if (cursors.size === 0) group.topics.delete(topic)
    }
    const sorted = [...group.topics].sort(([one], [other]) => (one < other ? -1 : 1))
    group.topics.clear()
    for (const [topic, groupTopic] of sorted) group.topics.set(topic, groupTopic)
    if (group.topics.size === 0 && !group.explicit) state.groups.delete(name)
  }
}

/** What recovery makes of a directory, as sorted items: tables have the order in which things came. */
const recovered = async (bench: Bench, dir: string): Promise<readonly string[]> => {
  const lines = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const segments = new Segments(realFiles, dir)
  const checkpoints = new Checkpoints(realFiles, segments, bench.clock, lines)
  const state = new State('sluice-0', defaultBounds)
  await recover({ segments, checkpoints, state, counters: noCounts(), clock: bench.clock, lines })
  await segments.close()
  forgetUnwritten(state)
  return [...sliceSnapshot(state, () => 1e9, 1)]
    .slice(1)
    .map((item) => item.toString('latin1').replaceAll('"send"', '"skip"'))
    .sort()
}

const check = async (steps: readonly Step[], begin: number): Promise<void> => {
  const states = vi.spyOn(State.prototype, 'recovered')
  const bench = await Bench.start({ flush: 'async', defaultQueues: 1 })
  const state = states.mock.contexts.at(-1) as State
  states.mockRestore()
  const dir = await mkdtemp(join(tmpdir(), 'sluice-snapshot-'))
  const end = () => bench.broker.stats().end
  let position = 0
  const parts: Buffer[] = []
  let snapshot: Generator<Buffer, void> | undefined
  const actor = new Actor(bench)
  for (const [index, [what, who, how, slices]] of steps.entries()) {
    if (index === begin) {
      position = end()
      snapshot = sliceSnapshot(state, end, 1)
    }
    for (let left = slices; snapshot && left > 0; left--) {
      const next = snapshot.next()
      if (!next.done) parts.push(next.value)
    }
    await actor.act(what, who, how).catch(() => undefined)
  }
  parts.push(...(snapshot ?? []))
  await bench.broker.close()
  await cp(bench.dir, dir, { recursive: true })
  for (const name of await readdir(dir)) if (!/^\d{20}$/.test(name)) await unlink(join(dir, name))
  const expected = await recovered(bench, dir)
  await writeFile(
    join(dir, `snapshot-${segmentName(position)}`),
    Buffer.concat([...parts, sealOf(crc32(Buffer.concat(parts)))]),
  )
  const found = await recovered(bench, dir)
  await bench.end()
  await rm(dir, { recursive: true })
  expect(found).toEqual(expected)
}

describe('a snapshot', () => {
  it('taken item by item while everything goes on is, with the log after it, what the log alone is', async () => {
    const step = fc.tuple(fc.nat(14), fc.nat(5), fc.nat(3), fc.nat(3))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 90, size: 'max' }), fc.nat(60), (steps, begin) =>
        check(steps, Math.min(begin, steps.length - 1)),
      ),
      { numRuns: Number(process.env.SLUICE_RUNS ?? 30) },
    )
  }, 120_000)

  it('leaves a share the filter and the note of who joined it last, in whatever order its members come back', () =>
    check(
      [
        [4, 4, 0, 0],
        [4, 0, 0, 0],
        [5, 3, 2, 0],
        [5, 1, 2, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
      ],
      6,
    ))
})
