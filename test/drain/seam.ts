import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Verdict } from '@sluice/drain'
import { connectAsync, type MqttClient } from 'mqtt'
import rhea from 'rhea'
import { type SluiceProcess, startSluice } from '../run/process.ts'
import { Checks, type Suite } from '../run/suites.ts'

/** Whose deliveries stay without an answer, and who does not read. */
interface Scenario {
  readonly name: string
  /** Messages that the AMQP client holds, of which it accepts so many once the drain has begun. */
  readonly amqpHeld: number
  readonly amqpSettlesLate: boolean
  readonly mqttHeld: number
  readonly pollers: number
  readonly deafClients: number
}

/** What the clients themselves counted. */
interface Counted {
  readonly amqpUnsettled: number
  readonly mqttUnsettled: number
  readonly emptyPolls: number
  readonly farewells: { readonly amqp: string; readonly mqtt: number | undefined }
}

const scenarios: readonly Scenario[] = [
  {
    name: 'three unsettled, a poll, a deaf client',
    amqpHeld: 2,
    amqpSettlesLate: false,
    mqttHeld: 1,
    pollers: 1,
    deafClients: 1,
  },
  {
    name: 'all settled in time, two polls',
    amqpHeld: 2,
    amqpSettlesLate: true,
    mqttHeld: 0,
    pollers: 2,
    deafClients: 0,
  },
]

const suite: Suite = async () => {
  const checks = new Checks()
  for (const scenario of scenarios) {
    await checks.check(`drain: ${scenario.name}: the verdict is what the clients counted`, () => play(scenario))
  }
  await checks.check('drain: without connections it is over when the load balancer has looked away', empty)
  await checks.check('drain: a second SIGTERM hurries', hurried)
  return checks.counts
}

export default suite

const windows = ['drain.leavingMs=1000', 'drain.announceMs=1000', 'drain.settleMs=4000']

const withSluice = async (set: readonly string[], run: (sluice: SluiceProcess) => Promise<void>): Promise<void> => {
  const data = mkdtempSync(join(tmpdir(), 'sluice-drain-'))
  const sluice = await startSluice({ data, set })
  try {
    await run(sluice)
  } finally {
    sluice.kill('SIGKILL')
    await sluice.exited
    rmSync(data, { recursive: true, force: true })
  }
}

const play = (scenario: Scenario): Promise<void> =>
  withSluice(windows, async (sluice) => {
    const clients = await connectAll(sluice, scenario)
    sluice.kill('SIGTERM')
    await sluice.line('drain')
    assert.equal((await fetch(`http://127.0.0.1:${sluice.adminPort}/readyz`)).status, 503)
    assert.equal((await fetch(`http://127.0.0.1:${sluice.adminPort}/livez`)).status, 200)
    if (scenario.amqpSettlesLate) clients.settleAmqp()
    const verdict = (await sluice.line('drained')) as unknown as Verdict
    const code = await sluice.exited
    const counted = await clients.counted()
    assertVerdict(scenario, verdict, counted)
    assert.equal(code, verdict.clean ? 0 : 1)
  })

const assertVerdict = (scenario: Scenario, { byProtocol, clean }: Verdict, counted: Counted): void => {
  const deaf = scenario.deafClients
  const held = (unsettled: number) => (unsettled > 0 ? 1 : 0)
  const expected = {
    amqp: tally(1, held(counted.amqpUnsettled), counted.amqpUnsettled, counted.amqpUnsettled),
    mqtt: tally(1, held(counted.mqttUnsettled), counted.mqttUnsettled, counted.mqttUnsettled),
    http: tally(scenario.pollers, 0, 0, 0),
    remoting: tally(deaf, deaf, deaf, 0),
    grpc: tally(0, 0, 0, 0),
  }
  assert.deepEqual(byProtocol, expected)
  assert.equal(clean, counted.amqpUnsettled + counted.mqttUnsettled + deaf === 0)
  assert.equal(counted.emptyPolls, scenario.pollers)
  assert.equal(counted.farewells.amqp, 'amqp:connection:forced')
  // MQTT.js works on one packet after another: behind one whose handler does not end, it sees no DISCONNECT.
  assert.equal(counted.farewells.mqtt, scenario.mqttHeld > 0 ? undefined : 0x8b)
}

const tally = (told: number, forced: number, inflightAtClose: number, returned: number) => ({
  told,
  obeyed: told - forced,
  forced,
  inflightAtClose,
  returned,
})

const connectAll = async (sluice: SluiceProcess, scenario: Scenario) => {
  const amqp = await holdAmqp(sluice, scenario.amqpHeld)
  const mqtt = await holdMqtt(sluice, scenario.mqttHeld)
  const polls = Array.from({ length: scenario.pollers }, () => poll(sluice))
  for (let n = 0; n < scenario.deafClients; n++) await deafClient(sluice)
  await parked(sluice, scenario.pollers)
  return {
    settleAmqp: amqp.settle,
    async counted(): Promise<Counted> {
      const answers = await Promise.all(polls)
      return {
        amqpUnsettled: amqp.unsettled(),
        mqttUnsettled: mqtt.unsettled(),
        emptyPolls: answers.filter((messages) => messages.length === 0).length,
        farewells: { amqp: await amqp.farewell, mqtt: await mqtt.farewell },
      }
    },
  }
}

