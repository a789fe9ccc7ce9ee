import { once } from 'node:events'
import { createRequire } from 'node:module'
import { Fault } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import rhea from 'rhea'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'

let gateway: RunningGateway
beforeAll(async () => {
  gateway = await startGateway({
    protocols: ['amqp', 'http'],
    backend: { embedded: { queues: 1, flush: 'async' } },
    authenticate: ({ mechanism, user, secret }) => {
      if (mechanism === 'PLAIN' && !(user === 'ann' && String(secret) === 'secret'))
        throw new Fault('unauthenticated', 'user or password is wrong')
      return { name: user ?? 'anonymous', tenant: '', super: true }
    },
  })
})
afterAll(() => gateway?.close())

let topics = 0
const newTopic = () => `amqp-e2e-${++topics}`

// ── rhea ──────────────────────────────────────────────────────────────────────────────────────────

const next = (emitter: unknown, event: string) =>
  once(emitter as NodeJS.EventEmitter, event).then(([context]) => context as rhea.EventContext)

const open: rhea.Connection[] = []
const connect = async (more: object = {}, port = gateway.port): Promise<rhea.Connection> => {
  const container = rhea.create_container()
  const connection = container.connect({ host: '127.0.0.1', port, reconnect: false, ...more } as rhea.ConnectionOptions)
  open.push(connection)
  // An error that nobody listens to would end this process.
  for (const event of ['connection_error', 'disconnected', 'error']) connection.on(event, () => undefined)
  await next(connection, 'connection_open')
  return connection
}
afterEach(async () => {
  for (const connection of open.splice(0)) {
    if (!connection.is_open()) continue
    const closed = next(connection, 'connection_close')
    connection.close()
    await closed
  }
})

/** Sends all and resolves with the outcomes in order. */
const sendAll = async (
  connection: rhea.Connection,
  target: rhea.SenderOptions | string,
  messages: readonly rhea.Message[],
): Promise<string[]> => {
  const sender = connection.open_sender(target)
  const outcomes: string[] = []
  const done = new Promise<void>((resolve) => {
    for (const outcome of ['accepted', 'released', 'rejected']) {
      sender.on(outcome, ({ delivery }: rhea.EventContext) => {
        const { error } = (delivery?.remote_state ?? {}) as { error?: { condition: string } }
        outcomes.push(error ? `${outcome} ${error.condition}` : outcome)
        if (outcomes.length === messages.length) resolve()
      })
    }
  })
  let sent = 0
  const pour = () => {
    while (sent < messages.length && sender.sendable()) sender.send(messages[sent++]!)
  }
  sender.on('sendable', pour)
  await done
  sender.close()
  return outcomes
}

const receive = (receiver: rhea.Receiver, count: number): Promise<rhea.EventContext[]> =>
  new Promise((resolve) => {
    const got: rhea.EventContext[] = []
    receiver.on('message', (context: rhea.EventContext) => {
      if (got.push({ ...context }) === count) resolve(got)
    })
  })
/** What a drain of so much credit brings. */
const left = async (connection: rhea.Connection, source: string, credit = 10): Promise<unknown[]> => {
  const receiver = connection.open_receiver({ source, credit_window: 0 }) as rhea.Receiver & { drain_credit(): void }
  const got: unknown[] = []
  receiver.on('message', ({ message }: rhea.EventContext) => got.push(message?.body))
  receiver.add_credit(credit)
  const drained = next(receiver, 'receiver_drained')
  receiver.drain_credit()
  await drained
  return got
}

/** rhea hands a data section over as an object with its bytes. */
const contentOf = ({ message }: rhea.EventContext) => (message!.body as { content: Buffer }).content
const bodies = (contexts: readonly rhea.EventContext[]) => contexts.map(({ message }) => message?.body)

