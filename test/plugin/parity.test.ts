import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBroker } from '@sluice/broker'
import {
  type CommandOf,
  type Context,
  type Delivered,
  Fault,
  type Kind,
  type Message,
  type Receipt,
  type Replies,
  type ReplyTo,
  Sessions,
} from '@sluice/core'
import { ANONYMOUS, type FakeClock, fakeClock, fakePeer, MemoryBackend, turns } from '@sluice/testkit'
import { afterAll, describe, expect, it } from 'vitest'

/** A broker, and the words in which a script says what it saw. */
interface Stage {
  readonly clock: FakeClock
  do<K extends Kind>(command: CommandOf<K>, signal?: AbortSignal): Promise<ReplyTo<K>>
  close(): Promise<void>
}

const sessions = new Sessions('parity')
const who = { protocol: 'test', client: 'c', language: '', version: 1, peer: fakePeer() }
const session = sessions.admit(who, ANONYMOUS, async () => undefined)
const contextAt = (clock: FakeClock, node: string, signal?: AbortSignal): Context => ({
  session,
  principal: ANONYMOUS,
  deadline: clock.now() + 60_000,
  node,
  ...(signal && { signal }),
})

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const real = async (): Promise<Stage> => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-parity-'))
  folders.push(dir)
  const clock = fakeClock()
  const broker = await openBroker({ dir: join(dir, 'log'), clock, flush: 'async', defaultQueues: 1 })
  return {
    clock,
    do: (command, signal) => broker.execute(broker.node, command, contextAt(clock, broker.node, signal)),
    close: () => broker.close(),
  }
}

const memory = async (): Promise<Stage> => {
  const clock = fakeClock()
  const backend = new MemoryBackend({}, clock, sessions)
  return {
    clock,
    do: (command, signal) => backend.execute(command, contextAt(clock, 'memory', signal)),
    close: async () => backend.close(),
  }
}

const publish = async (stage: Stage, text: string, more: Partial<Message> = {}) => {
  const message = { topic: 'orders', body: Buffer.from(text), properties: {}, ...more }
  const { stored } = await stage.do({ kind: 'publish', messages: [message], oneway: false })
  if (Fault.is(stored[0])) throw stored[0]
  return stored[0]!
}
type Pop = Partial<Omit<CommandOf<'pop'>, 'kind'>>
const source = { kind: 'group', topic: 'orders', group: 'workers' } as const
const popped = async (stage: Stage, more: Pop = {}, signal?: AbortSignal) => {
  const command = { kind: 'pop', source, max: 10, invisible: 10_000, wait: 0, fifo: false, ...more } as const
  return [...(await stage.do(command, signal)).batch]
}
const said = (delivered: readonly Delivered[]) =>
  delivered.map(({ message, attempt }) => `${message.body.toString()} ${attempt}`).sort()
const receipts = (delivered: readonly Delivered[]) => delivered.map(({ receipt }) => receipt!)
const settled = ({ failed }: Replies['settle']) => failed.map(({ at, fault }) => `${at} ${fault.code}`)
const settle = (stage: Stage, of: readonly Receipt[], outcome: CommandOf<'settle'>['outcome']) =>
  stage.do({ kind: 'settle', receipts: of, outcome })
const refusal = async (call: Promise<unknown>) => {
  try {
    return await call.then(() => 'done')
  } catch (error) {
    return Fault.from(error).code
  }
}
/** Lets deadlines of a second or so pass: brokers look at theirs now and then. */
const pass = async (stage: Stage, ms: number) => {
  await stage.clock.pass(ms)
  await turns()
}

