import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { loadSidecar, openSidecar, sliceSidecar } from './sidecar.ts'
import { defaultBounds, State } from './state.ts'

const spec = (topic: string, queues = 1) => ({ topic, queues, type: 'mixed' as const })
const sidecar = { start: 100, end: 10_000, newest: 5 }

/** Two queues of one topic and one of another, in turns, with a hole; and a topic that was deleted and made again. */
const filled = (): State => {
  const state = new State('n', defaultBounds)
  const two = state.putTopic(spec('two', 2), 1)
  const one = state.putTopic(spec('one'), 1)
  state.putTopic(spec('old'), 1)
  const put = (topic: typeof two, queue: number, offset: number, place: number) =>
    state.restore(topic.queues[queue]!, offset, place, place % 97, -place, place % 3 === 0 ? 4 : 1)
  put(two, 0, 7, 200)
  put(two, 1, 0, 300)
  put(one, 0, 2 ** 33, 400)
  put(state.topics.get('old')!, 0, 0, 450)
  put(two, 0, 8, 500)
  put(two, 1, 3, 600)
  put(one, 0, 2 ** 33 + 5, 700)
  state.deleteTopic('old')
  put(state.putTopic(spec('old'), 800), 0, 0, 900)
  return state
}

const contents = (state: State) =>
  [...state.topics.values()].flatMap(({ queues }) =>
    queues.map(({ records: r }) => [
      r.min,
      r.max,
      Array.from({ length: r.max - r.min }, (_, at) => r.min + at).map((offset) => [
        r.place(offset),
        r.size(offset),
        r.tag(offset),
        r.flags(offset),
      ]),
    ]),
  )

const fresh = (): State => {
  const state = new State('n', defaultBounds)
  state.putTopic(spec('two', 2), 1)
  state.putTopic(spec('one'), 1)
  state.putTopic(spec('old'), 800)
  return state
}

describe('a sidecar', () => {
  it('fills queues as they were, holes and priorities included, and what is written after it stands beside', () => {
    const state = filled()
    const { stood } = state.standing
    state.restore(state.topics.get('one')!.queues[0]!, 2 ** 33 + 6, 999, 1, 1, 1)
    const bytes = Buffer.concat([...sliceSidecar(stood, sidecar)])
    const opened = openSidecar(bytes, 100)!
    expect(opened.sidecar).toEqual(sidecar)
    const again = fresh()
    expect(loadSidecar(opened.body, 950, again)).toBe(true)
    const expected = filled()
    expect(contents(again)).toEqual(contents(expected))
    expect([...sliceSidecar(again.standing.stood, sidecar)]).toHaveLength(3)
  })

  it('speaks of what lies below a limit, and of no topic that is another or has fewer queues by now', () => {
    const bytes = Buffer.concat([...sliceSidecar(filled().standing.stood, sidecar)])
    const state = new State('n', defaultBounds)
    state.putTopic(spec('two', 1), 1)
    state.putTopic(spec('old'), 2_000)
    loadSidecar(openSidecar(bytes, 100)!.body, 500, state)
    expect(contents(state)).toEqual([
      [7, 8, [[200, 200 % 97, -200, 1]]],
      [0, 0, []],
    ])
  })

  it('of another segment, another kind of machine, or with a bit that turned is none', () => {
    const bytes = Buffer.concat([...sliceSidecar(filled().standing.stood, sidecar)])
    expect(openSidecar(bytes, 200)).toBeUndefined()
    for (const at of [0, 5, bytes.length >> 1, bytes.length - 1]) {
      const turned = Buffer.from(bytes)
      turned[at]! ^= 1
      expect(openSidecar(turned, 100)).toBeUndefined()
    }
    const order = Buffer.from(new Uint32Array([0x01020304]).buffer)
    const foreign = Buffer.from(bytes)
    foreign.set(Buffer.from(order).reverse(), bytes.indexOf(order))
    foreign.writeUInt32BE(crc32(foreign.subarray(0, -4)), foreign.length - 4)
    expect(loadSidecar(openSidecar(foreign, 100)!.body, 950, fresh())).toBe(false)
  })

  it('of one segment knows nothing of the one before', () => {
    const state = filled()
    state.standing.next()
    expect(state.standing.stood).toMatchObject({ queues: 0, pages: [] })
    const { records } = state.topics.get('two')!.queues[0]!
    state.restore(state.topics.get('two')!.queues[0]!, records.max, 1_200, 1, 1, 1)
    expect(state.standing.stood).toMatchObject({ queues: 1, base: 1_200 })
  })
})
