import { frameProtocol, type Protocol } from '@sluice/core'
import { Clients } from './clients.ts'
import { createCodec } from './codec.ts'
import { type MqttOptions, toSettings } from './connect.ts'
import { MqttConversation } from './conversation.ts'
import { detect } from './detect.ts'

export type { MqttOptions }

/** MQTT 3.1.1 and 5.0. Sessions live in the broker as inboxes; what is published goes to the topic of its first level. */
export const mqtt = (options: MqttOptions = {}): Protocol => ({
  api: 1,
  name: 'mqtt',
  detect,
  start: (gateway) => {
    const settings = toSettings(options, gateway.limits)
    const clients = new Clients()
    return frameProtocol({
      name: 'mqtt',
      codec: createCodec,
      converse: (link, of) => new MqttConversation(link, of, settings, clients),
    }).start(gateway)
  },
})

export default mqtt
