import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { SCRAM_SHA_256, scramKeys, verifyScram } from '@sluice/governance'
import mqttProtocol from '@sluice/protocol-mqtt'
import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

let gateway: RunningGateway
const clients: MqttClient[] = []

beforeAll(async () => {
  gateway = await startGateway({ protocols: [mqttProtocol()] })
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)))
})
afterAll(() => gateway?.close())

interface Received {
  readonly topic: string
  readonly text: string
  readonly packet: IPublishPacket
}
interface Client {
  readonly mqtt: MqttClient
  readonly received: readonly Received[]
  /** Of the last CONNACK. */
  readonly resumed: () => boolean
}

let ids = 0
/** MQTT.js, with everything it is given from its first moment on. */
const open = async (options: IClientOptions, port = gateway.port, scheme = 'mqtt'): Promise<Client> => {
  const mqtt = connect(`${scheme}://127.0.0.1:${port}`, { reconnectPeriod: 0, clientId: `e2e-${++ids}`, ...options })
  clients.push(mqtt)
  const received: Received[] = []
  let connack: IConnackPacket | undefined
  mqtt.on('message', (topic, payload, packet) => received.push({ topic, text: payload.toString(), packet }))
  mqtt.on('connect', (packet) => (connack = packet))
  await new Promise((resolve, reject) => mqtt.once('connect', resolve).once('error', reject))
  return { mqtt, received, resumed: () => connack?.sessionPresent === true }
}
const texts = ({ received }: Client) => received.map(({ text }) => text)
const until = async (so: () => boolean): Promise<void> => {
  for (const end = Date.now() + 8_000; !so(); ) {
    if (Date.now() > end) throw new Error('it did not come')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
const upTo = (count: number) => Array.from({ length: count }, (_, n) => String(n))

for (const protocolVersion of [4, 5] as const) {
  const five = protocolVersion === 5
  /** A session that stays. */
  const kept: IClientOptions = {
    protocolVersion,
    clean: false,
    ...(five && { properties: { sessionExpiryInterval: 600 } }),
  }

  describe(`MQTT.js, version ${protocolVersion}, over the broker`, () => {
    it.each([0, 1, 2] as const)('publishes and receives with QoS %i, in order', async (qos) => {
      const subscriber = await open({ protocolVersion })
      await subscriber.mqtt.subscribeAsync(`order-${protocolVersion}/${qos}`, { qos })
      const publisher = await open({ protocolVersion })
      const bodies = upTo(200)
      await Promise.all(
        bodies.map((text) => publisher.mqtt.publishAsync(`order-${protocolVersion}/${qos}`, text, { qos })),
      )
      await until(() => subscriber.received.length >= 200)
      expect(texts(subscriber)).toEqual(bodies)
      expect(new Set(subscriber.received.map(({ packet }) => packet.qos))).toEqual(new Set([qos]))
    })

    it('takes as many at once as a client likes to send, without its counting them', async () => {
      const { mqtt } = await open({ protocolVersion })
      await Promise.all(upTo(5_000).map((text) => mqtt.publishAsync(`flood-${protocolVersion}`, text, { qos: 1 })))
    })

    it('loses nothing as a subscriber of QoS 0 begins to ask for more', async () => {
      const subscriber = await open({ protocolVersion })
      const topic = `more-${protocolVersion}`
      await subscriber.mqtt.subscribeAsync(`${topic}/0`, { qos: 0 })
      const publisher = await open({ protocolVersion })
      const sent = upTo(300).map((text) => publisher.mqtt.publishAsync(`${topic}/0`, text, { qos: 1 }))
      await until(() => subscriber.received.length > 20)
      await subscriber.mqtt.subscribeAsync(`${topic}/1`, { qos: 1 })
      await Promise.all(sent)
      await publisher.mqtt.publishAsync(`${topic}/1`, 'end', { qos: 1 })
      await until(() => texts(subscriber).includes('end'))
      expect(texts(subscriber)).toEqual([...upTo(300), 'end'])
      expect(subscriber.received.at(-1)?.packet.qos).toBe(1)
    })

    it('delivers with the smaller QoS', async () => {
      const subscriber = await open({ protocolVersion })
      const topic = `smaller-${protocolVersion}`
      await subscriber.mqtt.subscribeAsync({ [`${topic}/low`]: { qos: 0 }, [`${topic}/high`]: { qos: 2 } })
      await subscriber.mqtt.publishAsync(`${topic}/low`, 'x', { qos: 2 })
      await subscriber.mqtt.publishAsync(`${topic}/high`, 'x', { qos: 1 })
      await until(() => subscriber.received.length === 2)
      expect(subscriber.received.map(({ packet }) => packet.qos).sort()).toEqual([0, 1])
    })

    it('matches wildcards, whatever the first level', async () => {
      const subscriber = await open({ protocolVersion })
      const name = `w${protocolVersion}`
      await subscriber.mqtt.subscribeAsync([`${name}/+/temp`, `/${name}/#`, `$${name}/x`, `+/${name}/one`], { qos: 1 })
      const publisher = await open({ protocolVersion })
      const topics = [
        `${name}/a/temp`,
        `${name}/a/b/temp`,
        `/${name}`,
        `/${name}/deep/er`,
        `$${name}/x`,
        `$${name}/y`,
        `ä ${name}.é/${name}/one`,
        `$x/${name}/one`,
      ]
      for (const topic of topics) await publisher.mqtt.publishAsync(topic, topic, { qos: 1 })
      await publisher.mqtt.publishAsync(`${name}/last/temp`, 'last', { qos: 1 })
      await until(() => texts(subscriber).includes('last'))
      expect(subscriber.received.map(({ topic }) => topic)).toEqual([
        `${name}/a/temp`,
        `/${name}`,
        `/${name}/deep/er`,
        `$${name}/x`,
        `ä ${name}.é/${name}/one`,
        `${name}/last/temp`,
      ])
    })

    it('keeps a session and what comes while its client is away', async () => {
      const clientId = `away-${protocolVersion}`
      const topic = `away-${protocolVersion}/x`
      const first = await open({ ...kept, clientId })
      expect(first.resumed()).toBe(false)
      await first.mqtt.subscribeAsync(topic, { qos: 1 })
      await first.mqtt.endAsync()
      const publisher = await open({ protocolVersion })
      const bodies = upTo(50)
      for (const text of bodies) await publisher.mqtt.publishAsync(topic, text, { qos: 1 })
      const second = await open({ ...kept, clientId })
      expect(second.resumed()).toBe(true)
      await until(() => second.received.length >= 50)
      expect(texts(second)).toEqual(bodies)
      await second.mqtt.endAsync()
      const fresh = await open({ protocolVersion, clientId, clean: true })
      expect(fresh.resumed()).toBe(false)
    })

    it('takes a client id over from an older connection', async () => {
      const clientId = `twice-${protocolVersion}`
      const older = await open({ ...kept, clientId })
      const closed = new Promise((resolve) => older.mqtt.once('close', () => resolve(undefined)))
      let reason: number | undefined
      older.mqtt.on('disconnect', (packet) => (reason = packet.reasonCode))
      const newer = await open({ ...kept, clientId })
      await closed
      expect(reason).toBe(five ? 0x8e : undefined)
      expect(newer.resumed()).toBe(true)
      await newer.mqtt.publishAsync(`twice-${protocolVersion}`, 'x', { qos: 1 })
    })

    it('keeps what is retained for those who come later', async () => {
      const topic = `retained-${protocolVersion}/x`
      const publisher = await open({ protocolVersion })
      await publisher.mqtt.publishAsync(topic, 'kept', { qos: 1, retain: true })
      const late = await open({ protocolVersion })
      await late.mqtt.subscribeAsync(`retained-${protocolVersion}/#`, { qos: 1 })
      await until(() => late.received.length === 1)
      expect(late.received[0]).toMatchObject({ text: 'kept', packet: { retain: true } })
      await publisher.mqtt.publishAsync(topic, 'live', { qos: 1, retain: true })
      await until(() => late.received.length === 2)
      expect(late.received[1]).toMatchObject({ text: 'live', packet: { retain: false } })
      await publisher.mqtt.publishAsync(topic, '', { qos: 1, retain: true })
      await until(() => late.received.length === 3)
      const later = await open({ protocolVersion })
      await later.mqtt.subscribeAsync(topic, { qos: 1 })
      await publisher.mqtt.publishAsync(topic, 'end', { qos: 1 })
      await until(() => texts(later).includes('end'))
      expect(texts(later)).toEqual(['end'])
    })

    it('tells the will of a client that is lost, not of one that says goodbye', async () => {
      const topic = `will-${protocolVersion}`
      const watcher = await open({ protocolVersion })
      await watcher.mqtt.subscribeAsync(topic, { qos: 1 })
      const will = (text: string) => ({ topic, payload: Buffer.from(text), qos: 1 as const, retain: false })
      const polite = await open({ protocolVersion, will: will('polite') })
      await polite.mqtt.endAsync()
      const lost = await open({ protocolVersion, will: will('lost') })
      lost.mqtt.stream.destroy()
      await until(() => watcher.received.length > 0)
      expect(texts(watcher)).toEqual(['lost'])
    })

    it('ends a client that is silent for one and a half times its keep alive', async () => {
      const socket = net.connect({ host: '127.0.0.1', port: gateway.port })
      const bytes: Buffer[] = []
      socket.on('data', (chunk: Buffer) => bytes.push(chunk))
      const body = `00044d515454 0${protocolVersion} 02 0001 ${five ? '00' : ''} 0006 73696c656e${protocolVersion + 30}`
      const connectPacket = Buffer.from(body.replace(/ /g, ''), 'hex')
      socket.write(Buffer.concat([Buffer.of(0x10, connectPacket.length), connectPacket]))
      const began = Date.now()
      await once(socket, 'end')
      socket.end()
      expect(Date.now() - began).toBeGreaterThanOrEqual(1_400)
      const answer = Buffer.concat(bytes).toString('hex')
      expect(answer).toMatch(five ? /^20.*e0..8d/ : /^20020000$/)
    })
  })
}

describe('MQTT.js, version 5, over the broker', () => {
  const protocolVersion = 5
  it('carries every property to a subscriber', async () => {
    const subscriber = await open({ protocolVersion })
    await subscriber.mqtt.subscribeAsync('properties/#', {
      qos: 1,
      properties: { subscriptionIdentifier: 42 },
    } as never)
    const properties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      contentType: 'text/plain',
      responseTopic: '/answers/1',
      correlationData: Buffer.from([0, 1, 254, 255]),
      userProperties: { color: ['red', 'blue'], empty: '', TAGS: 'x', 'x-mq-tag': 'urgent' },
    }
    await subscriber.mqtt.publishAsync('properties/x', 'ü', { qos: 2, properties })
    await until(() => subscriber.received.length === 1)
    const [{ packet }] = subscriber.received as [Received]
    expect(packet.properties).toMatchObject({
      ...properties,
      messageExpiryInterval: expect.any(Number),
      subscriptionIdentifier: 42,
      userProperties: expect.anything(),
    })
    expect({ ...packet.properties?.userProperties }).toEqual(properties.userProperties)
  })

  it('asks and answers', async () => {
    const server = await open({ protocolVersion })
    server.mqtt.on('message', (_topic, payload, { properties }) => {
      const { responseTopic, correlationData } = properties!
      server.mqtt.publish(responseTopic!, `re: ${payload}`, {
        qos: 1,
        properties: { correlationData: correlationData! },
      })
    })
    await server.mqtt.subscribeAsync('questions', { qos: 1 })
    const client = await open({ protocolVersion })
    await client.mqtt.subscribeAsync('answers/me', { qos: 1 })
    const properties = { responseTopic: 'answers/me', correlationData: Buffer.from('q1') }
    await client.mqtt.publishAsync('questions', 'why', { qos: 1, properties })
    await until(() => client.received.length === 1)
    expect(client.received[0]).toMatchObject({
      text: 're: why',
      packet: { properties: { correlationData: Buffer.from('q1') } },
    })
  })

  it('shares a subscription', async () => {
    const one = await open({ protocolVersion })
    const two = await open({ protocolVersion: 4 })
    for (const { mqtt } of [one, two]) await mqtt.subscribeAsync('$share/crew/jobs/#', { qos: 1 })
    const all = await open({ protocolVersion })
    await all.mqtt.subscribeAsync('jobs/#', { qos: 1 })
    const publisher = await open({ protocolVersion })
    await Promise.all(upTo(100).map((text) => publisher.mqtt.publishAsync('jobs/x', text, { qos: 1 })))
    await until(() => all.received.length === 100 && one.received.length + two.received.length >= 100)
    expect([...texts(one), ...texts(two)].sort()).toEqual(upTo(100).sort())
    expect(Math.min(one.received.length, two.received.length)).toBeGreaterThan(0)
  })

  it('is sent aliases, if it takes them', async () => {
    const subscriber = await open({ protocolVersion, properties: { topicAliasMaximum: 1 } })
    const seen: unknown[] = []
    subscriber.mqtt.on('packetreceive', (packet) => {
      if (packet.cmd === 'publish') seen.push([packet.topic, packet.properties?.topicAlias])
    })
    await subscriber.mqtt.subscribeAsync('alias/#', { qos: 2 })
    for (const [topic, qos] of [
      ['alias/a', 0],
      ['alias/a', 1],
      ['alias/b', 1],
      ['alias/a', 2],
    ] as const) {
      await subscriber.mqtt.publishAsync(topic, topic, { qos })
    }
    await until(() => subscriber.received.length === 4)
    expect(subscriber.received.map(({ topic, text }) => topic === text)).toEqual([true, true, true, true])
    expect(seen).toEqual([
      ['alias/a', 1],
      ['', 1],
      ['alias/b', undefined],
      ['alias/a', 1],
    ])
  })

  it('is told which filters it had, also after it was away', async () => {
    const kept = { protocolVersion, clean: false, clientId: 'unsubscribes', properties: { sessionExpiryInterval: 60 } }
    const first = await open(kept as IClientOptions)
    await first.mqtt.subscribeAsync(['had/a', 'had/b'], { qos: 1 })
    await first.mqtt.endAsync()
    const again = await open(kept as IClientOptions)
    const codes = new Promise((resolve) => {
      again.mqtt.on('packetreceive', (packet) => {
        if (packet.cmd === 'unsuback') resolve((packet as unknown as { granted: number[] }).granted)
      })
    })
    await again.mqtt.unsubscribeAsync(['had/a', 'never', 'had/b'])
    expect(await codes).toEqual([0, 0x11, 0])
    await again.mqtt.publishAsync('had/a', 'x', { qos: 1 })
    expect(again.received).toEqual([])
  })

  it('has a will that lives from when it is told', async () => {
    const watcher = await open({ protocolVersion })
    await watcher.mqtt.subscribeAsync('wills/expiry', { qos: 1 })
    const properties = { messageExpiryInterval: 1 }
    const will = { topic: 'wills/expiry', payload: Buffer.from('gone'), qos: 1 as const, retain: false, properties }
    const lost = await open({ protocolVersion, will })
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    lost.mqtt.stream.destroy()
    await until(() => watcher.received.length === 1)
    expect(watcher.received[0]?.packet.properties?.messageExpiryInterval).toBe(1)
  })

  it('is told the fate of each publish and filter', async () => {
    const client = await open({ protocolVersion })
    await expect(client.mqtt.publishAsync('a/'.repeat(200), 'x', { qos: 1 })).rejects.toThrow(/Topic Name invalid/)
    expect((await client.mqtt.subscribeAsync('good', { qos: 1 }))[0]?.qos).toBe(1)
    await expect(client.mqtt.subscribeAsync('$share/x', { qos: 1 })).rejects.toThrow(/Topic Filter invalid/)
  })

  it('comes back after a lost connection: QoS 2 neither lost nor twice', async () => {
    const subscriber = await open({ protocolVersion })
    await subscriber.mqtt.subscribeAsync('exactly', { qos: 2 })
    const publisher = await open({
      protocolVersion,
      clean: false,
      reconnectPeriod: 20,
      properties: { sessionExpiryInterval: 600 },
    })
    const bodies = upTo(150)
    const sent = bodies.map(async (text, n) => {
      if (n % 50 === 25) setImmediate(() => publisher.mqtt.stream.destroy())
      await publisher.mqtt.publishAsync('exactly', text, { qos: 2 })
    })
    await Promise.all(sent)
    await until(() => subscriber.received.length >= 150)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(texts(subscriber).sort()).toEqual([...bodies].sort())
  })
})

describe('MQTT.js over a WebSocket', () => {
  let both: RunningGateway
  beforeAll(async () => {
    both = await startGateway({ protocols: ['http', mqttProtocol()] })
  })
  afterAll(() => both?.close())

  it.each([4, 5] as const)('publishes and receives as over TCP, version %i', async (protocolVersion) => {
    const topic = `web-${protocolVersion}/x`
    const browser = await open({ protocolVersion }, both.port, 'ws')
    const device = await open({ protocolVersion }, both.port)
    for (const { mqtt } of [browser, device]) await mqtt.subscribeAsync(topic, { qos: 2 })
    await browser.mqtt.publishAsync(topic, 'x'.repeat(200_000), { qos: 2 })
    for (const text of upTo(100)) await browser.mqtt.publishAsync(topic, text, { qos: 2 })
    await until(() => browser.received.length === 101 && device.received.length === 101)
    expect(texts(browser)).toEqual(texts(device))
    expect(texts(device).slice(1)).toEqual(upTo(100))
  })

  it('finds its session again', async () => {
    const kept = { protocolVersion: 4, clean: false, clientId: 'web-kept' } as const
    const first = await open(kept, both.port, 'ws')
    await first.mqtt.subscribeAsync('web-kept', { qos: 1 })
    await first.mqtt.endAsync()
    const device = await open({}, both.port)
    await device.mqtt.publishAsync('web-kept', 'late', { qos: 1 })
    const second = await open(kept, both.port, 'ws')
    expect(second.resumed()).toBe(true)
    await until(() => second.received.length === 1)
  })
})

describe('what a process may turn on', () => {
  it('lets clients in by SCRAM-SHA-256, and proves itself to them', async () => {
    const users = new Map([['ann', scramKeys('pencil')]])
    const guarded = await startGateway({
      protocols: [mqttProtocol({ authenticationMethods: [SCRAM_SHA_256] })],
      async authenticate(who) {
        if (who.mechanism !== SCRAM_SHA_256) throw new Fault('unauthenticated', 'SCRAM only')
        return { name: await verifyScram(who, (user) => users.get(user)), tenant: '', super: false }
      },
    })
    const login = async (password: string): Promise<Buffer | undefined> => {
      const bare = 'n=ann,r=abcdefgh'
      const method = { authenticationMethod: SCRAM_SHA_256 }
      const client = connect(`mqtt://127.0.0.1:${guarded.port}`, {
        protocolVersion: 5,
        reconnectPeriod: 0,
        properties: { ...method, authenticationData: Buffer.from(`n,,${bare}`) },
      })
      clients.push(client)
      client.handleAuth = ({ properties }, answer) => {
        const challenge = String(properties?.authenticationData)
        const [, nonce, salt, times] = /^r=(.+),s=(.+),i=(.+)$/.exec(challenge)!
        const salted = pbkdf2Sync(password, Buffer.from(salt!, 'base64'), Number(times), 32, 'sha256')
        const key = createHmac('sha256', salted).update('Client Key').digest()
        const signed = `${bare},${challenge},c=biws,r=${nonce}`
        const sign = createHmac('sha256', createHash('sha256').update(key).digest()).update(signed).digest()
        const proof = Buffer.from(key.map((byte, at) => byte ^ sign[at]!)).toString('base64')
        const authenticationData = Buffer.from(`c=biws,r=${nonce},p=${proof}`)
        answer(undefined, { cmd: 'auth', reasonCode: 0x18, properties: { ...method, authenticationData } })
      }
      const connack = await new Promise<IConnackPacket>((resolve, reject) => {
        client.once('connect', resolve).once('error', reject)
      })
      return connack.properties?.authenticationData
    }
    try {
      expect(String(await login('pencil'))).toMatch(/^v=[A-Za-z0-9+/]+=$/)
      await expect(login('guess')).rejects.toThrow(/Bad User Name or Password/i)
      await expect(open({ protocolVersion: 5 }, guarded.port)).rejects.toThrow(/Bad User Name or Password/i)
    } finally {
      await guarded.close()
    }
  })

  it('sends to one device alone', async () => {
    const apsara = await startGateway({ protocols: [mqttProtocol({ apsara: true })] })
    try {
      const device = { clientId: 'GID_pumps@@@1', clean: false, protocolVersion: 4 } as const
      const first = await open(device, apsara.port)
      await first.mqtt.endAsync()
      const sender = await open({ clientId: 'GID_pumps@@@2', protocolVersion: 5 }, apsara.port)
      await sender.mqtt.subscribeAsync('#', { qos: 1 })
      await sender.mqtt.publishAsync('parent/p2p/GID_pumps@@@1', 'to you', { qos: 2 })
      const again = await open(device, apsara.port)
      await until(() => again.received.length === 1)
      expect(again.received[0]).toMatchObject({ topic: 'parent/p2p/GID_pumps@@@1', text: 'to you', packet: { qos: 2 } })
      await expect(open({ clientId: 'pump', protocolVersion: 5 }, apsara.port)).rejects.toThrow(/Client Identifier/)
      expect(sender.received).toEqual([])
    } finally {
      await apsara.close()
    }
  })

  it('tells about itself under $SYS', async () => {
    const client = await open({ protocolVersion: 5 })
    await client.mqtt.subscribeAsync('$SYS/broker/#', { qos: 1 })
    await until(() => client.received.length === 5)
    expect(client.received.map(({ topic }) => topic)).toContain('$SYS/broker/clients/connected')
    const later = await open({ protocolVersion: 4 })
    await later.mqtt.subscribeAsync('$SYS/broker/uptime', { qos: 0 })
    await until(() => later.received.length === 1)
    expect(later.received[0]?.text).toMatch(/^\d+ seconds$/)
  })
})

describe('a drain', () => {
  it('ends clients in their version’s words, tells no wills, and keeps sessions for the next gateway', async () => {
    const data = mkdtempSync(join(tmpdir(), 'sluice-mqtt-'))
    const before = await startGateway({ protocols: [mqttProtocol()], data })
    const will = {
      topic: 'drained/wills',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: true,
      properties: { willDelayInterval: 60 },
    }
    const kept = { clean: false, properties: { sessionExpiryInterval: 600 } }
    const five = await open({ protocolVersion: 5, clientId: 'five', will, ...kept }, before.port)
    const four = await open({ protocolVersion: 4, clientId: 'four', clean: false }, before.port)
    const words: string[] = []
    five.mqtt.on('disconnect', ({ reasonCode }) => words.push(`five ${reasonCode}`))
    four.mqtt.on('disconnect', () => words.push('four'))
    for (const { mqtt } of [five, four]) mqtt.on('error', (error) => words.push(error.message))
    for (const { mqtt } of [five, four]) await mqtt.subscribeAsync('drained/#', { qos: 1 })
    const ended = [five, four].map(({ mqtt }) => new Promise((resolve) => mqtt.once('close', () => resolve(undefined))))
    const verdict = await before.drain({ leavingMs: 0, announceMs: 200, settleMs: 2_000 })
    await Promise.all(ended)
    expect(words).toEqual([`five ${0x8b}`])
    expect(verdict).toMatchObject({ clean: true, byProtocol: { mqtt: { told: 2, obeyed: 2, forced: 0 } } })

    const after = await startGateway({ protocols: [mqttProtocol()], data })
    try {
      const again = await open({ protocolVersion: 5, clientId: 'five', will, ...kept }, after.port)
      const old = await open({ protocolVersion: 4, clientId: 'four', clean: false }, after.port)
      expect([again.resumed(), old.resumed()]).toEqual([true, true])
      await old.mqtt.publishAsync('drained/x', 'live', { qos: 1 })
      await until(() => again.received.length > 0 && old.received.length > 0)
      expect([texts(again), texts(old)]).toEqual([['live'], ['live']])
      await Promise.all([again.mqtt.endAsync(), old.mqtt.endAsync()])
    } finally {
      await after.close()
      rmSync(data, { recursive: true, force: true })
    }
  })
})
