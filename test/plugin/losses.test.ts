import { connect, fakeGateway, fakePeer, serverOf } from '@sluice/testkit'
import { expect, it } from 'vitest'
import lines from './lines/src/index.ts'

it('what a line has no room for is counted', async () => {
  const gateway = fakeGateway()
  const plugin = lines()
  const who = { protocol: 'test', client: 'c', language: '', version: 1, peer: fakePeer() }
  const session = await gateway.admit(who, async () => undefined)
  const plain = { topic: 't', body: Buffer.from('a'), properties: {} }
  const rich = { ...plain, body: Buffer.from('b'), properties: { color: 'red' }, tag: 'x', priority: 3, via: 'amqp' }
  await gateway.handle({ kind: 'publish', messages: [plain, rich], oneway: false }, gateway.context(session, 1_000))
  const wire = await connect(plugin, gateway)
  wire.write(Buffer.from('SUB 1 t g 2\n'))
  await wire.until((bytes) => bytes.includes('MSG 2 1 b\n'))
  expect(gateway.losses.map(({ from, to, field }) => `${from} ${to} ${field}`).sort()).toEqual([
    'amqp lines priority',
    'amqp lines properties',
    'amqp lines tag',
  ])
  wire.destroy()
  await (await serverOf(plugin, gateway)).close()
  gateway.close()
})
