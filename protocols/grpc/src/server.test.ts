import { createHmac } from 'node:crypto'
import { Fault } from '@sluice/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { asking, House, message, type Reply } from '../test/harness.ts'

const settings = (group: string, topic: string) => ({
  settings: {
    client_type: 'SIMPLE_CONSUMER',
    subscription: {
      group: { name: group },
      subscriptions: [{ topic: { name: topic }, expression: { type: 'TAG', expression: '*' } }],
    },
  },
})
const endpoints = { scheme: 'IPv4', addresses: [{ host: '192.0.2.7', port: 9 }] }

let house: House
beforeEach(async () => {
  house = await House.open({ autoCreate: false, topics: [{ topic: 'orders', queues: 4, type: 'mixed' }] })
})
afterEach(() => house.close())

const firstMessage = async (caller: ReturnType<House['caller']>, more: object = {}): Promise<Reply> => {
  const parts = await caller.receive(asking('orders', 'g', more))
  return parts.find((part) => part.message)?.message
}

describe('a producer', () => {
  it('asks for the route and gets its own endpoints back, the same each time', async () => {
    const caller = house.caller()
    const [one, two] = await Promise.all(
      [1, 2].map(() => caller.call('QueryRoute', { topic: { name: 'orders' }, endpoints })),
    )
    expect(one.status.code).toBe(20000)
    expect(one.message_queues.length).toBe(4)
    expect(one.message_queues[0].broker.endpoints.addresses).toEqual(endpoints.addresses)
    expect(two).toEqual(one)
    expect((await caller.call('QueryRoute', { topic: { name: 'nowhere' } })).status.code).toBe(40402)
  })

  it('gets the queues of a topic that its first message makes, where the broker makes topics', async () => {
    house.gateway.answer('topic', ({ topic }) => {
      if (topic !== 'TBW102') throw new Fault('topicNotFound', `no ${topic}`)
      const queue = { topic, node: 'memory', index: 0 }
      return { topic, queues: 1, type: 'mixed', routes: [{ queue, number: 0, readable: true, writable: true }] }
    })
    const { status, message_queues } = await house.caller().call('QueryRoute', { topic: { name: 'new' } })
    expect(status.code).toBe(20000)
    expect(message_queues.map((one: Reply) => [one.topic.name, one.permission])).toEqual([['new', 4]])
  })

  it('gets the advertised address when it names none', async () => {
    const { message_queues } = await house.caller().call('QueryRoute', { topic: { name: 'orders' } })
    expect(message_queues[0].broker.endpoints.addresses).toEqual([{ host: '127.0.0.1', port: house.port }])
  })

  it('sends; ids come back in the order of the messages', async () => {
    const messages = ['a', 'b', 'c'].map((body) => message('orders', body, { tag: body }))
    const reply = await house.caller().call('SendMessage', { messages })
    expect(reply.status.code).toBe(20000)
    expect(reply.entries.map((entry: Reply) => entry.message_id)).toEqual(
      messages.map(({ system_properties }) => system_properties.message_id),
    )
    expect(house.gateway.messages('orders').map(({ body }) => body.toString())).toEqual(['a', 'b', 'c'])
  })

  it('is told which messages were not taken', async () => {
    house.gateway.answer('publish', ({ messages }) => ({
      stored: messages.map(({ topic, id }, at) =>
        at === 1
          ? new Fault('throttled', 'slower')
          : { id: id!, queue: { topic, node: 'memory', index: 0 }, offset: at, place: at },
      ),
    }))
    const reply = await house
      .caller()
      .call('SendMessage', { messages: ['a', 'b'].map((body) => message('orders', body)) })
    expect(reply.status.code).toBe(30000)
    expect(reply.entries.map((entry: Reply) => entry.status.code)).toEqual([20000, 42900])
  })

  it('is refused in the payload, with gRPC OK and nothing of our insides', async () => {
    const caller = house.caller()
    expect((await caller.send('nowhere', 'x')).status.code).toBe(40402)
    expect((await caller.send('orders', 'x', { tag: 'a|b' })).status.code).toBe(40004)
    house.gateway.failNext('publish', new TypeError('secret words'))
    expect((await caller.send('orders', 'x')).status).toEqual({ code: 50001, message: 'internal error' })
    expect(house.gateway.logs.some(({ event }) => event === 'plugin.failed')).toBe(true)
  })

  it('hears of a body over the limit in the words of the protocol', async () => {
    const { bodyBytes } = house.gateway.limits
    const caller = house.caller()
    expect((await caller.send('orders', Buffer.alloc(bodyBytes + 1, 1))).status.code).toBe(41301)
    expect((await caller.send('orders', Buffer.alloc(bodyBytes, 1))).status.code).toBe(20000)
  })

  it('may take part without ever having sent settings', async () => {
    const reply = await house.caller().call('Heartbeat', { client_type: 'PRODUCER' })
    expect(reply.status.code).toBe(20000)
    expect(house.gateway.of('heartbeat')).toEqual([{ kind: 'heartbeat', member: { produces: [], consumes: [] } }])
    expect((await house.caller('other').call('Heartbeat', { client_type: 99 })).status.code).toBe(40015)
  })
})