const publish = async (sluice: SluiceProcess, topic: string, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) {
    const url = `http://127.0.0.1:${sluice.port}/v1/topics/${topic}/messages`
    const headers = { connection: 'close' }
    assert.equal((await fetch(url, { method: 'POST', body: `message ${n}`, headers })).status, 201)
  }
}

/** An AMQP client that has taken messages and said nothing about them yet. */
const holdAmqp = async (sluice: SluiceProcess, count: number) => {
  const container = rhea.create_container({ id: 'holder' })
  const connection = container.connect({
    host: '127.0.0.1',
    port: sluice.port,
    reconnect: false,
    username: 'anonymous',
  })
  const receiver = connection.open_receiver({
    source: '/topics/held/groups/holders',
    credit_window: 10,
    autoaccept: false,
  })
  const deliveries: rhea.Delivery[] = []
  const got = new Promise<void>((resolve) => {
    receiver.on('message', ({ delivery }: rhea.EventContext) => {
      if (deliveries.push(delivery!) === count) resolve()
    })
  })
  const farewell = new Promise<string>((resolve) => {
    connection.on('connection_error', (context: rhea.EventContext) =>
      resolve(String((context.connection.error as { condition?: string })?.condition)),
    )
    connection.on('disconnected', () => resolve('disconnected without a word'))
  })
  connection.on('error', () => undefined)
  await new Promise((resolve) => receiver.once('receiver_open', resolve))
  await publish(sluice, 'held', count)
  await got
  let open = deliveries.length
  return {
    farewell,
    unsettled: () => open,
    settle() {
      for (const delivery of deliveries) delivery.accept()
      open = 0
    },
  }
}

/** An MQTT client whose handler never ends, so that its library never acknowledges. */
const holdMqtt = async (sluice: SluiceProcess, count: number) => {
  const client: MqttClient = await connectAsync(`mqtt://127.0.0.1:${sluice.port}`, {
    protocolVersion: 5,
    clientId: 'holder',
    reconnectPeriod: 0,
  })
  let held = 0
  const got = new Promise<void>((resolve) => {
    client.handleMessage = () => {
      if (++held === count) resolve()
    }
    if (count === 0) resolve()
  })
  const farewell = new Promise<number | undefined>((resolve) => {
    client.on('disconnect', ({ reasonCode }) => resolve(reasonCode))
    client.on('close', () => resolve(undefined))
  })
  client.on('error', () => undefined)
  await client.subscribeAsync('devices/#', { qos: 1 })
  await publish(sluice, 'devices', count)
  await got
  return { farewell, unsettled: () => held }
}

const poll = async (sluice: SluiceProcess): Promise<readonly unknown[]> => {
  const url = `http://127.0.0.1:${sluice.port}/v1/topics/quiet/groups/pollers/messages:receive`
  const reply = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ maxMessages: 1, waitMs: 30_000, invisibleMs: 30_000 }),
  })
  assert.equal(reply.status, 200)
  return ((await reply.json()) as { messages: readonly unknown[] }).messages
}

/** Asks over and over and never reads an answer, until the answers fill every buffer between. */
const deafClient = (sluice: SluiceProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    const header = Buffer.from(
      JSON.stringify({ code: 105, language: 'JAVA', version: 409, opaque: 1, flag: 0, extFields: { topic: 'held' } }),
    )
    const frame = Buffer.alloc(8 + header.length)
    frame.writeUInt32BE(4 + header.length, 0)
    frame.writeUInt32BE(header.length, 4)
    header.copy(frame, 8)
    const many = Buffer.concat(Array.from({ length: 512 }, () => frame))
    const socket = net.connect(sluice.port, '127.0.0.1')
    socket.pause()
    socket.on('error', () => undefined)
    const stuck = setTimeout(() => reject(new Error('the gateway took everything')), 60_000)
    const pour = () => {
      // When our own writes wait, the gateway has stopped reading: its answers have nowhere to go.
      while (socket.write(many)) if (socket.destroyed) return
      const waits = socket.writableLength
      setTimeout(() => {
        if (socket.writableLength < waits) return pour()
        clearTimeout(stuck)
        resolve()
      }, 1_000)
    }
    socket.on('connect', pour)
  })

/** Resolves when so many polls wait. */
const parked = async (sluice: SluiceProcess, count: number): Promise<void> => {
  for (let turn = 0; turn < 1_500; turn++) {
    const text = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text()
    if (text.includes(`sluice_inflight_commands{protocol="http"} ${count}\n`)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('the polls do not park')
}

const empty = (): Promise<void> =>
  withSluice(windows, async (sluice) => {
    sluice.kill('SIGTERM')
    const verdict = (await sluice.line('drained')) as unknown as Verdict
    assert.ok(verdict.clean)
    assert.equal(await sluice.exited, 0)
  })

const hurried = (): Promise<void> =>
  withSluice(['drain.leavingMs=60000', 'drain.announceMs=60000', 'drain.settleMs=60000'], async (sluice) => {
    const held = net.connect(sluice.port, '127.0.0.1')
    held.on('error', () => undefined)
    sluice.kill('SIGTERM')
    await sluice.line('drain')
    sluice.kill('SIGTERM')
    const verdict = (await sluice.line('drained')) as unknown as Verdict
    assert.ok(verdict.took < 20_000, `took ${verdict.took} ms`)
    assert.equal(await sluice.exited, 0)
    held.destroy()
  })
