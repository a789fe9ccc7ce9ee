import { frameProtocol, type Protocol } from '@sluice/core'
import { createCodec } from './codec.ts'
import { type MqttOptions, toSettings } from './connect.ts'
import { MqttConversation } from './conversation.ts'
import { detect } from './detect.ts'
import { createHouse } from './house.ts'

export { SCRAM_SHA_256, type ScramKeys, scramKeys, verifyScram } from './scram.ts'
export type { MqttOptions }

/** MQTT 3.1.1 and 5.0. Sessions live in the broker as inboxes; what is published goes to the topic of its first level. */
export const mqtt = (options: MqttOptions = {}): Protocol => ({
  api: 1,
  name: 'mqtt',
  detect,
  async start(gateway) {
    const house = createHouse(gateway, toSettings(options, gateway.limits))
    const server = await frameProtocol({
      name: 'mqtt',
      codec: createCodec,
      converse: (link, of) => new MqttConversation(link, of, house),
    }).start(gateway)
    return {
      accept: (socket, peer) => server.accept(socket, peer),
      connections: () => server.connections(),
      close() {
        house.system.close()
        return server.close()
      },
    }
  },
})

export default mqtt