describe('a consumer', () => {
  it('receives status, messages and the time of delivery; acknowledged, they do not come again', async () => {
    const caller = house.caller()
    await caller.send('orders', 'hello', { tag: 't', keys: ['k'] }, { colour: 'red' })
    const parts = await caller.receive(asking('orders', 'g'))
    expect(parts.map(({ content }) => content)).toEqual(['status', 'message', 'delivery_timestamp'])
    const { receipt_handle, tag, keys, delivery_attempt } = parts[1].message.system_properties
    expect([tag, keys, delivery_attempt]).toEqual(['t', ['k'], 1])
    expect(parts[1].message.user_properties).toEqual({ colour: 'red' })
    const ack = { group: { name: 'g' }, topic: { name: 'orders' }, entries: [{ message_id: 'm', receipt_handle }] }
    expect(await caller.call('AckMessage', ack)).toMatchObject({
      status: { code: 20000 },
      entries: [{ message_id: 'm', receipt_handle, status: { code: 20000 } }],
    })
    expect((await caller.call('AckMessage', ack)).status.code).toBe(40013)
    const empty = await caller.receive(asking('orders', 'g', { long_polling_timeout: {} }))
    expect(empty.map(({ status }) => status?.code)).toEqual([40401, undefined])
  })

  it('waits until something comes', async () => {
    const caller = house.caller()
    const polled = house.gateway.next('pop')
    const receiving = firstMessage(caller)
    await polled
    await caller.send('orders', 'late')
    expect(String((await receiving).body)).toBe('late')
  })

  it('gets a new handle with a new invisible time, and keeps its own when it is refused', async () => {
    const caller = house.caller()
    await caller.send('orders', 'hello')
    const { receipt_handle } = (await firstMessage(caller)).system_properties
    const change = (handle: string, seconds: number) =>
      caller.call('ChangeInvisibleDuration', {
        group: { name: 'g' },
        topic: { name: 'orders' },
        receipt_handle: handle,
        invisible_duration: { seconds },
      })
    const changed = await change(receipt_handle, 20)
    expect(changed.status.code).toBe(20000)
    expect(changed.receipt_handle).not.toBe(receipt_handle)
    expect(await change(changed.receipt_handle, 13 * 3600)).toMatchObject({
      status: { code: 40011 },
      receipt_handle: changed.receipt_handle,
    })
    expect((await change('forged', 1)).status.code).toBe(40013)
    expect((await change(receipt_handle, 1)).status.code).toBe(40013)
    expect((await change(changed.receipt_handle, 0)).status.code).toBe(20000)
    expect((await firstMessage(caller)).system_properties.delivery_attempt).toBe(2)
  })

  it('acknowledges what is valid of a list, in its order', async () => {
    const caller = house.caller()
    await caller.send('orders', 'hello')
    const { receipt_handle } = (await firstMessage(caller)).system_properties
    const entries = [{ receipt_handle: 'forged' }, { receipt_handle }]
    const reply = await caller.call('AckMessage', { group: { name: 'g' }, topic: { name: 'orders' }, entries })
    expect(reply.status.code).toBe(30000)
    expect(reply.entries.map((entry: Reply) => entry.status.code)).toEqual([40013, 20000])
    expect((await caller.call('AckMessage', { entries: [] })).status.code).toBe(40000)
  })

  it('forwards to the dead letters', async () => {
    const caller = house.caller()
    await caller.send('orders', 'hello')
    const { receipt_handle } = (await firstMessage(caller)).system_properties
    const forward = () => caller.call('ForwardMessageToDeadLetterQueue', { receipt_handle, group: { name: 'g' } })
    expect((await forward()).status.code).toBe(20000)
    expect((await forward()).status.code).toBe(40013)
  })

  it('is assigned queues in a stable order', async () => {
    const ask = { topic: { name: 'orders' }, group: { name: 'g' }, endpoints }
    const { status, assignments } = await house.caller().call('QueryAssignment', ask)
    expect(status.code).toBe(20000)
    expect(assignments.map((one: Reply) => one.message_queue.id)).toEqual([-1])
  })

  it('gets back what it was given while it went away', async () => {
    const caller = house.caller()
    const hold = house.gateway.hold('pop')
    await caller.send('orders', 'hello')
    const polled = house.gateway.next('pop')
    const stream = caller.stream('ReceiveMessage', asking('orders', 'g'))
    stream.on('error', () => undefined)
    await polled
    await until(() => hold.waiting === 1)
    const settled = house.gateway.next('settle')
    stream.cancel()
    // Behind it on the same connection.
    await caller.call('Heartbeat', { client_type: 'PRODUCER' })
    hold.release()
    expect((await settled).outcome).toEqual({ kind: 'retry', after: 0, counts: false })
    expect((await firstMessage(house.caller('other'))).system_properties.delivery_attempt).toBe(1)
  })

  it('wakes nobody when it goes away while nothing is there', async () => {
    const caller = house.caller()
    const polled = house.gateway.next('pop')
    const stream = caller.stream('ReceiveMessage', asking('orders', 'g'))
    stream.on('error', () => undefined)
    await polled
    await until(() => house.gateway.parked === 1)
    stream.cancel()
    await until(() => house.gateway.parked === 0)
    expect(house.gateway.of('settle')).toEqual([])
  })
})