describe('rhea', () => {
  it('sends and receives by credit, and what is accepted does not come again', async () => {
    const topic = newTopic()
    const connection = await connect({ username: 'ann', password: 'secret' })
    const messages = Array.from({ length: 600 }, (_, n) => ({ body: `m${n}` }))
    expect(new Set(await sendAll(connection, topic, messages))).toEqual(new Set(['accepted']))
    const receiver = connection.open_receiver({ source: `${topic}::g`, credit_window: 0 })
    const first = receive(receiver, 600)
    receiver.add_credit(600)
    expect(bodies(await first)).toEqual(messages.map(({ body }) => body))
    expect(await left(await connect(), `${topic}::g`)).toEqual([])
  })

  it('gets no more than its credit', async () => {
    const topic = newTopic()
    const connection = await connect()
    await sendAll(connection, topic, [{ body: 'a' }, { body: 'b' }, { body: 'c' }])
    expect(await left(connection, `${topic}::g`, 2)).toEqual(['a', 'b'])
  })

  it('has what it releases again, uncounted, and what it rejects no more', async () => {
    const topic = newTopic()
    const connection = await connect()
    await sendAll(connection, topic, [{ body: 'x' }])
    const receiver = connection.open_receiver({
      source: `/topics/${topic}/groups/g`,
      credit_window: 1,
      autoaccept: false,
    })
    const [first] = await receive(receiver, 1)
    expect(first!.message?.delivery_count).toBeFalsy()
    const again = receive(receiver, 1)
    first!.delivery?.release({ delivery_failed: false })
    const [second] = await again
    expect(second!.message?.delivery_count).toBeFalsy()
    second!.delivery?.reject({ condition: 'test:bad', description: 'no use' })
    receiver.close()
    expect(await left(connection, `/topics/${topic}/groups/g`)).toEqual([])
  })

  it('sends a message of 1 MiB in many frames and gets it in frames of its own size', async () => {
    const topic = newTopic()
    const body = Buffer.alloc(1024 * 1024, 'abcdefghijk')
    expect(await sendAll(await connect(), topic, [{ body: rhea.message.data_section(body) }])).toEqual(['accepted'])
    const small = await connect({ max_frame_size: 4096 })
    const [got] = await receive(small.open_receiver(`${topic}::g`), 1)
    expect(contentOf(got!).equals(body)).toBe(true)
  })

  it('has the types of its message back', async () => {
    const topic = newTopic()
    const connection = await connect()
    const { types } = rhea
    const sent = {
      message_id: 12345,
      correlation_id: types.wrap_string('c'),
      user_id: Buffer.from('me'),
      to: 'somewhere',
      subject: 'red',
      group_sequence: 7,
      message_annotations: { 'x-opt-mine': 'kept' },
      application_properties: { int: types.wrap_int(-5), long: types.wrap_long(-5), flag: true, text: 'x' },
      body: { list: [1, 'two', { three: 3 }], none: null },
    }
    await sendAll(connection, topic, [sent as unknown as rhea.Message])
    const [got] = await receive(connection.open_receiver(`${topic}::g`), 1)
    const { message } = got!
    expect(message).toMatchObject({
      message_id: 12345,
      user_id: Buffer.from('me'),
      to: 'somewhere',
      subject: 'red',
      group_sequence: 7,
      message_annotations: { 'x-opt-mine': 'kept' },
      application_properties: { int: -5, long: -5, flag: true, text: 'x' },
      body: { list: [1, 'two', { three: 3 }], none: null },
    })
  })

  it('gets what HTTP published, and HTTP what it published', async () => {
    const topic = newTopic()
    const connection = await connect()
    const url = `http://127.0.0.1:${gateway.port}/v1/topics/${topic}`
    const headers = { 'content-type': 'text/plain', 'x-mq-tag': 'red', 'x-mq-property-colour': 'blue' }
    expect((await fetch(`${url}/messages`, { method: 'POST', body: 'hello', headers })).status).toBe(201)
    const [got] = await receive(connection.open_receiver(`${topic}::g`), 1)
    expect(got!.message).toMatchObject({
      subject: 'red',
      content_type: 'text/plain',
      application_properties: { colour: 'blue' },
    })
    expect(String(contentOf(got!))).toBe('hello')
    const back = newTopic()
    const green = { subject: 'green', application_properties: { n: 3 }, body: { a: 1 } } as rhea.Message
    await sendAll(connection, back, [green])
    const pop = `http://127.0.0.1:${gateway.port}/v1/topics/${back}/groups/h/messages:receive`
    const answer = await fetch(pop, { method: 'POST', body: JSON.stringify({ waitMs: 5_000 }) })
    const { messages } = (await answer.json()) as { messages: object[] }
    expect(messages).toMatchObject([{ tag: 'green', properties: { n: '3' }, body: '{"a":1}' }])
  })

  it('speaks over a WebSocket', async () => {
    const topic = newTopic()
    const over = rhea.websocket_connect(WebSocket)
    const connection = await connect({
      connection_details: over(`ws://127.0.0.1:${gateway.port}/`, ['amqp'], {}),
      username: 'ann',
      password: 'secret',
    })
    expect(await sendAll(connection, topic, [{ body: 'hello' }])).toEqual(['accepted'])
    expect(bodies(await receive(connection.open_receiver(`${topic}::g`), 1))).toEqual(['hello'])
  })

  it('is told that a password is wrong', async () => {
    const container = rhea.create_container()
    const connection = container.connect({
      host: '127.0.0.1',
      port: gateway.port,
      reconnect: false,
      username: 'ann',
      password: 'no',
    } as rhea.ConnectionOptions)
    const context = await next(connection, 'connection_error')
    expect(context.connection.get_error()).toMatchObject({ condition: 'amqp:unauthorized-access' })
  })

  it('is told why a link is refused, and that a message cannot go anywhere', async () => {
    const connection = await connect()
    const receiver = connection.open_receiver({
      source: { address: newTopic(), filter: rhea.filter.selector('JMSPriority > 3') },
    })
    await next(receiver, 'receiver_error')
    expect(receiver.error).toMatchObject({ condition: 'amqp:not-implemented' })
    const sender = connection.open_sender({ target: { dynamic: true } } as rhea.SenderOptions)
    await next(sender, 'sender_error')
    expect(sender.error).toMatchObject({ condition: 'amqp:not-implemented' })
    expect(await sendAll(connection, { target: {} } as rhea.SenderOptions, [{ body: 'x', to: '' }])).toEqual([
      'rejected amqp:invalid-field',
    ])
  })

  it('filters by tags and by properties', async () => {
    const topic = newTopic()
    const connection = await connect()
    await sendAll(connection, topic, [
      { subject: 'red', body: 1, application_properties: { weight: 5 } },
      { subject: 'blue', body: 2, application_properties: { weight: 1 } },
      { subject: 'green', body: 3, application_properties: { weight: 3 } },
    ])
    const by = (group: string, text: string) => ({ address: `${topic}::${group}`, filter: rhea.filter.selector(text) })
    const tagged = connection.open_receiver({ source: by('g', "TAGS IN ('blue', 'green')") })
    expect(bodies(await receive(tagged, 2))).toEqual([2, 3])
    const heavy = connection.open_receiver({ source: by('h', "weight > 2 AND TAGS <> 'red'") })
    expect(bodies(await receive(heavy, 1))).toEqual([3])
  })

  it('sends to an address that each message names', async () => {
    const topic = newTopic()
    const connection = await connect()
    expect(
      await sendAll(connection, { target: {} } as rhea.SenderOptions, [{ to: `/topics/${topic}/red`, body: 'x' }]),
    ).toEqual(['accepted'])
    const [got] = await receive(connection.open_receiver(`${topic}::g`), 1)
    expect(got!.message).toMatchObject({ to: `/topics/${topic}/red`, body: 'x' })
  })
})

