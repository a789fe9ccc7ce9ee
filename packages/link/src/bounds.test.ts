import { type CommandOf, Fault } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { afterEach, expect, it, vi } from 'vitest'
import { greeted } from '../test/stranger.ts'
import { contextOf, ending, message, NODE, Rig, sessionOf } from '../test/support.ts'
import type { LinkedBackend } from './client.ts'
import { writeValue } from './values.ts'
import { frame } from './wire.ts'
import { Writer } from './writer.ts'

let rig: Rig
afterEach(() => rig.end())

const MIB = 1024 * 1024
const body = Buffer.alloc(8 * MIB)
const publish = (link: LinkedBackend, session = sessionOf('g1/1')) =>
  ending(
    link.execute<'publish'>(
      NODE,
      { kind: 'publish', messages: [{ ...message(), body }], oneway: false },
      contextOf(session, rig.clock),
    ),
  )
const stored = { stored: [] }

it('refuses as busy what a broker that does not read is to take', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  rig.backend.answers = () => stored
  rig.sockets[0]!.pause()
  const all = Array.from({ length: 12 }, () => publish(link))
  expect(await Promise.all(all.slice(8))).toEqual(['busy', 'busy', 'busy', 'busy'])
  rig.sockets[0]!.resume()
  expect(await Promise.all(all.slice(0, 8))).toEqual(Array.from({ length: 8 }, () => stored))
  expect(await publish(link)).toEqual(stored)
})

it('holds 64 MiB for a broker that is away', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  await rig.kill()
  const all = Array.from({ length: 9 }, () => publish(link))
  expect(await Promise.all(all.slice(7))).toEqual(['unavailable', 'unavailable'])
  expect(link.stats().held).toBe(7)
  rig.start()
  rig.backend.answers = () => stored
  await rig.pass(1_000)
  expect(await Promise.all(all.slice(0, 7))).toEqual(Array.from({ length: 7 }, () => stored))
})

it('does not read on from a gateway of which 64 MiB are under way', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  const all: Promise<unknown>[] = []
  for (let n = 0; n < 12; n++) {
    all.push(publish(link))
    await turns(32)
  }
  const { calls } = rig.backend
  expect(calls.length).toBeGreaterThanOrEqual(8)
  expect(calls.length).toBeLessThan(12)
  for (let n = 0; n < 12; n++) {
    calls[n]!.answer(stored)
    await turns(32)
  }
  expect(await Promise.all(all)).toEqual(Array.from({ length: 12 }, () => stored))
})

const leave: CommandOf<'leave'> = { kind: 'leave', what: { group: 'g' } }

it('holds 65,536 commands for a broker that is away', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  await rig.kill()
  const context = contextOf(sessionOf('g1/1'), rig.clock)
  const say = () => ending(link.execute(NODE, leave, context))
  const all = Array.from({ length: 65_536 }, say)
  expect(await say()).toBe('unavailable')
  expect(link.stats().held).toBe(65_536)
  rig.start()
  rig.backend.answers = () => ({})
  await rig.pass(1_000)
  expect((await Promise.all(all)).filter((one) => typeof one === 'string')).toEqual([])
})

it('does not read on from a gateway of which 65,536 commands are under way', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  const context = contextOf(sessionOf('g1/1'), rig.clock)
  const all = Array.from({ length: 80_000 }, () => link.execute(NODE, leave, context))
  const { calls } = rig.backend
  for (let before = -1; calls.length > before; await turns(64)) before = calls.length
  // What came in the same piece is taken too.
  expect(calls.length).toBeGreaterThanOrEqual(65_536)
  expect(calls.length).toBeLessThan(75_000)
  for (let n = 0; n < all.length; n++) {
    if (!calls[n]) await turns(64)
    calls[n]!.answer({})
  }
  await Promise.all(all)
})

it('ends the connection of a gateway that tells of over 262,144 sessions', async () => {
  rig = new Rig()
  const wire = await greeted(rig)
  const told = (from: number, to: number): Buffer => {
    const writer = new Writer()
    for (let n = from; n <= to; n++) {
      writer.begin(frame.session, n)
      writeValue(writer, { id: `x/${n}`, client: 'c' })
      writer.end()
    }
    return Buffer.concat(writer.take())
  }
  wire.write(told(1, 262_144))
  await vi.waitFor(() => expect(rig.server!.stats().sessions).toBe(262_144), { timeout: 10_000 })
  wire.write(told(262_145, 262_145))
  await wire.closed
  expect(rig.lines.at(-1)).toMatchObject({ event: 'link.closed', fields: { reason: 'link: over 262144 sessions' } })
})

it('waits five seconds at its end for what is under way', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  const lost = ending(link.execute(NODE, leave, contextOf(sessionOf('g1/1'), rig.clock)))
  await turns()
  let isClosed = false
  const closed = rig.server!.close().then(() => (isClosed = true))
  await rig.pass(4_900)
  expect(isClosed).toBe(false)
  await rig.pass(200)
  await closed
  rig.server = undefined
  await link.close()
  expect(await lost).toBe('unavailable')
})

it('puts 16,384 questions to a gateway at a time', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  rig.backend.answers = () => ({})
  const session = sessionOf('g1/1')
  await link.execute<'leave'>(NODE, leave, contextOf(session, rig.clock))
  link.onNotice(() => new Promise(() => undefined))
  const ask = () => ending(rig.backend.notify({ session: session.id }, { kind: 'rebalance', group: 'g' }))
  for (let n = 0; n < 16_384; n++) void ask()
  expect(await ask()).toBe('busy')
})

it('lets 256 gateways in', async () => {
  rig = new Rig()
  for (let n = 0; n < 256; n++) await rig.connect(`g${n}`)
  const refused = ending(rig.connect('one more', { startMs: 1_000 }))
  await rig.pass(1_100)
  expect(await refused).toBe('unavailable')
  expect(rig.lines.at(-1)).toMatchObject({ event: 'link.refused', fields: { code: 'limit' } })
  await rig.links.pop()!.close()
  expect(Fault.is(await ending(rig.connect('one more')))).toBe(false)
})
