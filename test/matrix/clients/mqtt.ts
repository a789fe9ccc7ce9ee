import { names } from '@sluice/core'
import { connectAsync, type MqttClient } from 'mqtt'
import { Inbox, type MatrixClient, type Target } from '../client.ts'
import type { Sample } from '../samples.ts'

const PATH = 'dev/1'
const CONTENT_TYPE = 'application/x-matrix'

const open = (target: Target, clientId: string): Promise<MqttClient> =>
  connectAsync(`${target.tls ? 'mqtts' : 'mqtt'}://${target.host}:${target.port}`, {
    protocolVersion: 5,
    clientId,
    reconnectPeriod: 0,
    rejectUnauthorized: false,
    properties: { receiveMaximum: 200 },
  })

const publish = (client: MqttClient, topic: string, sample: Sample) =>
  client.publishAsync(`${topic}/${PATH}`, sample.body, {
    qos: 1,
    properties: {
      contentType: CONTENT_TYPE,
      userProperties: { ...sample.properties, [names.tag]: sample.tag, [names.keys]: sample.keys.join(' ') },
    },
  })

let counter = 0

export const mqtt: MatrixClient = {
  name: 'mqtt',
  column: 'mqtt5',
  refusesEmpty: false,
  path: PATH,
  contentType: CONTENT_TYPE,
  keepsOrder: true,
  givesId: false,
  async producer(target, topic) {
    const client = await open(target, `matrix-producer-${++counter}`)
    return {
      async send(samples) {
        for (let at = 0; at < samples.length; at += 64) {
          await Promise.all(samples.slice(at, at + 64).map((sample) => publish(client, topic, sample)))
        }
      },
      async sendEmpty() {
        await client.publishAsync(`${topic}/${PATH}`, '', { qos: 1 })
        return true
      },
      close: () => client.endAsync(),
    }
  },
  async consumer(target, topic, group) {
    const client = await open(target, `matrix-${group}`)
    const inbox = new Inbox()
    client.on('message', (full, payload, packet) => {
      const {
        [names.tag]: tag,
        [names.keys]: keys,
        [names.id]: id,
        ...properties
      } = (packet.properties?.userProperties ?? {}) as Record<string, string>
      const path = full.slice(topic.length + 1)
      inbox.push({
        body: payload,
        ...(tag !== undefined && { tag }),
        ...(keys !== undefined && { keys: keys.split(' ') }),
        ...(path !== '' && { path }),
        ...(packet.properties?.contentType !== undefined && { contentType: packet.properties.contentType }),
        properties: withoutBirth(properties),
        ...(id !== undefined && { id }),
        attempt: packet.dup ? 2 : 1,
      })
    })
    await client.subscribeAsync(`${topic}/#`, { qos: 1 })
    return { received: inbox.received, wait: (count, ms) => inbox.wait(count, ms), close: () => client.endAsync() }
  },
}

/** The birth of a message travels beside the user's own properties. */
const withoutBirth = (properties: Record<string, string>): Record<string, string> => {
  const { [names.bornAt]: _at, [names.bornHost]: _host, ...own } = properties
  return own
}