// ── amqp10 ────────────────────────────────────────────────────────────────────────────────────────

interface Amqp10Link extends NodeJS.EventEmitter {
  send(message: unknown, options?: object): Promise<{ toString(): string }>
  accept(message: unknown): void
  release(message: unknown): void
  detach(): Promise<void>
}
interface Amqp10Message {
  readonly body: unknown
  readonly properties: Readonly<Record<string, unknown>>
  readonly applicationProperties: object
}
interface Amqp10Client extends NodeJS.EventEmitter {
  connect(url: string, policy?: object): Promise<unknown>
  createSender(address: string, policy?: object): Promise<Amqp10Link>
  createReceiver(address: string, policy?: object): Promise<Amqp10Link>
  disconnect(): Promise<void>
}
const amqp10 = createRequire(import.meta.url)('amqp10') as {
  Client: new (policy?: object) => Amqp10Client
  Policy: { merge(policy: object, base: object): object; Default: object }
  Constants: { receiverSettleMode: { autoSettle: number; settleOnDisposition: number } }
}

describe('amqp10', () => {
  const clients: Amqp10Client[] = []
  const connect10 = async (auth = ''): Promise<Amqp10Client> => {
    const client = new amqp10.Client()
    client.on('client:errorReceived', () => undefined)
    clients.push(client)
    await client.connect(`amqp://${auth}127.0.0.1:${gateway.port}`)
    return client
  }
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.disconnect().catch(() => undefined)
  })
  const messages = (receiver: Amqp10Link, count: number) =>
    new Promise<Amqp10Message[]>((resolve) => {
      const got: Amqp10Message[] = []
      receiver.on('message', (message: Amqp10Message) => {
        if (got.push(message) === count) resolve(got)
      })
    })

  it('sends and receives, with a password and without', async () => {
    for (const auth of ['', 'ann:secret@']) {
      const topic = newTopic()
      const client = await connect10(auth)
      const receiver = await client.createReceiver(`${topic}::g`)
      const got = messages(receiver, 2)
      const sender = await client.createSender(topic)
      await sender.send({
        properties: { subject: 'red', messageId: 'id-1' },
        applicationProperties: { a: 'b' },
        body: 'hello',
      })
      await sender.send({ body: { list: [1, 2] } })
      const [first, second] = await got
      expect(first).toMatchObject({
        body: 'hello',
        properties: { subject: 'red', messageId: 'id-1' },
        applicationProperties: { a: 'b' },
      })
      expect(second).toMatchObject({ body: { list: [1, 2] } })
    }
  })

  it('has what it releases again', async () => {
    const topic = newTopic()
    const client = await connect10()
    const policy = {
      attach: { receiverSettleMode: amqp10.Constants.receiverSettleMode.settleOnDisposition },
      credit: (link: { addCredits(n: number): void; linkCredit: number }) => link.linkCredit < 1 && link.addCredits(1),
    }
    const receiver = await client.createReceiver(`${topic}::g`, policy)
    let times = 0
    const done = new Promise<void>((resolve) => {
      receiver.on('message', (message: { body: string }) => {
        if (++times < 3) return receiver.release(message)
        receiver.accept(message)
        resolve()
      })
    })
    await (await client.createSender(topic)).send({ body: 'again' })
    await done
    expect(times).toBe(3)
  })

  it('sends 1 MiB and gets it back', async () => {
    const topic = newTopic()
    const client = await connect10()
    const body = Buffer.alloc(1024 * 1024, 'xyz')
    const got = messages(await client.createReceiver(`${topic}::g`), 1)
    await (await client.createSender(topic)).send({ body })
    expect(Buffer.compare((await got)[0]!.body as Buffer, body)).toBe(0)
  })

  it('is refused with a wrong password', async () => {
    const policy = amqp10.Policy.merge({ reconnect: { retries: 0, forever: false } }, amqp10.Policy.Default)
    const client = new amqp10.Client(policy)
    client.on('client:errorReceived', () => undefined)
    await expect(client.connect(`amqp://ann:no@127.0.0.1:${gateway.port}`)).rejects.toThrow()
  })
})

// ── The end ───────────────────────────────────────────────────────────────────────────────────────

describe('a drain', () => {
  it('ends a connection once its work is done, as forced, and with no other error', async () => {
    const own = await startGateway({ protocols: ['amqp'], backend: { embedded: { queues: 1, flush: 'async' } } })
    const connection = await connect({}, own.port)
    const receiver = connection.open_receiver({ source: 't::g', credit_window: 10, autoaccept: false })
    const errors: string[] = []
    for (const event of ['receiver_error', 'session_error']) connection.on(event, () => errors.push(event))
    const first = receive(receiver, 1)
    await sendAll(connection, 't', [{ body: 'a' }])
    const [held] = await first
    const closed = next(connection, 'connection_error')
    const draining = own.drain({ leavingMs: 0, announceMs: 200, settleMs: 1_000 })
    setTimeout(() => held!.delivery?.accept(), 50)
    await closed
    expect(connection.error).toMatchObject({ condition: 'amqp:connection:forced', description: 'draining' })
    expect(errors).toEqual([])
    const { byProtocol } = await draining
    expect(byProtocol.amqp).toMatchObject({ forced: 0 })
  })
})
