import { request } from '@sluice/remoting'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { consumer, popFields, RemotingClient } from '../test/client.ts'
import { type Bench, pushed, type Served, served } from '../test/surface.ts'
import { handlers, namedHandlers } from './handlers.ts'
import { remoting } from './index.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

/** POP_MESSAGE, NOTIFICATION and pulls may wait, and sends are stored together: they have no handler. */
const polls = [request.pullMessage, request.litePullMessage, request.popMessage, request.notification]
const sends = [request.sendMessage, request.sendMessageV2, request.sendBatchMessage]
const all = Object.values(served).flat()

const benchOf = async (binary: boolean): Promise<Bench> => {
  const gateway = fakeGateway({ autoCreate: false, topics: [{ topic: 'T', queues: 2, type: 'mixed' }] })
  gateways.push(gateway)
  const protocol = remoting()
  await serverOf(protocol, gateway)
  const client = await RemotingClient.connect(protocol, gateway)
  await client.ask(request.heartBeat, {}, undefined)
  await client.heartbeat('c1', [consumer('G', ['T'], { consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET' })], ['PG'])
  await client.send('T', 'm0', { i: 'UNIQ_KEY\x01K0\x02' })
  await client.ask(request.popMessage, popFields('T', 'G'))
  const place = gateway.messages('T')[0]?.place ?? -1
  const popped = `0 ${gateway.clock.now()} 60000 0 0 sluice 0 0`
  return { gateway, client, as: { binary }, place, popped }
}

const askFor = async ({ code, ext, body, prepare, check, answers = 0 }: Served, binary: boolean) => {
  const bench = await benchOf(binary)
  await prepare?.(bench)
  const fields = typeof ext === 'function' ? ext(bench) : ext
  const answer = await bench.client.ask(code, { ...fields }, body, bench.as)
  expect(`${answer.code} ${answer.remark ?? ''}`).toMatch(new RegExp(`^${answers} `))
  expect(answer.binary).toBe(binary)
  await check?.(answer, bench)
}

describe.each([
  ['JSON', false],
  ['binary', true],
] as const)('%s headers', (_, binary) => {
  it.each(all.map((one) => [one.code, one.name, one] as const))('%i %s', (_, __, one) => askFor(one, binary))

  it.each(pushed.map((one) => [one.code, one.name, one] as const))('%i %s, to a client', async (_, __, one) => {
    const bench = await benchOf(binary)
    await bench.client.ask(request.getBrokerClusterInfo, {}, undefined, bench.as)
    await one.push(bench)
    await turns()
    const told = bench.client.told.find(({ code }) => code === one.code)
    expect(told).toBeDefined()
    if (told) one.check?.(told, bench)
  })
})

it('is the whole surface: every code that is served is in the table', () => {
  const codes = new Set(all.map(({ code }) => code))
  const has = [...Object.keys(handlers), ...Object.keys(namedHandlers), ...polls, ...sends].map(Number)
  expect(has.filter((code) => !codes.has(code))).toEqual([])
  const known = new Set<number>([...has, ...pushed.map(({ code }) => code)])
  expect(Object.values(request).filter((code) => !known.has(code))).toEqual([])
})

it('answers 3 to every other code', async () => {
  const { client } = await benchOf(false)
  for (const code of [0, 13, 25, 99, 223, 999, 200_056, -1, 2_000_000])
    expect((await client.ask(code)).code, String(code)).toBe(3)
})
