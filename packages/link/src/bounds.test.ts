import { Fault } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { afterEach, expect, it } from 'vitest'
import { contextOf, ending, message, NODE, Rig, sessionOf } from '../test/support.ts'
import type { LinkedBackend } from './client.ts'

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

it('puts 16,384 questions to a gateway at a time', async () => {
  rig = new Rig()
  const link = await rig.connect('g1')
  rig.backend.answers = () => ({})
  const session = sessionOf('g1/1')
  await link.execute<'leave'>(NODE, { kind: 'leave', what: { group: 'g' } }, contextOf(session, rig.clock))
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
