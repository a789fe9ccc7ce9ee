import { readFileSync } from 'node:fs'
import { type FakeGateway, fakeGateway, serverOf } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { consumer, popFields, RemotingClient } from '../test/client.ts'
import { type Bench, served } from '../test/surface.ts'
import { remoting } from './index.ts'

/** A request that is otherwise as in test/surface.ts. */
interface Bad {
  readonly code: number
  readonly defect: string
  /** Fields that are left out, of the header or of the body. */
  readonly without?: readonly string[]
  readonly with?: Readonly<Record<string, string | number>>
  /** Of a body in JSON. */
  readonly body?: Readonly<Record<string, unknown>>
  /** A body of so many bytes, or of this text. */
  readonly bodyBytes?: number
  readonly bodyText?: string
  /** A field whose value is so many bytes of properties. */
  readonly propertyBytes?: { readonly field: string; readonly bytes: number }
  readonly answers: number
  /** What the remark names. */
  readonly names: string
}

const file = new URL('../fixtures/bad-input.json', import.meta.url)
const rows = JSON.parse(readFileSync(file, 'utf8')) as readonly Bad[]
const all = Object.values(served).flat()
/** They change nothing, so their refusal may come after they went through. */
const changing = new Set(['publish', 'settle', 'commitOffset', 'admin', 'endTransaction', 'recall', 'lock', 'leave'])

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

const open = async (): Promise<Bench> => {
  const limits = { bodyBytes: 64 * 1024 }
  const gateway = fakeGateway({ autoCreate: false, topics: [{ topic: 'T', queues: 2, type: 'mixed' }], limits })
  gateways.push(gateway)
  const protocol = remoting()
  await serverOf(protocol, gateway)
  const client = await RemotingClient.connect(protocol, gateway)
  await client.heartbeat('c1', [consumer('G', ['T'], { consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET' })], ['PG'])
  await client.send('T', 'm0', { i: 'UNIQ_KEY\x01K0\x02' })
  await client.ask(200_050, popFields('T', 'G'))
  const popped = `0 ${gateway.clock.now()} 60000 0 0 sluice 0 0`
  return { gateway, client, as: {}, place: gateway.messages('T')[0]?.place ?? -1, popped }
}

const omit = <T extends object>(from: T, names: readonly string[]): Partial<T> =>
  Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name))) as Partial<T>

const bodyOf = (row: Bad, usual: Buffer | object | undefined): Buffer | object | undefined => {
  if (row.bodyBytes !== undefined) return Buffer.alloc(row.bodyBytes, 0x61)
  if (row.bodyText !== undefined) return Buffer.from(row.bodyText)
  if (!usual || Buffer.isBuffer(usual)) return usual
  return { ...omit(usual, row.without ?? []), ...row.body }
}

describe('a bad request', () => {
  it.each(rows.map((row) => [row.code, row.defect, row] as const))('%i: %s', async (_, __, row) => {
    const one = all.find(({ code }) => code === row.code)
    expect(one).toBeDefined()
    const bench = await open()
    const { gateway, client } = bench
    const usual = (typeof one?.ext === 'function' ? one.ext(bench) : one?.ext) ?? {}
    const { field, bytes } = row.propertyBytes ?? { field: '', bytes: 0 }
    const long = bytes > 0 ? { [field]: `p\x01${'v'.repeat(bytes - 3)}\x02` } : {}
    const before = gateway.commands.length
    const stored = gateway.messages('T').length
    const ext = { ...omit(usual, row.without ?? []), ...row.with, ...long }
    const answer = await client.ask(row.code, ext as Record<string, string>, bodyOf(row, one?.body))
    expect(`${answer.code} ${answer.remark}`).toMatch(new RegExp(`^${row.answers} .*${row.names}`))
    expect(gateway.messages('T').length).toBe(stored)
    const since = gateway.commands.slice(before).map(({ command }) => command.kind)
    if (row.answers === 29) expect(since.filter((kind) => changing.has(kind))).toEqual([])
    expect(gateway.logs.filter(({ level }) => level === 'error')).toEqual([])
  })

  it('is there for every request that can be bad', () => {
    const covered = new Set(rows.map(({ code }) => code))
    const harmless = new Set([21, 26, 28, 35, 42, 46, 106, 201, 206, 224])
    expect(all.filter(({ code }) => !covered.has(code) && !harmless.has(code)).map(({ code }) => code)).toEqual([])
  })
})