const scripts: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  async 'each message once, in order'(stage) {
    for (const text of ['a', 'b', 'c']) await publish(stage, text)
    const first = await popped(stage, { max: 2 })
    return [said(first), said(await popped(stage)), said(await popped(stage))]
  },
  async 'a lease that ends: again, as the next attempt, and its receipt is void'(stage) {
    await publish(stage, 'a')
    const first = await popped(stage, { invisible: 10_000 })
    await pass(stage, 12_000)
    const second = await popped(stage)
    return [
      said(first),
      said(second),
      settled(await settle(stage, receipts(first), { kind: 'accept' })),
      settled(await settle(stage, receipts(second), { kind: 'accept' })),
      settled(await settle(stage, receipts(second), { kind: 'accept' })),
    ]
  },
  async 'an extended lease: a new receipt, the old one is void'(stage) {
    await publish(stage, 'a')
    const first = await popped(stage)
    const { renewed } = await settle(stage, receipts(first), { kind: 'retry', after: 30_000, counts: false })
    await pass(stage, 12_000)
    return [
      said(await popped(stage)),
      settled(await settle(stage, receipts(first), { kind: 'accept' })),
      settled(await settle(stage, [renewed![0]!], { kind: 'accept' })),
    ]
  },
  async 'given back: at once, counted or not'(stage) {
    await publish(stage, 'a')
    const seen: string[][] = []
    for (const counts of [false, true, true]) {
      const got = await popped(stage)
      seen.push(said(got))
      await settle(stage, receipts(got), { kind: 'retry', after: 0, counts })
      await pass(stage, 100)
    }
    return [...seen, said(await popped(stage))]
  },
  async 'the last attempt, and what is said to be dead: dead letters'(stage) {
    const spec = { group: 'workers', fifo: false, maxAttempts: 1, backoff: [1_000] }
    await stage.do({ kind: 'admin', action: { do: 'putGroup', spec } })
    await publish(stage, 'a')
    await publish(stage, 'b')
    const got = await popped(stage)
    const of = (text: string) => receipts(got.filter(({ message }) => message.body.toString() === text))
    await settle(stage, of('a'), { kind: 'retry', counts: true })
    await settle(stage, of('b'), { kind: 'dead' })
    await pass(stage, 5_000)
    const again = said(await popped(stage))
    await turns()
    const dead = { ...source, topic: '%DLQ%workers', group: 'undertaker' }
    const letters = await popped(stage, { source: dead })
    return [again, letters.map(({ message }) => message.body.toString()).sort()]
  },
  async 'a poll waits for a message, for its time, or for its client'(stage) {
    const first = popped(stage, { wait: 5_000 })
    await turns()
    await publish(stage, 'a')
    const late = popped(stage, { wait: 5_000 })
    await pass(stage, 7_000)
    const abort = new AbortController()
    const gone = popped(stage, { wait: 5_000 }, abort.signal)
    await turns()
    abort.abort()
    return [said(await first), said(await late), said(await gone)]
  },
  async 'invisible 0: settled on delivery'(stage) {
    await publish(stage, 'a')
    const got = await popped(stage, { invisible: 0 })
    await pass(stage, 60_000)
    return [said(got), got.map(({ receipt }) => receipt), said(await popped(stage))]
  },
  async 'a tag filter takes what matches, and passes over the rest'(stage) {
    await publish(stage, 'red', { tag: 'red' })
    await publish(stage, 'blue', { tag: 'blue' })
    const filtered = { ...source, filter: { kind: 'tag', expression: 'blue || green' } } as const
    return [said(await popped(stage, { source: filtered }))]
  },
  async 'a delayed message comes at its time'(stage) {
    await publish(stage, 'a', { deliverAt: stage.clock.now() + 5_000 })
    const early = said(await popped(stage))
    await pass(stage, 7_000)
    return [early, said(await popped(stage))]
  },
  async 'reading takes nothing, and its bounds are answered'(stage) {
    for (const text of ['a', 'b']) await publish(stage, text)
    const { routes } = await stage.do({ kind: 'topic', topic: 'orders' })
    const { queue } = routes[0]!
    const read = async (offset: number) => {
      const command = { kind: 'read', from: { by: 'offset', queue, offset }, max: 10, bytes: 1e6, wait: 0 } as const
      const { batch, next, min, max } = await stage.do(command)
      return [said([...batch]), next, min, max]
    }
    return [await read(0), await read(1), await read(2), said(await popped(stage))]
  },
  async 'offsets of a group are kept as committed'(stage) {
    await publish(stage, 'a')
    const { routes } = await stage.do({ kind: 'topic', topic: 'orders' })
    const { queue } = routes[0]!
    const ask = () => stage.do({ kind: 'queryOffset', queue, at: { group: 'reader' } })
    const before = await refusal(ask())
    await stage.do({ kind: 'commitOffset', queue, group: 'reader', offset: 1 })
    const { offset } = await ask()
    const { offset: max } = await stage.do({ kind: 'queryOffset', queue, at: 'max' })
    return [routes.length, before, offset, max]
  },
}

describe('the broker in memory answers as the real one', () => {
  for (const [name, script] of Object.entries(scripts)) {
    it(name, async () => {
      const transcripts = []
      for (const open of [real, memory]) {
        const stage = await open()
        try {
          transcripts.push(await script(stage))
        } finally {
          await stage.close()
        }
      }
      expect(transcripts[1]).toEqual(transcripts[0])
    })
  }
})