describe('telemetry', () => {
  it('answers settings at once and completely, each time, even under a deadline of 60 years', async () => {
    const stream = house.caller().telemetry('31535999M')
    for (let turn = 0; turn < 2; turn++) {
      stream.write(settings('g', 'orders'))
      const reply: Reply = await new Promise((resolve, reject) => stream.once('data', resolve).once('error', reject))
      expect(reply.status.code).toBe(20000)
      expect(reply.settings.subscription).toMatchObject({ receive_batch_size: 32, fifo: false })
      expect(reply.settings.backoff_policy.max_attempts).toBeGreaterThan(0)
    }
    const [first, second] = house.gateway.of('heartbeat')
    expect(first!.member.consumes[0]).toMatchObject({ group: 'g', topics: [{ topic: 'orders', version: 1 }] })
    expect(second!.member.consumes[0]).toMatchObject({ topics: [{ version: 2 }] })
    stream.end()
    await new Promise((resolve) => stream.once('end', resolve))
  })

  it('says settings again to the Node client, which may have missed them', async () => {
    const stream = house.caller().telemetry()
    const { settings: asked } = settings('g', 'orders')
    const replies: Reply[] = []
    stream.on('data', (reply) => replies.push(reply))
    stream.write({ settings: { ...asked, user_agent: { language: 'NODE_JS' } } })
    await until(() => replies.length === 2)
    expect(replies[1]).toEqual(replies[0])
    stream.end()
  })

  it('sends headers before anything was said', async () => {
    const stream = house.caller().telemetry()
    await new Promise((resolve) => stream.once('metadata', resolve))
    stream.cancel()
    stream.on('error', () => undefined)
  })

  it('lets a client start while the broker is away, but not one that may not', async () => {
    const ask = async (fault: Fault): Promise<Reply> => {
      house.gateway.failNext('heartbeat', fault)
      const stream = house.caller().telemetry()
      stream.write(settings('g', 'orders'))
      return new Promise((resolve, reject) => stream.once('data', resolve).once('error', reject))
    }
    expect((await ask(new Fault('unavailable', 'away'))).settings.subscription.receive_batch_size).toBe(32)
    const refused = await ask(new Fault('forbidden', 'not you'))
    expect([refused.status.code, refused.settings]).toEqual([40100, undefined])
  })

  it('remembers settings for the heartbeats that follow', async () => {
    const caller = house.caller()
    const stream = caller.telemetry()
    stream.write(settings('g', 'orders'))
    await new Promise((resolve) => stream.once('data', resolve))
    await caller.call('Heartbeat', { client_type: 'SIMPLE_CONSUMER', group: { name: 'g' } })
    expect(house.gateway.of('heartbeat')[1]!.member.consumes[0]!.topics.length).toBe(1)
    stream.end()
  })
})

describe('clients', () => {
  it('are one session over all their connections, until they say good-bye', async () => {
    const [one, two] = [house.caller('same'), house.caller('same')]
    await Promise.all([one, two].map((caller) => caller.call('Heartbeat', { client_type: 'PRODUCER' })))
    expect([...house.server.connections()].length).toBe(2)
    expect(house.gateway.sessions.size).toBe(1)
    expect((await one.call('NotifyClientTermination', {})).status.code).toBe(20000)
    expect(house.gateway.sessions.size).toBe(0)
  })

  it('need an id', async () => {
    expect((await house.caller('').call('QueryRoute', { topic: { name: 'orders' } })).status.code).toBe(40017)
  })
})

describe('signatures', () => {
  it('are checked on each request, and not of the session but of the request', async () => {
    await house.close()
    house = await House.open({ autoCreate: false, topics: ['orders'], users: { AK: 'secret' } })
    const date = '20261124T061500Z'
    const sign = (secret: string) =>
      `MQv2-HMAC-SHA1 Credential=AK, SignedHeaders=x-mq-date-time, Signature=${createHmac('sha1', secret).update(date).digest('hex')}`
    const caller = house.caller()
    caller.metadata.set('x-mq-date-time', date)
    expect((await caller.send('orders', 'x')).status.code).toBe(40100)
    caller.metadata.set('authorization', sign('wrong'))
    expect((await caller.send('orders', 'x')).status.code).toBe(40100)
    const stream = caller.telemetry()
    const reply: Reply = await new Promise((resolve) => stream.once('data', resolve))
    expect([reply.status.code, reply.settings]).toEqual([40100, undefined])
    await new Promise((resolve) => stream.once('end', resolve))
    caller.metadata.set('authorization', sign('secret'))
    expect((await caller.send('orders', 'x')).status.code).toBe(20000)
    expect(house.gateway.commands.at(-1)?.context.principal.name).toBe('AK')
  })
})

const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}
