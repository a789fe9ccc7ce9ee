/** The agent that drives the unmodified MQTT.js: commands and events as in suite.ts. A second argument: over a WebSocket. */
import { createInterface } from 'node:readline'
import { connect, type MqttClient } from 'mqtt'

interface Command {
  readonly do: 'open' | 'subscribe' | 'publish' | 'close'
  readonly client: string
  readonly id: string
  readonly version: 4 | 5
  readonly fresh: boolean
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly from: number
  readonly to: number
}

const [port, webSocket] = process.argv.slice(2)
const url = webSocket ? `ws://127.0.0.1:${port}/mqtt` : `mqtt://127.0.0.1:${port}`
const clients = new Map<string, MqttClient>()
const say = (fields: object): void => console.log(JSON.stringify(fields))

const open = ({ client: name, id, version, fresh }: Command): void => {
  const client = connect(url, {
    clientId: id,
    protocolVersion: version,
    clean: fresh,
    reconnectPeriod: 200,
    connectTimeout: 5_000,
    keepalive: 20,
    ...(version === 5 && { properties: { sessionExpiryInterval: fresh ? 0 : 3_600 } }),
  })
  clients.set(name, client)
  client.on('error', () => undefined) // it tries again
  client.on('connect', ({ sessionPresent }) => say({ event: 'open', client: name, present: sessionPresent }))
  client.on('message', (topic, payload, { qos }) =>
    say({ event: 'message', client: name, topic, qos, body: payload.toString() }),
  )
}

/** What is published while the client replays its store is given back, unsent, when the connection ends meanwhile. */
const publish = async (client: MqttClient, topic: string, body: string, qos: 0 | 1 | 2): Promise<void> => {
  for (;;) {
    try {
      await client.publishAsync(topic, body, { qos })
      return
    } catch (error) {
      if ((error as Error).message !== 'Connection closed') throw error
    }
  }
}

const obey = async (command: Command): Promise<void> => {
  const { client: name, topic, qos } = command
  if (command.do === 'open') return open(command)
  const client = clients.get(name)!
  if (command.do === 'subscribe') {
    await client.subscribeAsync(topic, { qos })
    say({ event: 'subscribed', client: name })
  } else if (command.do === 'publish') {
    const sent: Promise<unknown>[] = []
    for (let n = command.from; n < command.to; n++) sent.push(publish(client, topic, String(n), qos))
    await Promise.all(sent)
    say({ event: 'published', client: name })
  } else {
    clients.delete(name)
    await client.endAsync()
    say({ event: 'closed', client: name })
  }
}

createInterface(process.stdin).on('line', (line) => void obey(JSON.parse(line) as Command))
process.stdin.on('end', () => process.exit(0))
