import { frameProtocol, type Gateway, type ProtocolServer } from '@sluice/core'
import { createCodec } from './codec.ts'
import { MqttConversation } from './conversation.ts'
import type { House } from './house.ts'

export const startServer = async (gateway: Gateway, house: House): Promise<ProtocolServer> => {
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
}
