import type { Half, StoredMessage } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Caller, House, type Reply } from '../test/harness.ts'

let house: House
beforeEach(async () => {
  house = await House.open({ topics: ['orders'] })
})
afterEach(() => house.close())

const producer = { client_type: 'PRODUCER', publishing: { topics: [{ name: 'orders' }] } }
const consumer = { client_type: 'PUSH_CONSUMER', subscription: { group: { name: 'g' }, subscriptions: [] } }

/** A telemetry stream that has its settings, and what is commanded on it. */
const line = async (caller: Caller, settings: object) => {
  const stream = caller.telemetry()
  const commands: Reply[] = []
  const next = () => new Promise<Reply>((resolve) => stream.once('data', resolve))
  stream.write({ settings })
  await next()
  stream.on('data', (command) => commands.push(command))
  return { stream, commands, next }
}

const sessionOf = (client: string): string => {
  const seen = house.gateway.commands.find(({ context }) => context.session.client === client)
  return seen!.context.session.id
}
const stored = async (caller: Caller): Promise<StoredMessage> => {
  await caller.send('orders', 'asked about', { tag: 'blue' })
  return house.gateway.messages('orders')[0]!
}

describe('a client is asked', () => {
  it('to decide a transaction that it left open, and its answer decides', async () => {
    const caller = house.caller()
    const { next } = await line(caller, producer)
    const sent = await caller.send('orders', 'half', { message_type: 'TRANSACTION' })
    const { message_id } = sent.entries[0]
    const half = house.gateway.seal.openHalf(sent.entries[0].transaction_id) as Half
    const message = { ...(await stored(caller)), id: message_id, body: Buffer.from('half') }
    const commanded = next()
    const to = { group: 'orders', role: 'produces', one: true } as const
    await house.gateway.notify(to, { kind: 'checkTransaction', message, half })
    const { recover_orphaned_transaction_command: asked } = await commanded
    expect([asked.message.system_properties.message_id, String(asked.message.body)]).toEqual([message_id, 'half'])
    expect(asked.message.system_properties.body_digest.checksum).toMatch(/^[0-9A-F]{32}$/)
    const { transaction_id } = asked
    const end = { topic: { name: 'orders' }, message_id, transaction_id, resolution: 'COMMIT' }
    const answer = await caller.call('EndTransaction', { ...end, source: 'SOURCE_SERVER_CHECK' })
    expect(answer.status.code).toBe(20000)
    expect(house.gateway.of('endTransaction')[0]).toEqual({
      kind: 'endTransaction',
      half,
      resolution: 'commit',
      byCheck: true,
    })
  })

  it('by the stream that spoke last, while one is open; else the broker hears that nobody is', async () => {
    const caller = house.caller()
    const older = await line(caller, producer)
    const newer = await line(house.caller(), producer)
    const half = { node: 'memory', topic: 'orders', group: 'orders', id: 'i', place: 0, offset: 0 }
    const message = await stored(caller)
    const ask = () =>
      house.gateway.notify({ session: sessionOf('client-1') }, { kind: 'checkTransaction', message, half })
    await ask()
    await until(() => newer.commands.length === 1)
    expect(older.commands).toEqual([])
    newer.stream.end()
    await new Promise((resolve) => newer.stream.once('end', resolve))
    await until(async () => {
      await ask().catch(() => undefined)
      return older.commands.length > 0
    })
    older.stream.cancel()
    await until(async () => (await ask().catch(({ code }) => code)) === 'unavailable')
  })

  it('for its threads and to verify a message; the answer is handed through', async () => {
    const caller = house.caller()
    const { stream, next } = await line(caller, consumer)
    const message = await stored(caller)
    const probe = (ask: 'stack' | 'status' | { verify: StoredMessage; group: string }) =>
      house.gateway.notify({ session: sessionOf('client-1') }, { kind: 'probe', ask })
    const stack = probe('stack')
    const { nonce } = (await next()).print_thread_stack_trace_command
    stream.write({ thread_stack_trace: { nonce: 'another', thread_stack_trace: 'no' } })
    stream.write({ status: { code: 20000 }, thread_stack_trace: { nonce, thread_stack_trace: 'main: idle' } })
    expect(await stack).toBe('main: idle')
    const verify = probe({ verify: message, group: 'g' })
    const asked = (await next()).verify_message_command
    expect(asked.message.system_properties.tag).toBe('blue')
    stream.write({
      status: { code: 'FAILED_TO_CONSUME_MESSAGE', message: 'no' },
      verify_message_result: { nonce: asked.nonce },
    })
    expect(await verify).toMatchObject({ message: 'no' })
    await expect(probe('status')).rejects.toMatchObject({ code: 'unsupported' })
  })

  it('to forget a lite topic that another client took', async () => {
    const { next } = await line(house.caller(), consumer)
    const commanded = next()
    await house.gateway.notify(
      { session: sessionOf('client-1') },
      { kind: 'unbound', inbox: 'i', pattern: 'orders/one' },
    )
    expect((await commanded).notify_unsubscribe_lite_command).toEqual({ lite_topic: 'one' })
  })

  it('to reconnect by a drain when it knows how, and it alone', async () => {
    const knows = await line(house.caller('node'), { ...producer, user_agent: { language: 'NODE_JS' } })
    const not = await line(house.caller('python'), { ...producer, user_agent: { language: 'PYTHON' } })
    for (const connection of house.server.connections()) connection.goAway('draining')
    await until(() => knows.commands.some((command) => command.reconnect_endpoints_command?.nonce))
    await new Promise((resolve) => not.stream.once('end', resolve))
    expect(not.commands).toEqual([])
  })

  it('to come by other connections when it was sent away', async () => {
    const { stream } = await line(house.caller(), producer)
    await house.gateway.notify({ session: sessionOf('client-1') }, { kind: 'goAway', reason: 'kicked' })
    await new Promise((resolve) => stream.once('end', resolve))
  })
})

const until = async (so: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await so())) await new Promise((resolve) => setTimeout(resolve, 2))
}
